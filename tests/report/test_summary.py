"""The closing lines say how much was found, left out and fixable, in good English."""

from __future__ import annotations

from bufaudit.report.summary import closing_lines, statistics, statistics_table

from .samples import FINDING, FIXABLE, NOTICE, scan


def test_clean() -> None:
    assert closing_lines(scan()) == ["No problems in 12 files."]


def test_one_problem_in_one_file() -> None:
    assert closing_lines(scan(FINDING, files=1)) == ["Found 1 problem in 1 file (1 BUF101)."]


def test_several_rules_in_the_order_of_codes() -> None:
    assert closing_lines(scan(FIXABLE, FINDING, FINDING)) == [
        "Found 3 problems in 12 files (2 BUF101, 1 BUF301).",
        "1 can be fixed with --fix.",
    ]


def test_what_is_not_shown_and_needs_unsafe_fixes() -> None:
    assert closing_lines(scan(NOTICE, suppressed=2, baselined=3))[1:] == [
        "Not shown: 2 suppressed, 3 in the baseline.",
        "1 can be fixed with --unsafe-fixes.",
    ]


def test_statistics_are_most_frequent_first_then_by_code() -> None:
    result = scan(*[FIXABLE] * 10, FINDING)
    assert statistics(result) == [("BUF301", "params-only-sync", 10), ("BUF101", "params-only-load", 1)]
    assert statistics_table(result) == ["10  BUF301  params-only-sync", " 1  BUF101  params-only-load"]
    assert [code for code, _, _ in statistics(scan(FIXABLE, FINDING))] == ["BUF101", "BUF301"]
