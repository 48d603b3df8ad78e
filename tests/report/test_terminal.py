"""Columns line up in cells, not in characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufaudit.report.escapes import printable
from bufaudit.report.terminal import align, cells, count, paint, shorten

from .samples import texts


@pytest.mark.parametrize(
    ("text", "expected"), [("abc", 3), ("界", 2), ("e\u0301", 1), ("ﾊ", 1), ("\uff21", 2), ("", 0)]
)
def test_cells(text: str, expected: int) -> None:
    assert cells(text) == expected


def test_rows_are_aligned_by_cells_and_not_padded_at_the_end() -> None:
    assert align([("a", "b", "c"), ("界界", "b", "")]) == ["a     b  c", "界界  b"]


def test_no_rows_are_no_lines() -> None:
    assert align([]) == []


def test_text_that_fits_is_not_shortened() -> None:
    assert shorten("abc", 3) == "abc"
    assert shorten("abcd", 3) == "ab…"


@given(texts.map(printable), st.integers(1, 20))
def test_shortened_text_fits(text: str, room: int) -> None:
    assert cells(shorten(text, room)) <= room


def test_counted_nouns() -> None:
    assert [count(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_paint_only_where_color_is_on() -> None:
    assert paint("x", "1", color=False) == "x"
    assert paint("x", "1", color=True) == "\x1b[1mx\x1b[0m"
