"""Comments that silence findings, as facts; which finding each one silences is decided elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bufaudit.patterns import lazy_pattern
from bufaudit.source.text import split_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

Scope = Literal["line", "next", "file", "malformed"]
Kind = Literal["bufaudit", "noqa"]

# Tokenizing costs more than anything else that is done with a file, so it waits for one of these. A noqa
# comment for other linters' codes is none of our business.
_WORTH_TOKENIZING = lazy_pattern(
    r"#\s*(?:bufaudit\s*:|noqa(?=\s*(?:\#|$))|noqa(?=\s+[^\s:])|noqa\s*:[^#\r\n]*(?:BUF|CKP))",
    re.IGNORECASE | re.MULTILINE,
)
# A quoted marker is prose about markers.
_BUFAUDIT = lazy_pattern(r"""(?<!["'`])\#\s*bufaudit\s*:\s*(?P<rest>[^#]*)""")
_NOQA = lazy_pattern(r"""(?<!["'`])\#\s*noqa(?:\s*:(?P<codes>[^#]*)|(?=\s|\#|$))""", re.IGNORECASE)
_ACTION = lazy_pattern(r"(?P<action>ignore-file|ignore)(?![\w-])\s*(?:\[(?P<codes>[^\]]*)\])?(?P<reason>.*)", re.DOTALL)
_CODE = lazy_pattern(r"[A-Z]+[0-9]+")
_OUR_CODE = lazy_pattern(r"(?:BUF|CKP)[0-9]+")


@dataclass(frozen=True, slots=True)
class Suppression:
    """One marker in a comment.

    `line`, `column` and `end_column` say where the marker stands; they count from 1, in characters,
    `end_column` exclusive. `codes` are as written, and empty for all rules. `target` is the line that the
    marker speaks of: its own, or for "next" that of the next code; 0 where no code follows. `reason` is what
    the author gave as one, or for "malformed" what is wrong.
    """

    line: int
    column: int
    end_column: int
    codes: tuple[str, ...]
    scope: Scope
    kind: Kind
    reason: str
    target: int


def parse_suppressions(text: str) -> tuple[Suppression, ...]:
    """Every marker of the text, in order; where the text does not tokenize, those before that place."""
    if _WORTH_TOKENIZING.search(text) is None:
        return ()
    found = []
    for line, column, comment, alone, target in _comments(text):
        alone_above = target if alone else None
        found += [_marker(match, line, column, alone_above) for match in _BUFAUDIT.finditer(comment)]
        for match in _NOQA.finditer(comment):
            codes = _noqa_codes(match["codes"])
            if codes is not None:
                start, end = column + match.start(), column + match.start() + len(match[0].rstrip())
                found.append(Suppression(line, start, end, codes, "line", "noqa", "", line))
    return tuple(sorted(found, key=lambda each: (each.line, each.column)))


def _marker(match: re.Match[str], line: int, column: int, alone_above: int | None) -> Suppression:
    """What a marker says; `alone_above` is the line of the next code if the comment has a line to itself."""
    start = column + match.start()
    end = start + len(match[0].rstrip())
    problem, codes, scope, reason = _read(match["rest"])
    if problem is not None:
        return Suppression(line, start, end, (), "malformed", "bufaudit", problem, line)
    if scope == "file":
        return Suppression(line, start, end, codes, "file", "bufaudit", reason, line)
    if alone_above is not None:
        return Suppression(line, start, end, codes, "next", "bufaudit", reason, alone_above)
    return Suppression(line, start, end, codes, "line", "bufaudit", reason, line)


def _read(rest: str) -> tuple[str | None, tuple[str, ...], Literal["line", "file"], str]:
    """What is wrong (or None), the codes, the scope and the reason of what follows `bufaudit:`."""
    action = _ACTION.match(rest)
    if action is None:
        word = rest.split()[0] if rest.split() else ""
        return f"write ignore or ignore-file after `bufaudit:`, not {word!r}", (), "line", ""
    scope: Literal["line", "file"] = "file" if action["action"] == "ignore-file" else "line"
    tail = action["reason"].strip()
    if action["codes"] is None:
        if tail.startswith("["):
            return "the bracket is never closed", (), scope, ""
        if tail.startswith((":", "(", "=")) or _CODE.match(tail):
            return f"write the codes in brackets: {action['action']}[BUF101]", (), scope, ""
        return None, (), scope, tail.lstrip("-\N{EN DASH}\N{EM DASH} ")
    codes = tuple(code for code in re.split(r"[,\s]+", action["codes"]) if code)
    if not codes:
        return "the brackets name no rule", (), scope, ""
    return None, codes, scope, tail.lstrip(":-\N{EN DASH}\N{EM DASH} ")


def _noqa_codes(written: str | None) -> tuple[str, ...] | None:
    """Our codes of a noqa comment; empty for a bare one, None where it is for other linters only."""
    if written is None:
        return ()
    codes = []
    # What comes after the first word that is no code is the author's reason.
    for word in re.split(r"[,\s]+", written.strip()):
        if _CODE.fullmatch(word) is None:
            break
        if _OUR_CODE.fullmatch(word):
            codes.append(word)
    return tuple(codes) or None


def _comments(text: str) -> Iterator[tuple[int, int, str, bool, int]]:
    """Each comment: line, column, text, whether it has a line to itself, line of the next code or 0."""
    import tokenize

    lines = iter(split_lines(text))
    layout = {
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
        tokenize.ENCODING,
    }
    waiting: list[tuple[int, int, str]] = []
    code_line = 0
    try:
        for token in tokenize.generate_tokens(lambda: next(lines) + "\n"):
            line, column = token.start
            if token.type == tokenize.COMMENT:
                if code_line == line:
                    yield line, column + 1, token.string, False, line
                else:
                    waiting.append((line, column + 1, token.string))
            elif token.type not in layout:
                code_line = token.end[0]
                for comment in waiting:
                    yield *comment, True, line
                waiting = []
    except (tokenize.TokenError, SyntaxError):
        # The file is broken, which is reported as such; what was seen so far still counts.
        pass
    for comment in waiting:
        yield *comment, True, 0
