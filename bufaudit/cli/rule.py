"""`bufaudit rule`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from bufaudit.cli import options, output
from bufaudit.errors import BufauditError
from bufaudit.report import RULE_FORMATS

if TYPE_CHECKING:
    from pathlib import Path


class _UnknownRuleError(BufauditError):
    def __init__(self, wanted: str, known: list[str]) -> None:
        close = get_close_matches(wanted, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else "; `bufaudit rule` lists them all"
        super().__init__(f"there is no rule {wanted}{hint}")


@click.command("rule")
@click.argument("wanted", metavar="[CODE or NAME]", required=False)
@options.report_options(RULE_FORMATS)
def command(wanted: str | None, output_format: str | None, output_file: Path | None) -> int:
    """Explain one rule, or list them all."""
    from bufaudit.catalogue import rules
    from bufaudit.report import render_rule, render_rules

    known = rules()
    style = {"color": output.in_color(output_file), "width": output.width(output_file)}
    if wanted is None:
        report = render_rules(known, output_format or "text", **style)
    else:
        by_name = {rule.name: rule for rule in known.values()}
        rule = known.get(wanted.upper()) or by_name.get(wanted.lower())
        if rule is None:
            raise _UnknownRuleError(wanted, [*known, *by_name])
        report = render_rule(rule, output_format or "text", **style)
    output.write(report, output_file)
    return 0
