"""Carets stand under what they mark, whatever comes before it on the line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bufaudit.report.excerpt import excerpt
from bufaudit.report.terminal import cells

from .samples import texts


def _marked(line: str, carets: str) -> str:
    """The part of a line that its carets cover, cell by cell."""
    start = len(carets) - len(carets.lstrip())
    covered = ""
    position = 0
    for char in line:
        if start <= position < len(carets):
            covered += char
        position += cells(char)
    return covered


def test_plain_span() -> None:
    shown = excerpt("x = walk(m)  \n", 5, 9, 80)
    assert (shown.line, shown.carets) == ("x = walk(m)", "    ^^^^")


def test_tabs_before_and_in_the_span() -> None:
    shown = excerpt("\ta\tb", 2, 5, 80)
    assert (shown.line, shown.carets) == ("    a    b", "    ^^^^^^")


def test_wide_and_combining_characters_before_and_in_the_span() -> None:
    shown = excerpt('t = "界e\u0301" + "界"', 13, 16, 80)
    assert _marked(shown.line, shown.carets) == '"界"'
    assert shown.carets == " " * 12 + "^" * 4


def test_span_over_several_lines_is_marked_to_the_end_of_the_first() -> None:
    assert excerpt("for a in (", 10, None, 80).carets == " " * 9 + "^"


def test_control_characters_do_not_reach_the_terminal() -> None:
    shown = excerpt("a\x1b[2J b", 7, 8, 80)
    assert (shown.line, _marked(shown.line, shown.carets)) == ("a\\x1b[2J b", "b")


def test_empty_span_and_span_after_the_end_have_one_caret() -> None:
    assert excerpt("abc", 2, 2, 80).carets == " ^"
    assert excerpt("abc", 9, 12, 80).carets == "   ^"


def test_long_line_is_cut_after_the_span() -> None:
    shown = excerpt("walk(m)" + " # words" * 20, 1, 5, 20)
    assert shown.line.startswith("walk(m) #")
    assert shown.line.endswith("…")
    assert shown.carets == "^^^^"


def test_long_line_is_cut_on_both_sides_of_the_span() -> None:
    source = "a" * 100 + "walk" + "b" * 100
    shown = excerpt(source, 101, 105, 20)
    assert shown.line.startswith("…a")
    assert shown.line.endswith("b…")
    assert _marked(shown.line, shown.carets) == "walk"


@given(before=texts, span=texts, after=texts)
def test_carets_cover_the_span_exactly(before: str, span: str, after: str) -> None:
    start = len(before) + 1
    shown = excerpt(f"{before}<{span}>{after}", start, start + len(span) + 2, 10_000)
    marked = _marked(shown.line, shown.carets)
    assert marked.lstrip("\u0301").startswith("<")
    assert marked.rstrip("\u0301").endswith(">")
    assert cells(marked) == shown.carets.count("^")


@given(source=texts, start=st.integers(1, 40), length=st.integers(0, 20), room=st.integers(8, 30))
def test_nothing_is_wider_than_the_room(source: str, start: int, length: int, room: int) -> None:
    shown = excerpt(source * 4, start, start + length, room)
    assert cells(shown.line) <= room
    assert len(shown.carets) <= room + 1


def test_very_long_line_is_shown_around_the_span() -> None:
    """Each finding on a line of a megabyte would otherwise measure all of it."""
    line = "é; " * 300_000 + "walk(m)" + "; é" * 300_000
    shown = excerpt(line, 900_001, 900_008, 40)
    assert _marked(shown.line, shown.carets) == "walk(m)"
    assert shown.line.startswith("…")
    assert shown.line.endswith("…")
    assert cells(shown.line) <= 40
