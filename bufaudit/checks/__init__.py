"""Facts and index to problems: one module a family, each a pure function of one file in its project."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bufaudit.checks.context import Problem, Subject, one_per_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bufaudit.source.facts import FileFacts

    Check = Callable[[Subject], Iterator[Problem]]

#: Frameworks whose modules have `parameters()` too.
_OTHER_FRAMEWORKS = frozenset(
    {"tensorflow", "paddle", "mindspore", "oneflow", "jax", "flax", "mxnet", "tinygrad", "mlx"}
)
#: The module of each family, and the facts of a file without any of which it finds nothing there.
_FAMILIES = (
    ("load", ("functions",)),
    ("initialise", ("functions", "restores", "sparings")),
    ("save", ("functions",)),
    ("sync", ("functions",)),
    ("average", ("functions",)),
    ("move", ("functions",)),
    ("cast", ("functions", "dtype_uses", "registrations")),
    ("materialise", ("drops",)),
    ("sleep", ("drops",)),
    ("restore", ("registrations", "restores")),
    ("attribute", ("attributes",)),
    ("registration", ("registrations",)),
)


def check(subject: Subject) -> tuple[Problem, ...]:
    """Every problem of one file, in the order of place and code; none where the file is another framework's."""
    if not _may_be_torch(subject.facts):
        return ()
    found = one_per_line(problem for family in _concerned(subject.facts) for problem in family(subject))
    return tuple(sorted(found, key=lambda problem: (problem.place.line, problem.place.column, problem.code)))


def _may_be_torch(facts: FileFacts) -> bool:
    tops = {binding.target.partition(".")[0] for binding in facts.imports}
    return "torch" in tops or tops.isdisjoint(_OTHER_FRAMEWORKS)


def _concerned(facts: FileFacts) -> Iterator[Check]:
    """The checks of the families that may find something, in their order."""
    for name, asked in _FAMILIES:
        if any(getattr(facts, fact) for fact in asked):
            yield _check_of(name)


@cache
def _check_of(family: str) -> Check:
    """A family's check, imported when a file first needs it: few files need many, and a hook waits for each."""
    module: Any = import_module(f"{__name__}.{family}")
    check: Check = module.check
    return check
