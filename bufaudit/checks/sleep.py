"""Memory that a module sleeps through, and layers that are reloaded in place: BUF404."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bufaudit.checks.context import Note, Problem
from bufaudit.checks.drops import knows_of_buffers
from bufaudit.patterns import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.checks.context import Subject
    from bufaudit.results import Confidence
    from bufaudit.source.facts import DropFact

_RUNS_MODEL = lazy_pattern(r"worker|runner|engine|executor", re.IGNORECASE)


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    for drop in subject.facts.drops:
        match drop.how:
            case "pool":
                yield from _dropped_pool(subject, drop)
            case "reload":
                yield from _copied_over(subject, drop)


def _dropped_pool(subject: Subject, drop: DropFact) -> Iterator[Problem]:
    if knows_of_buffers(subject, (*drop.before, *drop.after)):
        return
    text = (
        f"`{drop.module}` drops the memory of the model without a copy, and nothing keeps the buffers in it: weights "
        "are loaded again later, but what no checkpoint holds comes back uninitialised"
    )
    wakes = (
        ()
        if drop.wakes is None
        else (Note(subject.path, drop.wakes, "the memory comes back here, without its values"),)
    )
    # A class that only manages memory may have callers that keep the buffers.
    confidence: Confidence = "medium" if _RUNS_MODEL.search(drop.class_name or "") else "low"
    yield Problem("BUF404", confidence, drop.place, text, drop.function, wakes)


def _copied_over(subject: Subject, drop: DropFact) -> Iterator[Problem]:
    text = (
        f"each of `{drop.module}` gets what the materialised layer holds: a non-persistent buffer, which no "
        "checkpoint fills, loses its value to uninitialised memory"
    )
    yield Problem("BUF404", "medium", drop.place, text, drop.function)
