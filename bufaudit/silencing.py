"""Which problems a file's ignore comments silence, and which comments silence nothing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from bufaudit.checks.context import Problem
from bufaudit.selection import closest
from bufaudit.source.facts import Place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from bufaudit.source.facts import FileFacts
    from bufaudit.source.suppressions import Suppression

UNUSED = "BUF001"


def silence(
    problems: Iterable[Problem], facts: FileFacts, known: Mapping[str, str], selected: Collection[str]
) -> tuple[list[Problem], int]:
    """The problems that stand, those of ignore comments among them, and how many selected ones were silenced.

    `known` are the names of all rules by their codes; comments may use either. `selected` are the codes that this run
    looks for: a comment for a rule that was not looked for may well be needed.
    """
    codes = {name: code for code, name in known.items()}
    suppressions = tuple(
        replace(each, codes=tuple(codes.get(code, code) for code in each.codes)) for each in facts.suppressions
    )
    speaking = _Speaking(suppressions)
    kept = []
    silenced = 0
    used: defaultdict[Suppression, set[str]] = defaultdict(set)
    for problem in problems:
        matching = speaking.of(problem)
        for each in matching:
            used[each].add(problem.code)
        if matching:
            silenced += problem.code in selected
        else:
            kept.append(problem)
    for complaint in _complaints(suppressions, used, known, selected):
        if any(UNUSED in each.codes for each in speaking.of(complaint)):
            silenced += UNUSED in selected
        else:
            kept.append(complaint)
    return kept, silenced


class _Speaking:
    """The suppressions of a file by the lines that they speak of."""

    def __init__(self, suppressions: Iterable[Suppression]) -> None:
        usable = [each for each in suppressions if each.scope != "malformed"]
        self._everywhere = [each for each in usable if each.scope == "file"]
        self._on_lines = sorted((each for each in usable if each.scope != "file"), key=_target)

    def of(self, problem: Problem) -> list[Suppression]:
        """Those that speak of a problem."""
        first = bisect_left(self._on_lines, problem.place.first_line, key=_target)
        last = bisect_right(self._on_lines, problem.place.last_line, key=_target)
        near = (*self._everywhere, *self._on_lines[first:last])
        return [each for each in near if not each.codes or problem.code in each.codes]


def _target(suppression: Suppression) -> int:
    return suppression.target


def _complaints(
    suppressions: Iterable[Suppression],
    used: Mapping[Suppression, Collection[str]],
    known: Collection[str],
    selected: Collection[str],
) -> Iterator[Problem]:
    for suppression in suppressions:
        message = _what_is_wrong(suppression, used, known, selected)
        if message is not None:
            yield _complaint(suppression, f"this ignore comment {message}")


def _what_is_wrong(
    suppression: Suppression,
    used: Mapping[Suppression, Collection[str]],
    known: Collection[str],
    selected: Collection[str],
) -> str | None:
    if suppression.scope == "malformed":
        return f"is not understood: {suppression.reason}"
    for code in suppression.codes:
        if code not in known:
            close = closest(code, known)
            return f"names no rule: {code}" + (f"; did you mean {close}?" if close else "")
    used_codes = used.get(suppression, ())
    if not suppression.codes:
        # A bare noqa speaks to other linters as well.
        needless = suppression.kind == "bufaudit" and not used_codes and all(code in selected for code in known)
        return "silences nothing" if needless else None
    unused = [code for code in dict.fromkeys(suppression.codes) if code != UNUSED and code in selected]
    unused = [code for code in unused if code not in used_codes]
    if not unused:
        return None
    is_or_are = "is" if len(unused) == 1 else "are"
    what = "silences nothing" if not used_codes else "silences less than it says"
    return f"{what}: {', '.join(unused)} {is_or_are} not found here"


def _complaint(suppression: Suppression, message: str) -> Problem:
    line = suppression.line
    place = Place(line, suppression.column, line, suppression.end_column, line, line)
    return Problem(UNUSED, "high", place, message, "<module>")
