"""`markdown`: rules for documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bufaudit.catalogue import Rule

_HEADER = ("code", "name", "severity", "confidence", "fix", "finds")


def render_page(rule: Rule) -> str:
    """The rule's page, with its front matter as a sentence under the title."""
    title, _, sections = rule.markdown.partition("\n\n")
    return f"{title}\n\n{_facts(rule)}\n\n{sections}"


def render_list(rules: Sequence[Rule]) -> str:
    """A table of the rules that are not retired, with links to their pages."""
    rows = [_HEADER, ("---",) * len(_HEADER), *(_row(rule) for rule in rules if not rule.retired)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _facts(rule: Rule) -> str:
    fix = "no fix" if rule.fix == "none" else f"{rule.fix} fix"
    facts = f"Family {rule.family}, {rule.severity}, {rule.confidence} confidence, {fix}, since {rule.since}."
    return f"{facts} Retired: it is no longer reported." if rule.retired else facts


def _row(rule: Rule) -> tuple[str, ...]:
    summary = rule.summary.replace("|", "\\|")
    return f"[{rule.code}]({rule.url})", rule.name, rule.severity, rule.confidence, rule.fix, summary
