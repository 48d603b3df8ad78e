"""Only real comments silence, only where they stand, and what is written wrongly is said to be."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufaudit.source.suppressions import Suppression, parse_suppressions


def only(text: str) -> Suppression:
    found = parse_suppressions(text)
    assert len(found) == 1, found
    return found[0]


def test_one_code_with_a_reason() -> None:
    assert only("é = 1  # bufaudit: ignore[BUF101] buffers are constants\n") == Suppression(
        line=1,
        column=8,
        end_column=56,
        codes=("BUF101",),
        scope="line",
        kind="bufaudit",
        reason="buffers are constants",
        target=1,
    )


@pytest.mark.parametrize(
    ("comment", "codes", "reason"),
    [
        ("# bufaudit: ignore", (), ""),
        ("#bufaudit:ignore", (), ""),
        ("# bufaudit: ignore - all of it", (), "all of it"),
        ("# bufaudit: ignore[BUF101, BUF201]", ("BUF101", "BUF201"), ""),
        ("# bufaudit: ignore[BUF101,BUF201,]", ("BUF101", "BUF201"), ""),
        ("# bufaudit: ignore [ BUF101 ]: why", ("BUF101",), "why"),
        ("# bufaudit: ignore[nonsense]", ("nonsense",), ""),
        ("## bufaudit: ignore[BUF101]", ("BUF101",), ""),
        ("# type: ignore  # bufaudit: ignore[BUF101] why  # and more", ("BUF101",), "why"),
    ],
)
def test_forms(comment: str, codes: tuple[str, ...], reason: str) -> None:
    found = only(f"x = 1  {comment}\n")
    assert (found.scope, found.codes, found.reason) == ("line", codes, reason)


def test_place_is_that_of_the_marker_alone() -> None:
    text = "x = 1  # type: ignore  # bufaudit: ignore[BUF101] why  # more"
    found = only(text)
    assert text[found.column - 1 : found.end_column - 1] == "# bufaudit: ignore[BUF101] why"


@pytest.mark.parametrize(
    "text",
    [
        's = "# bufaudit: ignore[BUF101]"',
        "s = '''\n# bufaudit: ignore[BUF101]\n'''",
        "s = f'# bufaudit: ignore[BUF101] {x}'",
        "# see bufaudit: ignore docs",
        "# write `# bufaudit: ignore[BUF101]` there",
        '# or "# noqa" there',
        "# not-bufaudit: ignore",
        "# see noqa",
    ],
)
def test_strings_and_prose_are_no_markers(text: str) -> None:
    assert parse_suppressions(text + "\n") == ()


@pytest.mark.parametrize(
    ("text", "target"),
    [
        pytest.param("# bufaudit: ignore\nx = 1\n", 2, id="line above"),
        pytest.param("# bufaudit: ignore\n\n# more\n\nx = 1\n", 5, id="over blank lines and comments"),
        pytest.param("if y:\n    x\n    # bufaudit: ignore\nz\n", 4, id="over the end of a block"),
        pytest.param("f(\n    # bufaudit: ignore\n    a,\n)\n", 3, id="within a statement"),
        pytest.param("x = 1\n# bufaudit: ignore\n", 0, id="nothing follows"),
        pytest.param("\x0c# bufaudit: ignore\r\n@d\r\ndef f(): ...\r\n", 2, id="form feed, CRLF, decorator"),
        pytest.param("# bufaudit: ignore\rx = 1\r", 2, id="lone carriage returns"),
    ],
)
def test_alone_on_a_line_speaks_of_the_next_code(text: str, target: int) -> None:
    found = only(text)
    assert (found.scope, found.target) == ("next", target)


def test_behind_the_end_of_a_string_over_lines_it_is_not_alone() -> None:
    found = only('x = """\n"""  # bufaudit: ignore\ny = 1\n')
    assert (found.scope, found.line, found.target) == ("line", 2, 2)


def test_line_separators_that_python_does_not_know_shift_nothing() -> None:
    assert only("x = '\u2028\x0c\x1c'\ny = 1  # bufaudit: ignore\n").line == 2


def test_whole_file() -> None:
    found = only("x = 1\n# bufaudit: ignore-file[BUF101] generated\n")
    assert (found.scope, found.codes, found.reason) == ("file", ("BUF101",), "generated")


@pytest.mark.parametrize(
    ("comment", "problem"),
    [
        ("# bufaudit: ignore[BUF101", "never closed"),
        ("# bufaudit: ignore[]", "name no rule"),
        ("# bufaudit: ignore BUF101", r"in brackets: ignore\[BUF101\]"),
        ("# bufaudit: ignore: BUF101", "in brackets"),
        ("# bufaudit: ignore(BUF101)", "in brackets"),
        ("# bufaudit: ignored[BUF101]", "not 'ignored"),
        ("# bufaudit: ignore-line", "not 'ignore-line'"),
        ("# bufaudit: disable=BUF101", "not 'disable=BUF101'"),
        ("# bufaudit:", "not ''"),
    ],
)
def test_what_is_written_wrongly_is_a_fact_too(comment: str, problem: str) -> None:
    found = only(f"x = 1  {comment}\n")
    assert found.scope == "malformed"
    assert found.codes == ()
    assert re.search(problem, found.reason)


@pytest.mark.parametrize(
    ("comment", "codes"),
    [
        ("# noqa", ()),
        ("#NOQA", ()),
        ("# noqa because", ()),
        ("# noqa: BUF101", ("BUF101",)),
        ("# noqa:BUF101,E501 BUF201 and why CKP101", ("BUF101", "BUF201")),
        ("# noqa : CKP101", ("CKP101",)),
        ("# pragma: no cover # noqa", ()),
    ],
)
def test_noqa(comment: str, codes: tuple[str, ...]) -> None:
    found = only(f"x = 1  {comment}\n")
    assert (found.kind, found.scope, found.codes, found.target) == ("noqa", "line", codes, 1)


@pytest.mark.parametrize("comment", ["# noqa: E501", "# noqa: E501 not BUF101", "# noqa:", "# noqa: buf101", "# noqax"])
def test_noqa_for_other_linters_is_not_ours(comment: str) -> None:
    assert parse_suppressions(f"x = 1  {comment}\n") == ()


def test_noqa_alone_on_a_line_speaks_of_that_line_only() -> None:
    found = only("# noqa\nx = 1\n")
    assert (found.scope, found.target) == ("line", 1)


def test_both_kinds_in_one_comment() -> None:
    found = parse_suppressions("x = 1  # noqa: BUF101 # bufaudit: ignore[BUF201]\n")
    assert [(each.kind, each.codes) for each in found] == [("noqa", ("BUF101",)), ("bufaudit", ("BUF201",))]


@pytest.mark.parametrize("end", ["(", "'''", "  x\n y", "$?", "x = '", "\\"])
def test_a_broken_file_keeps_what_came_before(end: str) -> None:
    found = parse_suppressions(f"x = 1  # bufaudit: ignore[BUF101]\n{end}")
    assert [each.codes for each in found] == [("BUF101",)]


def test_files_without_a_marker_are_not_tokenized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokenizing every file would cost more than all the rest of a scan."""

    def refuse(*_: object) -> None:
        raise AssertionError("tokenized")

    monkeypatch.setattr("tokenize.generate_tokens", refuse)
    text = "import bufaudit\nx = 1  # noqa: E501\n# about noqa\n# the bufaudit tool: ignore it\n"
    assert parse_suppressions(text) == ()
    with pytest.raises(AssertionError, match="tokenized"):
        parse_suppressions("# noqa\n")


FRAGMENT = st.sampled_from(
    [
        "#",
        " ",
        "noqa",
        ":",
        "BUF101",
        "\n",
        "\r",
        "bufaudit:",
        "ignore",
        "-file",
        "[",
        "]",
        "'",
        '"""',
        "x",
        "E1",
        ",",
        "\t",
    ]
)


@given(st.lists(FRAGMENT, max_size=14).map("".join))
def test_the_search_before_tokenizing_misses_no_marker(text: str) -> None:
    """A line that has nothing but a comment before it has a marker with or without the marked line in front."""
    trigger = "# noqa\n"
    with_trigger = [(each.line - 1, each.column, each.codes, each.kind) for each in parse_suppressions(trigger + text)]
    without = [(each.line, each.column, each.codes, each.kind) for each in parse_suppressions(text)]
    assert with_trigger[1:] == without
