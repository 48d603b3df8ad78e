"""The documentation's table and pages."""

from __future__ import annotations

from bufaudit.report.rule_markdown import render_list, render_page

from .samples import RETIRED, RULE, SYNC


def test_table_leaves_out_retired_rules_and_escapes_bars() -> None:
    assert render_list((RULE, RETIRED)) == (
        "| code | name | severity | confidence | fix | finds |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        f"| [BUF101]({RULE.url}) | params-only-load | error | medium | none | "
        "Checkpoint values that reach parameters only. Buffers \\| are lost. |\n"
    )


def test_page_has_every_section_and_says_what_the_front_matter_says() -> None:
    page = render_page(SYNC)
    assert "Family sync, warning, medium confidence, safe fix, since 0.1.0.\n" in page
    assert all(f"## {title}\n\n{text}" in page for title, text in SYNC.sections.items())


def test_page_of_a_retired_rule_says_so() -> None:
    assert "Retired: it is no longer reported." in render_page(RETIRED)
