"""`bufaudit rule`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bufaudit.cli import options, output
from bufaudit.errors import BufauditError, printable
from bufaudit.report import RULE_FORMATS
from bufaudit.selection import closest

if TYPE_CHECKING:
    from pathlib import Path


class _UnknownRuleError(BufauditError):
    def __init__(self, wanted: str, known: list[str]) -> None:
        close = closest(wanted, known)
        hint = "`bufaudit rule` lists them all" if close is None else f"did you mean {close}?"
        super().__init__(f'no rule is called "{printable(wanted)}"; {hint}')


@click.command("rule")
@click.argument("wanted", metavar="[CODE or NAME]", required=False)
@options.report_options(RULE_FORMATS)
def command(wanted: str | None, output_format: str | None, output_file: Path | None) -> int:
    """Explain one rule, or list them all."""
    from bufaudit.catalogue import rules
    from bufaudit.report import render_rule, render_rules

    known = rules()
    color, width = output.in_color(output_file), output.width(output_file)
    if wanted is None:
        report = render_rules(known, output_format or "text", color=color, width=width)
    else:
        by_name = {rule.name: rule for rule in known.values()}
        rule = known.get(wanted.upper()) or by_name.get(wanted.lower())
        if rule is None:
            raise _UnknownRuleError(wanted, [*known, *by_name])
        report = render_rule(rule, output_format or "text", color=color, width=width)
    output.write(report, output_file)
    return 0
