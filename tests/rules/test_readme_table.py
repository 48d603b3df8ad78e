"""The README's table of rules is generated from the pages, so that the two cannot drift apart."""

from __future__ import annotations

import re
from pathlib import Path

from bufaudit.catalogue import Rule, rules

README = Path(__file__).resolve().parents[2] / "README.md"
BETWEEN_MARKERS = re.compile(r"<!-- rules -->\n(?P<table>.*?)<!-- /rules -->", re.DOTALL)


def rule_table() -> str:
    """The Markdown table of the rules that are not retired, in the order of codes."""
    head = ["| code | name | severity | fix | finds |", "| --- | --- | --- | --- | --- |"]
    return "\n".join(head + [_row(rule) for rule in rules().values() if not rule.retired]) + "\n"


def _row(rule: Rule) -> str:
    summary = rule.summary.replace("|", "\\|")
    link = f"[{rule.code}](rules/{rule.code}.md)"
    return f"| {link} | {rule.name} | {rule.severity} | {rule.fix} | {summary} |"


def test_readme_shows_the_rules_as_the_pages_describe_them() -> None:
    match = BETWEEN_MARKERS.search(README.read_text("utf-8"))
    assert match is not None, "README.md lacks the markers <!-- rules --> and <!-- /rules -->"
    table = rule_table()
    assert match["table"].strip() == table.strip(), f"put this between the markers:\n\n{table}"
