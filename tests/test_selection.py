"""The rule that a user asked for runs, the one that was ignored does not, and a slip of the pen is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufaudit.selection import (
    ALL,
    PatternError,
    UnknownRuleError,
    canonical,
    check_pattern,
    closest,
    covers,
    expanded,
    ignored_for,
    selected_codes,
)

CODES = ("BUF000", "BUF101", "BUF102", "BUF201", "CKP101")
NAMES = {"unreadable-file": "BUF000", "params-only-load": "BUF101", "one-rank-load": "BUF102"}
SELECTORS = (ALL, "BUF", "BUF1", "BUF10", "BUF0", "CKP", "CKP1", *CODES, *NAMES)
ROOT = Path("/project")

selectors = st.lists(st.sampled_from(SELECTORS), max_size=4)


def ignored(path: str, *patterns: str) -> bool:
    """Whether any of the patterns speaks of the path."""
    return bool(ignored_for(path, ROOT, [(pattern, ("BUF101",)) for pattern in patterns]))


@pytest.mark.parametrize(
    ("select", "ignore", "codes"),
    [
        (["ALL"], [], {*CODES}),
        (["BUF"], [], {"BUF000", "BUF101", "BUF102", "BUF201"}),
        (["BUF1"], [], {"BUF101", "BUF102"}),
        (["params-only-load"], [], {"BUF101"}),
        ([], [], set()),
        (["ALL"], ["BUF1"], {"BUF000", "BUF201", "CKP101"}),
        (["BUF101"], ["BUF1"], {"BUF101"}),
        (["params-only-load"], ["BUF10"], {"BUF101"}),
        (["BUF1"], ["BUF101"], {"BUF102"}),
        (["BUF1"], ["one-rank-load"], {"BUF101"}),
        (["BUF10"], ["BUF1"], {"BUF101", "BUF102"}),
        (["BUF101"], ["BUF101"], set()),
        (["BUF101"], ["params-only-load"], set()),
        (["BUF1"], ["ALL"], {"BUF101", "BUF102"}),
        (["ALL"], ["ALL"], set()),
    ],
)
def test_most_specific_selector_decides(select: list[str], ignore: list[str], codes: set[str]) -> None:
    assert selected_codes(CODES, select, ignore, NAMES) == codes


@given(selectors, selectors)
def test_order_and_repetition_do_not_matter(select: list[str], ignore: list[str]) -> None:
    assert selected_codes(CODES, select, ignore, NAMES) == selected_codes(
        CODES, select[::-1] * 2, ignore[::-1] * 2, NAMES
    )


@given(selectors, selectors, st.sampled_from(SELECTORS))
def test_more_selectors_never_work_backwards(select: list[str], ignore: list[str], more: str) -> None:
    before = selected_codes(CODES, select, ignore, NAMES)
    assert selected_codes(CODES, [*select, more], ignore, NAMES) >= before
    assert selected_codes(CODES, select, [*ignore, more], NAMES) <= before


@given(selectors)
def test_ignoring_everything_selected_leaves_nothing(select: list[str]) -> None:
    assert selected_codes(CODES, select, select, NAMES) == frozenset()


@given(selectors, selectors)
def test_only_what_is_selected_comes_out(select: list[str], ignore: list[str]) -> None:
    wanted = expanded([canonical(selector, CODES, NAMES) for selector in select], CODES)
    assert selected_codes(CODES, select, [], NAMES) == wanted
    assert selected_codes(CODES, select, ignore, NAMES) <= wanted


@given(selectors, selectors, st.sampled_from(CODES))
def test_full_code_outdoes_all_but_full_codes(select: list[str], ignore: list[str], code: str) -> None:
    longest = {code, *(name for name, named in NAMES.items() if named == code)}
    assert (code in selected_codes(CODES, [*select, code], ignore, NAMES)) == longest.isdisjoint(ignore)
    assert code not in selected_codes(CODES, select, [*ignore, code], NAMES)


@given(st.sampled_from(SELECTORS), st.sampled_from(SELECTORS))
def test_covering_is_having_all_codes_of_the_other(one: str, other: str) -> None:
    wide, narrow = canonical(one, CODES, NAMES), canonical(other, CODES, NAMES)
    if covers(wide, narrow):
        assert expanded([wide], CODES) >= expanded([narrow], CODES)
    assert covers(wide, wide)


@pytest.mark.parametrize(
    ("selector", "hint"),
    [
        ("BUFF201", "did you mean BUF201?"),
        ("buf201", "did you mean BUF201?"),
        ("all", "did you mean ALL?"),
        ("params-only-laod", "did you mean params-only-load?"),
        ("Params_Only_Load", "did you mean params-only-load?"),
        ("W291", "`bufaudit rule` lists them all"),
        ("B", "`bufaudit rule` lists them all"),
        ("", "`bufaudit rule` lists them all"),
        ("BUF1019", "did you mean BUF101?"),
    ],
)
def test_unknown_rule_is_refused_with_a_hint(selector: str, hint: str) -> None:
    for select, ignore in ([selector], []), ([], [selector]):
        with pytest.raises(UnknownRuleError) as caught:
            selected_codes(CODES, select, ignore, NAMES)
        assert str(caught.value) == f'no rule is called "{selector}"; {hint}'


def test_name_needs_names() -> None:
    with pytest.raises(UnknownRuleError):
        canonical("params-only-load", CODES)


@given(st.text())
def test_any_text_is_a_selector_or_is_refused(text: str) -> None:
    try:
        found = canonical(text, CODES, NAMES)
    except UnknownRuleError as error:
        assert str(error).isprintable()
    else:
        assert found in SELECTORS
        assert found not in NAMES


def test_closest_gives_the_choice_as_it_is_spelt() -> None:
    assert closest("NN.BUFFER", ["auto", "nn.Buffer"]) == "nn.Buffer"
    assert closest("zzz", ["auto", "nn.Buffer"]) is None


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("test_*.py", "test_a.py"),
        ("test_*.py", "deep/down/test_a.py"),
        ("conftest.py", "tests/conftest.py"),
        ("tests/*", "tests/a.py"),
        ("tests/*", "tests/deep/a.py"),
        ("tests/**", "tests/deep/a.py"),
        ("tests/", "tests/deep/a.py"),
        ("./tests/*", "tests/a.py"),
        ("**/tests/*", "tests/a.py"),
        ("**/tests/*", "src/deep/tests/a.py"),
        ("src/**/a.py", "src/a.py"),
        ("src/**/a.py", "src/b/c/a.py"),
        ("src/**/**/a.py", "src/a.py"),
        ("{tests,docs}/*", "docs/a.py"),
        ("**/{tests,docs{,-old}}/*", "x/docs-old/a.py"),
        ("m?del.py", "src/model.py"),
        ("[ab].py", "src/b.py"),
        ("!src/**", "tests/a.py"),
        ("src/model.py", "/project/src/model.py"),
        ("/elsewhere/*", "/elsewhere/model.py"),
    ],
)
def test_pattern_matches(pattern: str, path: str) -> None:
    assert ignored(path, pattern)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("test_*.py", "tests/a.py"),
        ("tests", "tests/a.py"),
        ("tests/*", "src/tests/a.py"),
        ("tests/", "tests.py"),
        ("**/tests/*", "mytests/a.py"),
        ("src/**/a.py", "src/ba.py"),
        ("src/**/a.py", "a.py"),
        ("{tests,docs}/*", "src/a.py"),
        ("{tests/*", "tests/a.py"),
        ("[ab].py", "c.py"),
        ("Model.py", "model.py"),
        ("!src/**", "src/deep/a.py"),
        ("src/*", "/elsewhere/src/a.py"),
        ("", "a.py"),
    ],
)
def test_pattern_does_not_match(pattern: str, path: str) -> None:
    assert not ignored(path, pattern)


def test_codes_of_all_matching_patterns_are_ignored() -> None:
    per_file = (("tests/*", ("BUF101", "BUF102")), ("a.py", ("BUF201",)), ("src/*", ("BUF000",)))
    assert ignored_for("tests/a.py", ROOT, per_file) == {"BUF101", "BUF102", "BUF201"}
    assert ignored_for("tests/a.py", ROOT, ()) == frozenset()


@given(st.text(st.sampled_from("ab/*?{},[]!.")), st.text(st.sampled_from("ab/."), min_size=1))
def test_leading_exclamation_mark_turns_any_pattern_round(pattern: str, path: str) -> None:
    # Two marks are one mark and a pattern that begins with one.
    positive = pattern.lstrip("!")
    assert ignored(path, positive) != ignored(path, f"!{positive}")


@pytest.mark.parametrize("pattern", ["**/x/" * 9, "{a,b}" * 9, "{a,b}" * 5 + "/**/x" * 4, "!" + "{a,b}" * 40])
def test_pattern_that_would_take_for_ever_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError, match="more than 256 alternatives"):
        check_pattern(pattern)


def test_long_pattern_of_stars_is_fast() -> None:
    assert not ignored("a" * 2000, "*a" * 40 + "b")
