"""Texts, patterns and places of syntax are those that a reader sees in the file."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given

from bufaudit.source.syntax import (
    Places,
    branches_of_test,
    dotted,
    identifiers,
    last_name,
    name_pattern,
    source_text,
    walk,
)

from .snippets import programs


def parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


@given(programs)
def test_walk_gives_what_the_standard_library_gives_but_contexts(text: str) -> None:
    tree = ast.parse(text)
    assert list(walk(tree)) == [node for node in ast.walk(tree) if not isinstance(node, ast.expr_context)]


@pytest.mark.parametrize(
    ("text", "expected", "last"),
    [
        ("a", "a", "a"),
        ("a.b.c", "a.b.c", "c"),
        ("a.b().c", "a.b().c", "c"),
        ("a[0].b", "a[].b", "b"),
        ("a.b()", "a.b()", "b"),
        ("a.b[0][1]", "a.b[][]", "b"),
        ("'a'.join", "", ""),
        ("(a + b).c", "", ""),
        ("1", "", ""),
    ],
)
def test_dotted(text: str, expected: str, last: str) -> None:
    assert dotted(parsed(text)) == expected
    assert last_name(expected) == last


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'a'", "a"),
        ("f'{x}_a{y!r:>{w}}'", "{}_a{}"),
        ("f'a'", "a"),
        ("x + '_a'", "{}_a"),
        ("'a' + x + 'b'", "a{}b"),
        ("'%s_%03d_%(k)r' % x", "{}_{}_{}"),
        ("'{}_{0}_{k.a[1]:d}'.format(x)", "{}_{}_{}"),
        ("x", None),
        ("1", None),
        ("f(x)", None),
    ],
)
def test_name_pattern(text: str, expected: str | None) -> None:
    assert name_pattern(parsed(text)) == expected


def test_source_text_is_cut_where_it_is_very_long() -> None:
    assert source_text(parsed("a  +  (b)")) == "a + b"
    assert source_text(None) == ""
    long = source_text(parsed("+".join("abc" for _ in range(200))))
    assert len(long) == 200
    assert long.endswith("…")


def test_branches_go_through_and_or_and_not() -> None:
    branches = branches_of_test(parsed("a and not (b or c.d) and (e == f)"))
    assert [ast.unparse(branch) for branch in branches] == ["a", "b", "c.d", "e == f"]


def test_identifiers_are_names_attributes_keywords_strings_and_functions() -> None:
    tree = ast.parse("def f(a):\n    return b.c(d='e', **g)")
    assert {"f", "b", "c", "d", "e", "g"} <= set(identifiers(tree))


@pytest.mark.parametrize(
    ("text", "column", "end_column"),
    [("x = call(1)", 5, 12), ("'ß' + call(1)", 7, 14), ("'😀日本' + call('ß')", 9, 18), ("\tcall(1)".strip(), 1, 8)],
)
def test_columns_count_characters(text: str, column: int, end_column: int) -> None:
    statement = ast.parse(text).body[0]
    (call,) = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
    place = Places(text).of(call, statement)
    assert (place.column, place.end_column) == (column, end_column)
    assert text[column - 1 : end_column - 1] == ast.get_source_segment(text, call)


def test_statement_of_a_place_is_all_of_a_simple_one_and_the_header_of_a_compound_one() -> None:
    text = "x = f(\n    a,\n    g(),\n)\nfor p in h(\n    b\n):\n    pass\n"
    simple, compound = ast.parse(text).body
    places = Places(text)
    inner = [node for node in ast.walk(simple) if isinstance(node, ast.Call)][1]
    assert isinstance(compound, ast.For)
    place, header = places.of(inner, simple), places.of(compound.iter, compound)
    assert (place.line, place.first_line, place.last_line) == (3, 1, 4)
    assert (header.line, header.first_line, header.last_line) == (5, 5, 7)


def test_text_of_what_cannot_be_written_is_an_ellipsis() -> None:
    """A number with more digits than Python writes."""
    assert source_text(parsed("0x" + "f" * 5000)) == "…"


def test_text_of_a_string_that_old_pythons_cannot_write() -> None:
    """It would need a backslash within an f-string."""
    assert source_text(parsed("f'{x + \"\x7f\"}'")) in ("…", "f'{x + \"\\x7f\"}'", "f\"{x + '\\x7f'}\"")


def test_places_of_a_long_line_count_characters() -> None:
    line = "é; " * 600 + "x.y"
    statement = ast.parse(line).body[-1]
    assert isinstance(statement, ast.Expr)
    place = Places(line).of(statement.value, statement)
    assert line[place.column - 1 : place.end_column - 1] == "x.y"
