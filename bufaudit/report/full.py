"""`full`: findings for people, with the source line, carets under the span, and related places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.report.escapes import printable
from bufaudit.report.summary import closing_lines, statistics_table
from bufaudit.report.terminal import BLUE, BOLD, CYAN, RED, YELLOW, paint, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.results import Finding, ScanResult

_STYLES = {"error": RED, "warning": YELLOW, "info": CYAN}
_NARROWEST = 40


def render(result: ScanResult, *, statistics: bool, color: bool, width: int) -> str:
    """Every finding, or the count per rule, and a summary.

    Messages are wrapped and source lines cut to `width` cells, at least 40; names are never cut.
    """
    width = max(width, _NARROWEST)
    lines: list[str] = []
    if statistics:
        lines += statistics_table(result)
    else:
        for finding in result.findings:
            lines += _block(finding, color, width)
            lines.append("")
    summary = closing_lines(result)
    lines += [paint(summary[0], BOLD, color), *summary[1:]]
    return "\n".join(lines) + "\n"


def _block(finding: Finding, color: bool, width: int) -> Iterator[str]:
    from bufaudit.report.excerpt import excerpt

    style = _STYLES[finding.severity]
    margin = " " * len(str(finding.line))
    bar = paint("|", BLUE, color)

    title = f"{finding.code} {finding.name}: "
    message = wrapped(title, finding.message, "  ", width)
    yield paint(finding.code, style, color) + message[0].removeprefix(finding.code)
    yield from message[1:]

    where = f"{printable(finding.path)}:{finding.line}:{finding.column}"
    yield f"{margin}{paint('-->', BLUE, color)} {paint(where, BOLD, color)}"

    if finding.excerpt.strip():
        end = finding.end_column if finding.end_line == finding.line else None
        shown = excerpt(finding.excerpt, finding.column, end, width - len(margin) - 3)
        spaces = " " * (len(shown.carets) - len(shown.carets.lstrip()))
        yield f"{margin} {bar}"
        yield f"{paint(str(finding.line), BLUE, color)} {bar} {shown.line}"
        yield f"{margin} {bar} {spaces}{paint(shown.carets.lstrip(), style, color)}"
        yield f"{margin} {bar}"

    for note in _notes(finding):
        sign = f"{margin} = "
        first, *rest = wrapped(sign, note, " " * len(sign), width)
        yield f"{margin} {paint('=', BLUE, color)} {first.removeprefix(sign)}"
        yield from rest


def _notes(finding: Finding) -> Iterator[str]:
    where = f", in {finding.symbol}" if finding.symbol else ""
    yield f"{finding.severity}, {finding.confidence} confidence{where}"
    for related in finding.related:
        yield f"note: {related.path}:{related.line}: {related.message}"
    if finding.fix is not None:
        option = "--fix" if finding.fix.safety == "safe" else "--unsafe-fixes"
        yield f"fix ({option}): {finding.fix.message}"
