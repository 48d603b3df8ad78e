"""Any bytes at any path give a tree or a reason, at the lines and columns that an editor shows; nothing crashes."""

from __future__ import annotations

import ast
import codecs
import os
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bufaudit.source.text import Unreadable, decode, explain, parse, read_source, split_lines

if TYPE_CHECKING:
    from pathlib import Path

RUNNING = sys.version_info[:2]


def reason_of(result: object) -> str:
    assert isinstance(result, Unreadable), result
    return result.reason


# Reading


def test_reads_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"a = 1\r\n")
    assert read_source(tmp_path / "a.py") == b"a = 1\r\n"
    assert read_source(str(tmp_path / "a.py")) == b"a = 1\r\n"


def test_reads_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"a = 1\n")
    (tmp_path / "link.py").symlink_to("a.py")
    assert read_source(tmp_path / "link.py") == b"a = 1\n"


def test_limit_is_inclusive(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"12345")
    assert read_source(tmp_path / "a.py", limit=5) == b"12345"
    result = read_source(tmp_path / "a.py", limit=4)
    assert reason_of(result) == "too-large"


def test_too_large_names_the_limit(tmp_path: Path) -> None:
    with (tmp_path / "a.py").open("wb") as file:
        file.truncate(50_000_000)
    result = read_source(tmp_path / "a.py")
    assert result == Unreadable("too-large", "the file is larger than 10 MB, and is not read")


def test_pipe_is_not_opened(tmp_path: Path) -> None:
    """A writer that waits for a reader would wake up if the pipe were opened."""
    os.mkfifo(tmp_path / "pipe.py")
    assert reason_of(read_source(tmp_path / "pipe.py")) == "not-a-file"
    with pytest.raises(OSError, match="No such device"):
        os.open(tmp_path / "pipe.py", os.O_WRONLY | os.O_NONBLOCK)


def test_what_is_no_file(tmp_path: Path) -> None:
    assert reason_of(read_source(tmp_path)) == "not-a-file"
    assert reason_of(read_source("/dev/zero")) == "not-a-file"
    assert reason_of(read_source(tmp_path / "gone.py")) == "vanished"
    assert reason_of(read_source(f"{tmp_path}/a\0b.py")) == "vanished"
    (tmp_path / "loop.py").symlink_to("loop.py")
    assert reason_of(read_source(tmp_path / "loop.py")) == "io"


def test_permission_denied(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "a.py").write_bytes(b"")
    (tmp_path / "a.py").chmod(0)
    assert reason_of(read_source(tmp_path / "a.py")) == "permission"


