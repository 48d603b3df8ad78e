"""Facts and index to problems: one module a family, each a pure function of one file in its project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.checks import (
    attribute,
    average,
    cast,
    initialise,
    load,
    materialise,
    move,
    registration,
    restore,
    save,
    sleep,
    sync,
)
from bufaudit.checks.context import Problem, Subject, one_per_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bufaudit.source.facts import FileFacts

#: Frameworks whose modules have `parameters()` too.
_OTHER_FRAMEWORKS = frozenset(
    {"tensorflow", "paddle", "mindspore", "oneflow", "jax", "flax", "mxnet", "tinygrad", "mlx"}
)
_FAMILIES: tuple[Callable[[Subject], Iterator[Problem]], ...] = (
    load.check,
    initialise.check,
    save.check,
    sync.check,
    average.check,
    move.check,
    cast.check,
    materialise.check,
    sleep.check,
    restore.check,
    attribute.check,
    registration.check,
)


def check(subject: Subject) -> tuple[Problem, ...]:
    """Every problem of one file, in the order of place and code; none where the file is another framework's."""
    if not _may_be_torch(subject.facts):
        return ()
    found = one_per_line(problem for family in _FAMILIES for problem in family(subject))
    return tuple(sorted(found, key=lambda problem: (problem.place.line, problem.place.column, problem.code)))


def _may_be_torch(facts: FileFacts) -> bool:
    tops = {binding.target.partition(".")[0] for binding in facts.imports}
    return "torch" in tops or tops.isdisjoint(_OTHER_FRAMEWORKS)
