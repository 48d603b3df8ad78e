"""A page that breaks the form is refused with a message that names the page, before anybody reads it half."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufaudit.catalogue import HEADINGS, PageError, parse_page, rules

FRONT_MATTER = {
    "code": '"BUF999"',
    "name": '"some-rule"',
    "family": '"load"',
    "severity": '"error"',
    "confidence": '"medium"',
    "fix": '"none"',
    "since": '"0.1.0"',
}
EXAMPLE = "Before.\n\n```python\na = 1  # expect: BUF999\n```\n\n```text\nno code\n```\n\n```python\nb = 2\n```"


def page(
    front_matter: dict[str, str] | None = None,
    headings: tuple[str, ...] = HEADINGS,
    **texts: str,
) -> str:
    """A page whose sections hold `texts`, by heading with underscores for spaces."""
    meta = FRONT_MATTER if front_matter is None else front_matter
    lines = ["+++", *(f"{key} = {value}" for key, value in meta.items()), "+++", ""]
    for heading in headings:
        lines += [f"## {heading}", "", texts.get(heading.replace(" ", "_"), f"Text of {heading}."), ""]
    return "\n".join(lines)


def test_page_becomes_a_rule() -> None:
    rule = parse_page(page(Example=EXAMPLE), "BUF999.md")
    assert (rule.code, rule.name, rule.family) == ("BUF999", "some-rule", "load")
    assert (rule.severity, rule.confidence, rule.fix, rule.since) == ("error", "medium", "none", "0.1.0")
    assert not rule.retired
    assert tuple(rule.sections) == HEADINGS
    assert rule.sections["Fix"] == "Text of Fix."


def test_rule_can_be_retired() -> None:
    assert parse_page(page(FRONT_MATTER | {"retired": "true"}), "BUF999.md").retired


def test_rule_cannot_be_changed() -> None:
    rule = parse_page(page(), "BUF999.md")
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.code = "BUF000"  # type: ignore[misc]


def test_summary_is_the_first_paragraph_on_one_line() -> None:
    rule = parse_page(page(What_it_finds="Something that\nis lost.\n\nMore of it."), "BUF999.md")
    assert rule.summary == "Something that is lost."


def test_only_python_blocks_are_code() -> None:
    rule = parse_page(page(Example=EXAMPLE), "BUF999.md")
    assert rule.code_blocks("Example") == ("a = 1  # expect: BUF999\n", "b = 2\n")
    assert rule.code_blocks("Fix") == ()


def test_block_that_ends_the_page_is_code() -> None:
    rule = parse_page(page(References="```python\na = 1\n```").rstrip(), "BUF999.md")
    assert rule.code_blocks("References") == ("a = 1\n",)


def test_markdown_has_every_section_and_no_front_matter() -> None:
    text = parse_page(page(Example=EXAMPLE), "BUF999.md").markdown
    assert text.startswith("# some-rule (BUF999)\n\n## What it finds\n")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(HEADINGS)
    assert EXAMPLE in text
    assert "+++" not in text


def test_url_leads_to_the_page() -> None:
    assert parse_page(page(), "BUF999.md").url.endswith("/rules/BUF999.md")


@pytest.mark.parametrize("key", FRONT_MATTER)
def test_missing_key_is_refused(key: str) -> None:
    meta = {name: value for name, value in FRONT_MATTER.items() if name != key}
    with pytest.raises(PageError, match=r"BUF999\.md: front matter must have exactly"):
        parse_page(page(meta), "BUF999.md")


def test_unknown_key_is_refused() -> None:
    with pytest.raises(PageError, match=r"BUF999\.md: front matter must have exactly"):
        parse_page(page(FRONT_MATTER | {"levle": '"high"'}), "BUF999.md")


@pytest.mark.parametrize("key", ["severity", "confidence", "fix"])
@pytest.mark.parametrize("value", ['"fatal"', '"Error"', "1", "[]"])
def test_unknown_choice_is_refused(key: str, value: str) -> None:
    with pytest.raises(PageError, match=rf"BUF999\.md: {key} must be one of"):
        parse_page(page(FRONT_MATTER | {key: value}), "BUF999.md")


@pytest.mark.parametrize("text", ["", "## What it finds\n", "---\ncode: BUF999\n---\n", "+++\ncode = 1\n"])
def test_page_without_front_matter_is_refused(text: str) -> None:
    with pytest.raises(PageError, match=r"BUF999\.md: no TOML front matter"):
        parse_page(text, "BUF999.md")


def test_front_matter_that_is_not_toml_is_refused() -> None:
    with pytest.raises(PageError, match=r"BUF999\.md: front matter is not TOML"):
        parse_page(page(FRONT_MATTER | {"code": "BUF999"}), "BUF999.md")


@pytest.mark.parametrize(
    "headings",
    [HEADINGS[1:], HEADINGS[:-1], HEADINGS[::-1], (*HEADINGS, "Notes"), (*HEADINGS, "Fix"), ()],
    ids=["no first", "no last", "reversed", "unknown", "twice", "none"],
)
def test_other_headings_are_refused(headings: tuple[str, ...]) -> None:
    with pytest.raises(PageError, match=r"BUF999\.md: headings must be exactly"):
        parse_page(page(headings=headings), "BUF999.md")


@given(st.text())
def test_any_text_is_refused_in_the_same_way(text: str) -> None:
    with pytest.raises(PageError, match=r"^BUF999\.md: "):
        parse_page(f"+++\n{text}\n+++\n{text}", "BUF999.md")


def test_a_page_is_read_when_its_rule_is_asked_for_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clean file needs the codes of rules and not one of their pages."""
    read: list[str] = []
    monkeypatch.setattr("bufaudit.catalogue.parse_page", lambda text, origin: read.append(origin) or origin)
    fresh = rules.__wrapped__()
    assert set(fresh) == set(rules())
    assert len(fresh) == len(rules())
    assert "BUF101" in fresh
    assert "BUF998" not in fresh
    assert read == []
    assert [fresh["BUF101"], fresh["BUF101"]] == ["BUF101.md"] * 2
    assert read == ["BUF101.md"]
    with pytest.raises(KeyError):
        fresh["BUF998"]


def test_rules_are_in_the_order_of_codes_and_named_like_their_pages() -> None:
    assert list(rules()) == sorted(rules())
    assert all(rule.code == code for code, rule in rules().items())
