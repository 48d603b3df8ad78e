"""Which problems a file's ignore comments silence, and which comments silence nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.checks.context import Problem
from bufaudit.source.facts import Place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from bufaudit.source.facts import FileFacts
    from bufaudit.source.suppressions import Suppression

UNUSED = "BUF001"


def silence(
    problems: Iterable[Problem], facts: FileFacts, known: Collection[str], selected: Collection[str]
) -> tuple[list[Problem], int]:
    """The problems that stand, those of ignore comments among them, and how many were silenced.

    `known` are the codes of all rules, `selected` those that this run looks for: a comment for a rule that was not
    looked for may well be needed.
    """
    kept = []
    silenced = 0
    used: set[Suppression] = set()
    for problem in problems:
        matching = [each for each in facts.suppressions if _speaks_of(each, problem)]
        used.update(matching)
        if matching:
            silenced += 1
        else:
            kept.append(problem)
    for complaint in _complaints(facts.suppressions, used, known, selected):
        if any(UNUSED in each.codes and _speaks_of(each, complaint) for each in facts.suppressions):
            silenced += 1
        else:
            kept.append(complaint)
    return kept, silenced


def _speaks_of(suppression: Suppression, problem: Problem) -> bool:
    if suppression.scope == "malformed" or (suppression.codes and problem.code not in suppression.codes):
        return False
    return suppression.scope == "file" or problem.place.first_line <= suppression.target <= problem.place.last_line


def _complaints(
    suppressions: Iterable[Suppression], used: set[Suppression], known: Collection[str], selected: Collection[str]
) -> Iterator[Problem]:
    for suppression in suppressions:
        if suppression.scope == "malformed":
            yield _complaint(suppression, f"this ignore comment is not understood: {suppression.reason}")
            continue
        unknown = [code for code in suppression.codes if code not in known]
        if unknown:
            yield _complaint(suppression, f"this ignore comment names no rule: {', '.join(unknown)}")
        elif suppression not in used and _was_looked_for(suppression, known, selected):
            what = ", ".join(suppression.codes) or "anything"
            yield _complaint(suppression, f"this ignore comment silences nothing: {what} is not found here")


def _was_looked_for(suppression: Suppression, known: Collection[str], selected: Collection[str]) -> bool:
    if suppression.kind == "noqa" and not suppression.codes:
        return False
    if UNUSED in suppression.codes:
        return False
    return all(code in selected for code in suppression.codes or known)


def _complaint(suppression: Suppression, message: str) -> Problem:
    line = suppression.line
    place = Place(line, suppression.column, line, suppression.end_column, line, line)
    return Problem(UNUSED, "high", place, message, "<module>")