def test_refusal_of_the_system_is_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as above for test runs as root, whom no mode stops."""
    (tmp_path / "a.py").write_bytes(b"")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert reason_of(read_source(tmp_path / "a.py")) == "permission"


# Decoding


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param("# é\n".encode(), "# é\n", id="utf-8 by default"),
        pytest.param(codecs.BOM_UTF8 + "é\r\n".encode(), "é\r\n", id="byte order mark goes, newlines stay"),
        pytest.param(codecs.BOM_UTF8 + b"# coding: utf8\n", "# coding: utf8\n", id="mark and cookie agree"),
        pytest.param("# -*- coding: latin-1 -*-\né".encode("latin-1"), "# -*- coding: latin-1 -*-\né", id="first line"),
        pytest.param("# é coding: latin-1".encode("latin-1"), "# é coding: latin-1", id="within the cookie's line"),
        pytest.param(
            "#!/bin/python\r# vim: set fileencoding=cp1251 :\rя".encode("cp1251"),
            "#!/bin/python\r# vim: set fileencoding=cp1251 :\rя",
            id="second line, lone carriage returns",
        ),
        pytest.param(b"x = 1\n# coding: ascii\n# \xc3\xa9", "x = 1\n# coding: ascii\n# é", id="not below code"),
        pytest.param(b"\n\n# coding: ascii\n# \xc3\xa9", "\n\n# coding: ascii\n# é", id="not on the third line"),
        pytest.param(b"", "", id="empty"),
    ],
)
def test_decodes(data: bytes, text: str) -> None:
    assert decode(data) == text


@pytest.mark.parametrize(
    ("data", "reason", "line", "column"),
    [
        pytest.param(b"a\r\nb\rc \xff", "undecodable", 3, 3, id="no utf-8"),
        pytest.param("é \0".encode(), "nul", 1, 3, id="NUL"),
        pytest.param(codecs.BOM_UTF8 + b"\n\xff", "undecodable", 2, 1, id="byte order mark counts for nothing"),
        pytest.param(codecs.BOM_UTF8 + b"ab\xff", "undecodable", 1, 3, id="nor in its own line"),
        pytest.param("a = 1".encode("utf-16"), "undecodable", 1, 1, id="utf-16"),
        pytest.param(b"# coding: klingon\n", "encoding", 1, 1, id="unknown"),
        pytest.param(b"# coding: rot13\n", "encoding", 1, 1, id="no text encoding"),
        pytest.param(b"# coding: hex\n", "encoding", 1, 1, id="no text encoding either"),
        pytest.param(codecs.BOM_UTF8 + b"# coding: latin-1\n", "encoding", 1, 1, id="mark and cookie disagree"),
        pytest.param(b"# coding: utf-7\n+2AA-", "undecodable", 1, 1, id="lone surrogate"),
        pytest.param(b"# coding: undefined\n", "undecodable", 1, 1, id="codec that always fails"),
    ],
)
def test_says_why_it_cannot_decode(data: bytes, reason: str, line: int, column: int) -> None:
    result = decode(data)
    assert isinstance(result, Unreadable)
    assert (result.reason, result.line, result.column) == (reason, line, column)


ENCODINGS = st.sampled_from(
    [
        "latin-1",
        "utf-7",
        "idna",
        "punycode",
        "unicode_escape",
        "raw_unicode_escape",
        "utf-16",
        "big5",
        "zlib",
        "hz",
        "mbcs",
    ]
)


@given(st.binary())
@example(b"\xef\xbb")
@example(b"# coding: \n")
def test_any_bytes_give_text_or_a_reason(data: bytes) -> None:
    assert isinstance(decode(data), str | Unreadable)
    assert isinstance(parse(data), ast.Module | Unreadable)


@given(ENCODINGS, st.binary())
def test_any_declared_encoding_gives_text_or_a_reason(encoding: str, data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = b"# coding: " + encoding.encode() + b"\n" + data
        assert isinstance(parse(source), ast.Module | Unreadable)


@given(st.text(st.sampled_from("ab=1 \n\r\t\f#'\"\\([{:;,.`<>!$é\x0b\x1c\x85\u2028\0"), max_size=40))
def test_any_text_gives_a_tree_or_a_reason(text: str) -> None:
    result = parse(text)
    if isinstance(result, Unreadable):
        assert 1 <= result.line <= len(split_lines(text))
        assert 1 <= result.column <= len(split_lines(text)[result.line - 1]) + 1


# Lines

ODD_SPACE = st.text(st.sampled_from(" \t\f"), max_size=2)
ODD_IN_STRING = st.text(st.sampled_from("x \t\x0b\x0c\x1c\x1d\x85\u2028\u2029é"), max_size=4)
NEWLINE = st.sampled_from(["\n", "\r\n", "\r", "\f\n", "\n\n", "\r\r\n"])


@given(st.lists(st.tuples(ODD_IN_STRING, ODD_SPACE, NEWLINE), min_size=1, max_size=8))
def test_lines_are_those_of_the_tree(parts: list[tuple[str, str, str]]) -> None:
    """`str.splitlines` would split at form feeds and line separators, and shift every line below."""
    text = "".join(f"n{number} = '{held}'{space}{newline}" for number, (held, space, newline) in enumerate(parts))
    tree = ast.parse(text)
    lines = split_lines(text)
    for number, statement in enumerate(tree.body):
        assert lines[statement.lineno - 1].startswith(f"n{number} = ")


def test_split_lines_drops_the_ends_and_keeps_the_place_behind_the_last() -> None:
    assert split_lines("a\r\nb\rc\n\nd\x0c\x0b\u2028e\n") == ["a", "b", "c", "", "d\x0c\x0b\u2028e", ""]
    assert split_lines("") == [""]


# Parsing


def test_parses_text_and_bytes_alike() -> None:
    assert ast.dump(parse("é = 1\n")) == ast.dump(parse("é = 1\n".encode()))  # type: ignore[arg-type]


def test_a_cookie_in_text_changes_nothing() -> None:
    tree = parse("# coding: latin-1\nx = 'é'\n")
    assert isinstance(tree, ast.Module)
    assert ast.literal_eval(tree.body[0].value) == "é"  # type: ignore[attr-defined]


def test_warnings_about_the_code_are_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(parse(r"x = '\d' + (1if y else 2)"), ast.Module)
        assert isinstance(parse(b"# coding: unicode_escape\n\\d"), ast.Module | Unreadable)
    assert capfd.readouterr().err == ""


def test_no_file_is_opened_for_the_line_of_an_error(tmp_path: Path) -> None:
    """Python quotes the line of a syntax error from the file that it is named; a pipe of that name would hang it."""
    for name in ("<unknown>", "<string>", "a.py"):
        os.mkfifo(tmp_path / name)
    code = "from bufaudit.source.text import parse; print(parse('x = = 1').reason)"
    path = os.pathsep.join(each for each in sys.path if each)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == "syntax\n"


@pytest.mark.parametrize(
    "code",
    [
        "print 'x'",
        "print x, y",
        "exec 'x' in names",
        "try:\n  x\nexcept OSError, e:\n  pass",
        "try:\n  x\nexcept (OSError, ValueError), error:\n  pass",
        "x = `y`",
        "if a <> b: pass",
        "raise ValueError, 'no'",
        "x = 0777",
        "x = 10L",
        "x = 0xFFL",
        "x = ur'a'",
        "lambda (a, b): a",
    ],
)
def test_python_2(code: str) -> None:
    if RUNNING >= (3, 14) and "except OSError, e" in code:
        pytest.skip("valid since 3.14")
    assert reason_of(parse(f"import x\n\n{code}\n")) == "python2"


NEWER = [
    ((3, 12), "type X = int"),
    ((3, 12), "type X[T] = list[T]"),
    ((3, 12), "def f[T](x: T) -> T: ..."),
    ((3, 12), "async def f[T](x): ..."),
    ((3, 12), "class C[T](B): ..."),
    ((3, 12), 'x = f"{d["a"]}"'),
    ((3, 12), "x = f'{\"\\n\".join(y)}'"),
    ((3, 12), 'x = f"{\n  y\n}"'),
    ((3, 13), "class C[T = int]: ..."),
    ((3, 14), "x = t'{y}'"),
    ((3, 14), "try:\n  x\nexcept OSError, ValueError:\n  pass"),
    ((3, 14), "try:\n  x\nexcept zlib.error, lzma.LZMAError, e:\n  pass"),
    ((3, 15), "lazy import x"),
    ((3, 15), "lazy from x import y"),
    ((3, 15), "x = [*y for y in z]"),
]


@pytest.mark.parametrize(("since", "code"), NEWER)
def test_grammar_newer_than_the_running_python_is_named(since: tuple[int, int], code: str) -> None:
    if since <= RUNNING:
        assert isinstance(parse(code), ast.Module)
        return
    result = parse(code)
    assert reason_of(result) == "newer-python"
    assert isinstance(result, Unreadable)
    assert result.message.startswith(f"needs a newer Python than {RUNNING[0]}.{RUNNING[1]} (")
    assert "came with 3." in result.message


@pytest.mark.parametrize("code", [code for _, code in NEWER])
def test_a_python_that_has_the_grammar_calls_it_a_plain_error(code: str) -> None:
    error = SyntaxError("invalid syntax", ("", 1, 1, None, None, None))
    assert explain(error, split_lines(code), running=(3, 99)).reason == "syntax"


@pytest.mark.parametrize(
    "code",
    [
        "x = = 1",
        "x = (1,",
        "x = f'{y'",
        "x = f'{'",
        "'abc",
        "try:\n  x\nexcept A, B as e:\n  pass",
        "  x = 1",
        "if x:\n\ty\n        z",
        "x = 1z",
        "t x'",
        "x = " + "9" * 5000,
        "x = '" + 'f"{' * 100_000,
    ],
)
def test_plain_errors(code: str) -> None:
    assert reason_of(parse(code)) == "syntax"


def test_place_of_an_error_counts_from_one_in_characters() -> None:
    result = parse("a = 1\r\né = 'é')\r\n")
    assert result == Unreadable("syntax", "syntax error: unmatched ')'", 2, 8)


@pytest.mark.parametrize(
    "code",
    [
        "(" * 500 + ")" * 500,
        "-" * 100_000 + "1",
        "1" + "+1" * 100_000,
        "a" + ".b" * 100_000,
        "x = " + "not " * 10_000 + "1",
        "".join(" " * depth + "if 1:\n" for depth in range(120)),
        "x = " + "[" * 100_000,
    ],
)
def test_nesting_that_overflows_the_parser(code: str) -> None:
    result = parse(code)
    # How deep is too deep differs between versions of Python.
    assert isinstance(result, ast.Module) or result.reason == "nesting"
    if RUNNING == (3, 11):
        assert reason_of(result) == "nesting"


def test_surrogates_in_text() -> None:
    assert reason_of(parse("x = '\ud800'")) == "syntax"
