"""`text`: rules for people at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.report.rule_markdown import render_page as markdown_page
from bufaudit.report.terminal import BOLD, align, cells, paint, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bufaudit.catalogue import Rule

_HEADER = ("code", "name", "severity", "confidence", "fix", "finds")
_LEAST_SUMMARY_ROOM = 24


def render_page(rule: Rule, *, color: bool, width: int) -> str:
    """The rule's page: Markdown as it is, or formatted to `width` cells where `color` is on."""
    page = markdown_page(rule)
    return _formatted(page, width) if color else page


def render_list(rules: Sequence[Rule], *, color: bool, width: int) -> str:
    """One line per rule, retired ones too; what they find is shortened to fit `width` cells."""
    rows = [_HEADER, *(_row(rule) for rule in rules)]
    taken = sum(max(map(cells, column)) + 2 for column in list(zip(*rows, strict=True))[:-1])
    room = max(width - taken, _LEAST_SUMMARY_ROOM)
    header, *lines = align([(*row[:-1], shorten(row[-1], room)) for row in rows])
    return "\n".join([paint(header, BOLD, color), *lines]) + "\n"


def _row(rule: Rule) -> tuple[str, ...]:
    severity = "retired" if rule.retired else rule.severity
    return rule.code, rule.name, severity, rule.confidence, rule.fix, rule.summary


def _formatted(markdown: str, width: int) -> str:
    import io

    from rich.console import Console
    from rich.markdown import Markdown

    out = io.StringIO()
    # All that rich would ask the environment for is given, so that only the arguments decide.
    console = Console(
        file=out,
        width=width,
        height=25,
        color_system="standard",
        force_terminal=True,
        force_jupyter=False,
        no_color=False,
        legacy_windows=False,
    )
    console.print(Markdown(markdown, code_theme="ansi_dark", hyperlinks=False))
    return out.getvalue()
