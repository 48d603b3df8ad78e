"""Which rules a run looks for, in general and in one file."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING

from bufaudit.errors import BufauditError, printable
from bufaudit.patterns import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

#: Stands for every rule, and gives way to any other selector.
ALL = "ALL"

_DIGITS = "0123456789"
_BRACES = lazy_pattern(r"\{([^{}]*)\}")
_ANY_FOLDERS = lazy_pattern(r"(?:(?<=/)|^)(?:\*\*/)+")
# Nobody writes a pattern with more by hand, and each costs time at each file.
_MOST_ALTERNATIVES = 256


class UnknownRuleError(BufauditError):
    """A selector that stands for no rule."""

    def __init__(self, selector: str, suggestion: str | None) -> None:
        hint = "`bufaudit rule` lists them all" if suggestion is None else f"did you mean {suggestion}?"
        super().__init__(f'no rule is called "{printable(selector)}"; {hint}')


class PatternError(BufauditError):
    """A pattern for files that stands for too many others."""

    def __init__(self, pattern: str) -> None:
        super().__init__(
            f'the pattern "{printable(pattern)}" has more than {_MOST_ALTERNATIVES} alternatives; write it as several'
        )


def canonical(selector: str, all_codes: Collection[str], names: Mapping[str, str] | None = None) -> str:
    """The selector with a rule's name replaced by its code.

    A selector is a code (`BUF101`), the beginning of codes that has all their letters (`BUF`, `BUF1`), `ALL`, or a
    name from `names`, which maps names to codes. Raises `UnknownRuleError` for anything else.
    """
    if selector == ALL or any(_begins(selector, code) for code in all_codes):
        return selector
    if names is not None and selector in names:
        return names[selector]
    raise UnknownRuleError(selector, closest(selector, (*sorted(all_codes), *(names or ()), ALL)))


def expanded(selectors: Iterable[str], all_codes: Collection[str]) -> frozenset[str]:
    """The codes that any of the canonical selectors stands for."""
    wanted = tuple(selectors)
    return frozenset(code for code in all_codes if _specificity(wanted, code) >= 0)


def selected_codes(
    all_codes: Collection[str],
    select: Iterable[str],
    ignore: Iterable[str],
    names: Mapping[str, str] | None = None,
) -> frozenset[str]:
    """The codes that are selected and not ignored.

    Of the selectors that speak of a code the most specific one decides: a code or a name before a longer beginning,
    that before a shorter one, and `ALL` last. Where both lists are equally specific the code is ignored.

    Raises `UnknownRuleError` for what `canonical` does not know.
    """
    wanted = tuple(canonical(selector, all_codes, names) for selector in select)
    unwanted = tuple(canonical(selector, all_codes, names) for selector in ignore)
    return frozenset(code for code in all_codes if _specificity(wanted, code) > _specificity(unwanted, code))


def covers(wide: str, narrow: str) -> bool:
    """Whether one canonical selector stands for every rule that another stands for."""
    return wide == ALL or narrow.startswith(wide)


def ignored_for(
    path: str, root: str | os.PathLike[str], per_file_ignores: Iterable[tuple[str, Iterable[str]]]
) -> frozenset[str]:
    """The codes that are ignored in one file: those of every pattern that matches it.

    `path` is absolute or relative to `root`. A pattern is compared with the name of the file and with its path
    relative to `root` (with forward slashes), as ruff does: `*` and `**` match any text, slashes too, `**/` also no
    folder at all, `?` one character, `[ab]` one of these, `{a,b}` either text. After a leading `!` it speaks of every
    file that the rest does not match. Unlike in ruff, a slash at the end stands for everything below. Case matters.

    Raises `PatternError` for a pattern with too many alternatives.
    """
    pure = PurePath(path)
    base = PurePath(os.path.abspath(root))
    relative = (pure.relative_to(base) if pure.is_relative_to(base) else pure).as_posix()
    matching = (codes for pattern, codes in per_file_ignores if _matches(pattern, pure.name, relative))
    return frozenset(chain.from_iterable(matching))


def check_pattern(pattern: str) -> None:
    """Raise `PatternError` where `ignored_for` would."""
    _alternatives(pattern.removeprefix("!"))


def closest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that a mistyped word most likely stands for, None where none is near."""
    from difflib import get_close_matches

    folded = {choice.casefold(): choice for choice in choices}
    close = get_close_matches(word.casefold(), folded, n=1)
    return folded[close[0]] if close else None


def _begins(selector: str, code: str) -> bool:
    return code.startswith(selector) and selector.startswith(code.rstrip(_DIGITS))


def _specificity(selectors: Iterable[str], code: str) -> int:
    """The length of the longest selector that speaks of the code, 0 for `ALL`, -1 where none does."""
    lengths = (0 if selector == ALL else len(selector) for selector in selectors if covers(selector, code))
    return max(lengths, default=-1)


def _matches(pattern: str, name: str, relative: str) -> bool:
    positive = pattern.removeprefix("!")
    found = any(fnmatchcase(name, each) or fnmatchcase(relative, each) for each in _alternatives(positive))
    return found == (positive == pattern)


@lru_cache(maxsize=256)
def _alternatives(pattern: str) -> tuple[str, ...]:
    """Patterns for `fnmatch`, whose `*` matches slashes too, that together match what the pattern does."""
    done: list[str] = []
    whole = pattern.removeprefix("./")
    pending = [f"{whole}*" if whole.endswith("/") else whole]
    while pending:
        _check_count(len(done) + len(pending), pattern)
        current = pending.pop()
        braces = _BRACES.search(current)
        if braces is None:
            done += _with_and_without_folders(current, pattern)
        else:
            pending += [current[: braces.start()] + text + current[braces.end() :] for text in braces[1].split(",")]
    _check_count(len(done), pattern)
    return tuple(done)


def _with_and_without_folders(pattern: str, origin: str) -> list[str]:
    """The patterns that result where each `**/` stands for no folder, and for one or more."""
    first, *rest = _ANY_FOLDERS.split(pattern)
    variants = [first]
    for piece in rest:
        variants = [variant + folders + piece for variant in variants for folders in ("", "*/")]
        _check_count(len(variants), origin)
    return variants


def _check_count(alternatives: int, pattern: str) -> None:
    if alternatives > _MOST_ALTERNATIVES:
        raise PatternError(pattern)
