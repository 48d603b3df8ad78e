"""Patterns of `.gitignore` files, matched against one entry of a folder at a time, as git does.

Three things differ from git. Names are compared with their case. A pattern with a slash in brackets or after a
backslash matches nothing. Stars that are not alone between slashes stay within one name, as git's manual says.

A walk that does not enter what is ignored never has to ask about the parents of an entry. Matching whole
paths at once, as pathspec does, cannot tell a folder that somebody named from one that was found, and differs
from git where a folder is taken back (`!a/b/` after `build/` would take back `a/b/build/` too).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SPECIAL = lazy_pattern(r"[*?\[\\]")
_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t\n\r\f\v",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


class _MatchesNothingError(ValueError):
    """A pattern that git accepts and that matches nothing."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    negated: bool
    folders_only: bool
    by_name: bool
    regex: re.Pattern[str]


class IgnorePatterns:
    """The patterns of one file; `verdict` says what they make of one entry."""

    __slots__ = ("_any_name", "_any_path", "_patterns")

    def __init__(self, lines: Iterable[str]) -> None:
        sources = [source for line in lines if (source := _source(line)) is not None]
        self._patterns = tuple(
            _Pattern(negated, folders_only, by_name, re.compile(regex, re.DOTALL))
            for negated, folders_only, by_name, regex in reversed(sources)
        )
        # Nearly no entry matches anything, and one alternation finds that out much faster than all patterns.
        self._any_name = _alternation([regex for _, _, by_name, regex in sources if by_name])
        self._any_path = _alternation([regex for _, _, by_name, regex in sources if not by_name])

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def verdict(self, prefix: str, name: str, *, is_folder: bool) -> bool | None:
        """Whether the entry is ignored; None where no pattern speaks of it.

        `prefix` is the path of its folder below the folder of the patterns: empty or with a slash at the end.
        """
        if not (
            (self._any_name is not None and self._any_name.fullmatch(name))
            or (self._any_path is not None and self._any_path.fullmatch(prefix + name))
        ):
            return None
        for pattern in self._patterns:
            if pattern.folders_only and not is_folder:
                continue
            if pattern.regex.fullmatch(name if pattern.by_name else prefix + name):
                return not pattern.negated
        return None


def _alternation(regexes: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(regexes), re.DOTALL) if regexes else None


def _source(line: str) -> tuple[bool, bool, bool, str] | None:
    """Whether a line negates, speaks of folders only, of names only, and its regular expression."""
    line = line.removesuffix("\r")
    if line.startswith("#"):
        return None
    line = _strip_trailing_spaces(line)
    negated = line.startswith("!")
    line = line[negated:]
    folders_only = line.endswith("/")
    line = line[: len(line) - folders_only]
    by_name = "/" not in line
    line = line.removeprefix("/")
    if not line:
        return None
    try:
        return negated, folders_only, by_name, _translate(line)
    except (_MatchesNothingError, re.error):
        return None


def _strip_trailing_spaces(line: str) -> str:
    stripped = line.rstrip(" ")
    backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if backslashes % 2 and stripped != line else stripped


def _translate(pattern: str) -> str:
    """A regular expression for the path; each part takes its first fit, which suffices and cannot explode."""
    if _SPECIAL.search(pattern) is None:
        return re.escape(pattern)
    runs: list[list[str]] = [[]]
    for part in pattern.split("/"):
        if len(part) >= 2 and not part.strip("*"):
            runs.append([])
        else:
            runs[-1].append(_component(part))
    first, *rest = ["/".join(run) for run in runs]
    if not rest:
        return first
    inner = "".join(f"(?>(?:[^/]*/)*?{run}/)" for run in rest[:-1] if run)
    last = f"(?:[^/]*/)*{rest[-1]}" if rest[-1] else ".+"
    return (f"{first}/" if first else "") + inner + last


def _component(part: str) -> str:
    pieces = [""]
    position = 0
    while position < len(part):
        char = part[position]
        position += 1
        if char == "*":
            pieces.append("")
        elif char == "?":
            pieces[-1] += "[^/]"
        elif char == "[":
            regex, position = _bracket(part, position)
            pieces[-1] += regex
        elif char == "\\":
            if position == len(part):
                raise _MatchesNothingError
            pieces[-1] += re.escape(part[position])
            position += 1
        else:
            pieces[-1] += re.escape(char)
    if len(pieces) == 1:
        return pieces[0]
    middle = "".join(f"(?>[^/]*?{piece})" for piece in pieces[1:-1] if piece)
    return f"{pieces[0]}{middle}[^/]*{pieces[-1]}"


def _bracket(part: str, position: int) -> tuple[str, int]:
    """The regular expression of a bracket that opens before `position`, and where the text goes on."""
    negated = part[position : position + 1] in {"!", "^"}
    position += negated
    start = position
    members = ""
    low: str | None = None
    while True:
        char = part[position : position + 1]
        if not char:
            raise _MatchesNothingError
        position += 1
        if char == "]" and position > start + 1:
            break
        if char == "[" and part[position : position + 1] == ":":
            end = part.find("]", position + 1)
            if end > position + 1 and part[end - 1] == ":":
                name = part[position + 1 : end - 1]
                if name not in _CLASSES:
                    raise _MatchesNothingError
                members += _CLASSES[name]
                position = end + 1
                low = None
                continue
        if char == "-" and low is not None and part[position : position + 1] not in {"", "]"}:
            high = part[position]
            position += 1
            if high == "\\":
                high = part[position : position + 1]
                position += 1
                if not high:
                    raise _MatchesNothingError
            if low <= high:
                members += f"{_escape(low)}-{_escape(high)}"
            low = None
            continue
        if char == "\\":
            char = part[position : position + 1]
            position += 1
            if not char:
                raise _MatchesNothingError
        members += _escape(char)
        low = char
    if negated:
        return f"[^/{members}]", position
    return (f"(?!/)[{members}]" if members else "(?!)"), position


def _escape(char: str) -> str:
    return "\\" + char if char in "\\]^-[&~|" else char
