"""From path to bytes to text to tree; each step gives its result or says why it cannot."""

from __future__ import annotations

import ast
import codecs
import os
import re
import stat
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bufaudit.patterns import lazy_pattern

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes; no file that a person wrote is as long, and a generated one would cost seconds and gigabytes.
SIZE_LIMIT = 10_000_000

Reason = Literal[
    "vanished",
    "not-a-file",
    "permission",
    "io",
    "too-large",
    "nul",
    "encoding",
    "undecodable",
    "python2",
    "newer-python",
    "nesting",
    "syntax",
    "internal",
]

_FIRST_TWO_LINES = lazy_pattern(rb"[^\r\n]*(?:\r\n|\r|\n)?[^\r\n]*")
_COOKIE = lazy_pattern(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_NO_CODE = lazy_pattern(rb"[ \t\f]*(?:#.*)?$")
_NEWLINE = lazy_pattern(r"\r\n?|\n")
# Guessing why a line does not parse may take time that grows with the square of its length.
_GUESS_LIMIT = 2_000


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a file cannot be read, decoded or parsed, and where in it; lines and columns count from 1.

    `reason` is for code, `message` for people. "too-large" and "newer-python" are skips rather than faults of
    the file.
    """

    reason: Reason
    message: str
    line: int = 1
    column: int = 1


def read_source(path: str | Path, *, limit: int = SIZE_LIMIT) -> bytes | Unreadable:
    """The bytes of a regular file of at most `limit` bytes.

    Pipes and devices are never opened: that alone can hang, or change what stands at the other end.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return _not_a_file()
        # Without blocking, because a pipe may have taken the file's place since.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return _not_a_file()
            if status.st_size > limit:
                return _too_large(limit)
            data = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return Unreadable("vanished", "the file is not there any more")
    except PermissionError:
        return Unreadable("permission", "the file may not be read (permission denied)")
    except OSError as error:
        return Unreadable("io", f"the file cannot be read ({error.strerror})")
    return data if len(data) <= limit else _too_large(limit)


def decode(data: bytes) -> str | Unreadable:
    """The text of Python source, by PEP 263: a byte order mark, a coding cookie, else UTF-8.

    Newlines stay as they are; the byte order mark goes.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Unreadable("undecodable", "the file is UTF-16, which Python cannot read; save it as UTF-8")
    if b"\0" in data:
        return _at(data, data.index(b"\0"), "nul", "the file has NUL bytes, so it is not Python source")
    encoding = _encoding(data)
    if isinstance(encoding, Unreadable):
        return encoding
    try:
        # Some codecs warn about what they decode.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = data.removeprefix(codecs.BOM_UTF8).decode(encoding)
            if encoding != "utf-8":
                # A few codecs, such as utf-7, give lone surrogates, which no parser takes.
                text.encode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + (len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0)
        return _at(data, offset, "undecodable", f"the file is not valid {encoding} ({error.reason})")
    except LookupError:
        return Unreadable("encoding", f"the file declares {encoding}, which is no text encoding")
    except (ValueError, OverflowError):
        return Unreadable("undecodable", f"the file is not valid {encoding}")
    return text


def split_lines(text: str) -> list[str]:
    """The lines without their ends, split where Python's tokenizer and editors do: at CRLF, CR and LF only.

    Line `n` of a syntax tree is item `n - 1`. After a last newline comes an empty item, where errors at the
    end of the file stand.
    """
    if "\r" in text:
        return _NEWLINE.split(text)
    return text.split("\n")


def parse(source: str | bytes) -> ast.Module | Unreadable:
    """The syntax tree of Python source as the running Python understands it.

    Says nothing about the code that it parses: its warnings are nobody's business here.
    """
    text = decode(source) if isinstance(source, bytes) else source
    if isinstance(text, Unreadable):
        return text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # No file can have the empty name. Python opens the file whose name it is given to quote the line
            # of an error, and would hang on a pipe.
            return ast.parse(text, filename="")
    except SyntaxError as error:
        return explain(error, split_lines(text), running=sys.version_info[:2])
    except (RecursionError, MemoryError, SystemError):
        return Unreadable("nesting", "the code is nested too deeply for Python's parser")
    except (ValueError, OverflowError) as error:
        return Unreadable("syntax", f"Python's parser refuses the file ({error})")


def explain(error: SyntaxError, lines: list[str], *, running: tuple[int, int]) -> Unreadable:
    """Why source does not parse: Python 2, a grammar newer than `running`, nesting, or a plain error."""
    text = error.msg or "invalid syntax"
    number = min(max(error.lineno or 1, 1), max(len(lines), 1))
    line = lines[number - 1] if lines else ""
    column = min(max(error.offset or 1, 1), len(line) + 1)
    if text.startswith("too many"):
        return Unreadable("nesting", f"the code is nested too deeply for Python's parser ({text})", number, column)
    if len(line) > _GUESS_LIMIT:
        return Unreadable("syntax", f"syntax error: {text}", number, column)
    feature = _newer_feature(text, line, column, running)
    if feature is not None:
        message = f"needs a newer Python than {running[0]}.{running[1]} ({feature})"
        return Unreadable("newer-python", message, number, column)
    if _is_python_2(text, line, column):
        return Unreadable("python2", f"Python 2 code ({text})", number, column)
    return Unreadable("syntax", f"syntax error: {text}", number, column)


_F_STRING_LIMITS = ("f-string expression part cannot include", "f-string: expressions nested too deeply")
_F_STRING_SURPRISES = ("f-string: unmatched", "f-string: expecting '}'")
_NESTED_QUOTES = lazy_pattern(r"""(?:[fF][rR]?|[rR][fF])(["'])(?:(?!\1).)*\{[^}]*?\1[^}]*\}""")
_OPEN_F_STRING = lazy_pattern(r"""(?:[fF][rR]?|[rR][fF])(["'])(?:(?!\1).)*\{[^}]*$""")
_T_STRING = lazy_pattern(r"\b(?:[tT][rR]?|[rR][tT])$")
_EXCEPT_LIST = lazy_pattern(r"\s*except\b\*?\s*(?P<types>[^:#]*)")
_CAUGHT_NAME = lazy_pattern(r"[a-z_]\w*\s*$")

#: Since which version, which feature, and the start of the line on which older parsers stop.
_NEWER_STATEMENTS = (
    ((3, 15), "lazy imports came with 3.15", lazy_pattern(r"\s*lazy\s+(?:import|from)\b")),
    ((3, 12), "`type` statements came with 3.12", lazy_pattern(r"\s*type\s+\w+\s*(?:\[.*\])?\s*=(?!=)")),
    (
        (3, 12),
        "type parameters came with 3.12",
        lazy_pattern(r"\s*(?:async\s+def|def|class)\s+\w+\s*\["),
    ),
    (
        (3, 13),
        "defaults of type parameters came with 3.13",
        lazy_pattern(r"\s*(?:async\s+def|def|class|type)\s+\w+\s*\[[^\]]*=(?!=)"),
    ),
)


def _newer_feature(message: str, line: str, column: int, running: tuple[int, int]) -> str | None:
    for since, feature, start in _NEWER_STATEMENTS:
        if running < since and start.match(line):
            return feature
    if running < (3, 12) and (
        message.startswith(_F_STRING_LIMITS)
        or (message.startswith(_F_STRING_SURPRISES) and _NESTED_QUOTES.search(line))
        or (message.startswith("unterminated string") and _OPEN_F_STRING.match(line, column - 1))
    ):
        return "f-strings that hold any expression came with 3.12"
    if running < (3, 14) and line[column - 1 : column] in {"'", '"'} and _T_STRING.search(line[: column - 1]):
        return "template strings came with 3.14"
    if (
        running < (3, 14)
        and message.startswith("multiple exception types must be parenthesized")
        and not _binds_caught_name(line)
        and " as " not in line
    ):
        return "`except` of several types without parentheses came with 3.14"
    if running < (3, 15) and "unpacking cannot be used in" in message:
        return "unpacking in comprehensions came with 3.15"
    return None


def _binds_caught_name(line: str) -> bool:
    """Whether `except A, e:` means Python 2's `as e`, by the custom that classes start with a capital."""
    match = _EXCEPT_LIST.match(line)
    if match is None:
        return False
    before, _, last = match["types"].rpartition(",")
    # Of three or more without parentheses none can be Python 2's.
    outside = re.sub(r"\([^()]*\)", "", before)
    return "," not in outside and _CAUGHT_NAME.match(last.strip()) is not None


_PYTHON_2_MESSAGES = (
    "Missing parentheses in call to",
    "leading zeros in decimal integer literals",
    "Function parameters cannot be parenthesized",
    "Lambda expression parameters cannot be parenthesized",
)
_PYTHON_2_RAISE = lazy_pattern(r"\s*raise\s+[\w.]+\s*,")
_PYTHON_2_STRING = lazy_pattern(r"""[uU][rR]["']""")
_LONG_LITERAL = lazy_pattern(r"\b(?:\d+|0[xX][0-9a-fA-F]+)[lL]\b")


def _is_python_2(message: str, line: str, column: int) -> bool:
    if message.startswith(_PYTHON_2_MESSAGES):
        return True
    if message.startswith("multiple exception types"):
        return _binds_caught_name(line)
    if message.startswith(("invalid decimal literal", "invalid hexadecimal literal")):
        return _LONG_LITERAL.search(line) is not None
    at = column - 1
    return (
        line[at : at + 1] == "`"
        or line[at : at + 2] == "<>"
        or _PYTHON_2_RAISE.match(line) is not None
        or _PYTHON_2_STRING.match(line, max(at - 2, 0)) is not None
    )


def _encoding(data: bytes) -> str | Unreadable:
    head = _FIRST_TWO_LINES.match(data)
    declared = None if head is None or b"coding" not in head[0] else _cookie(head[0])
    if declared is None:
        return "utf-8"
    try:
        is_utf_8 = codecs.lookup(declared).name == "utf-8"
    except (LookupError, ValueError):
        return Unreadable("encoding", f"the file declares {declared}, an encoding that Python does not know")
    if is_utf_8:
        return "utf-8"
    if data.startswith(codecs.BOM_UTF8):
        message = f"the file declares {declared} but starts with a UTF-8 byte order mark"
        return Unreadable("encoding", message)
    return declared


def _cookie(head: bytes) -> str | None:
    """The encoding that the first two lines declare; the second counts only below a line without code."""
    for line in re.split(rb"\r\n?|\n", head.removeprefix(codecs.BOM_UTF8)):
        match = _COOKIE.match(line)
        if match is not None:
            return match[1].decode("ascii")
        if _NO_CODE.match(line) is None:
            return None
    return None


def _at(data: bytes, offset: int, reason: Reason, message: str) -> Unreadable:
    lines = re.split(rb"\r\n?|\n", data[:offset].removeprefix(codecs.BOM_UTF8))
    return Unreadable(reason, message, len(lines), len(lines[-1].decode("utf-8", "replace")) + 1)


def _not_a_file() -> Unreadable:
    return Unreadable("not-a-file", "this is no regular file")


def _too_large(limit: int) -> Unreadable:
    return Unreadable("too-large", f"the file is larger than {limit / 1e6:g} MB, and is not read")
