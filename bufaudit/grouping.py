"""Tensors that share a fate, folded into patterns of names: `layers.{0…47}.mlp.gate.e_score_correction_bias`."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bufaudit.outcomes import TensorReport

_RANGE = "…"
_SLOT = lazy_pattern(rf"\{{[0-9]+(?:{_RANGE}[0-9]+)?(?:,[0-9]+(?:{_RANGE}[0-9]+)?)*\}}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")

#: Runs of numbers, both ends included, in order and apart from each other.
Runs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Names that differ only in numbers between dots: every combination of one number of each slot.

    `parts` are what stands between the dots: text, or the runs of numbers of a slot. As text, a slot of more than one
    number is written `{0…3,5}`, and a part that itself starts with a brace has one more before it.
    """

    parts: tuple[str | Runs, ...]

    def __str__(self) -> str:
        return ".".join(_escaped(part) if isinstance(part, str) else _slot_text(part) for part in self.parts)

    @property
    def size(self) -> int:
        """How many names it stands for."""
        total = 1
        for part in self.parts:
            if not isinstance(part, str):
                total *= sum(last - first + 1 for first, last in part)
        return total

    def matches(self, name: str) -> bool:
        """Whether a name is one of those that the pattern stands for."""
        names = name.split(".")
        return len(names) == len(self.parts) and all(map(_fits, self.parts, names))

    def names(self) -> tuple[str, ...]:
        """All names that the pattern stands for, the last number varying first."""
        choices = ([part] if isinstance(part, str) else map(str, _numbers(part)) for part in self.parts)
        return tuple(".".join(choice) for choice in product(*choices))


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """Tensors that agree in all but the numbers in their names, in the order of the model."""

    pattern: Pattern
    tensors: tuple[TensorReport, ...]

    @property
    def sample(self) -> TensorReport:
        """One tensor of the group, which speaks for the others in everything but its name."""
        return self.tensors[0]


def grouped(tensors: Iterable[TensorReport]) -> tuple[TensorGroup, ...]:
    """Tensors in groups, in the order of the first of each; a group's pattern stands for just its tensors."""
    alike: defaultdict[TensorReport, list[TensorReport]] = defaultdict(list)
    order: dict[str, int] = {}
    for tensor in tensors:
        order.setdefault(tensor.name, len(order))
        alike[replace(tensor, name=_skeleton(tensor.name))].append(tensor)
    groups = []
    for members in alike.values():
        by_name = {tensor.name: tensor for tensor in members}
        for pattern in folded(by_name):
            names = sorted(pattern.names(), key=order.__getitem__)
            groups.append(TensorGroup(pattern, tuple(by_name[name] for name in names)))
    return tuple(sorted(groups, key=lambda group: order[group.sample.name]))


def folded(names: Iterable[str]) -> tuple[Pattern, ...]:
    """Patterns that together stand for just these names, no name by two of them."""
    by_skeleton: defaultdict[str, list[tuple[int, ...]]] = defaultdict(list)
    for name in dict.fromkeys(names):
        by_skeleton[_skeleton(name)].append(tuple(int(part) for part in name.split(".") if _NUMBER.fullmatch(part)))
    return tuple(_filled(skeleton.split("."), box) for skeleton, rows in by_skeleton.items() for box in _boxes(rows))


def runs_of(numbers: Iterable[int]) -> Runs:
    """The runs of some numbers."""
    runs = []
    for _, run in groupby(enumerate(sorted(numbers)), key=lambda item: item[1] - item[0]):
        members = [number for _, number in run]
        runs.append((members[0], members[-1]))
    return tuple(runs)


def shown_runs(runs: Runs) -> str:
    """Runs as text: `0…3,5`."""
    return ",".join(str(first) if first == last else f"{first}{_RANGE}{last}" for first, last in runs)


def parse_pattern(text: str) -> Pattern:
    """The pattern that `str` wrote as `text`; raises `ValueError` where a part is no slot and looks like one."""
    return Pattern(tuple(map(_parsed, text.split("."))))


#: For each slot, the numbers that it takes.
_Box = tuple[frozenset[int], ...]


def _boxes(rows: Sequence[tuple[int, ...]]) -> list[_Box]:
    """Rows of numbers as few boxes, each of which holds every combination of its numbers.

    Boxes that differ in one slot only become one, slot by slot, the last slot first.
    """
    boxes: list[_Box] = [tuple(frozenset((number,)) for number in row) for row in rows]
    for slot in reversed(range(len(rows[0]))):
        joined: defaultdict[_Box, set[int]] = defaultdict(set)
        for box in boxes:
            joined[(*box[:slot], *box[slot + 1 :])] |= box[slot]
        boxes = [(*rest[:slot], frozenset(numbers), *rest[slot:]) for rest, numbers in joined.items()]
    return boxes


def _skeleton(name: str) -> str:
    """A name with an empty pair of braces for each number between dots, and other braces doubled."""
    return ".".join("{}" if _NUMBER.fullmatch(part) else _escaped(part) for part in name.split("."))


def _filled(skeleton: Sequence[str], box: _Box) -> Pattern:
    numbers = iter(box)
    parts = (_slot(next(numbers)) if part == "{}" else _unescaped(part) for part in skeleton)
    return Pattern(tuple(parts))


def _slot(numbers: Iterable[int]) -> str | Runs:
    """The runs of some numbers; a single number is plain text."""
    runs = runs_of(numbers)
    (first, last), *others = runs
    return str(first) if first == last and not others else runs


def _slot_text(runs: Runs) -> str:
    return f"{{{shown_runs(runs)}}}"


def _parsed(part: str) -> str | Runs:
    if not part.startswith("{"):
        return part
    if part.startswith("{{"):
        return _unescaped(part)
    if not _SLOT.fullmatch(part):
        raise ValueError(f"{part} is no run of numbers")
    ends = [tuple(map(int, run.split(_RANGE))) for run in part[1:-1].split(",")]
    runs = tuple((run[0], run[-1]) for run in ends)
    flat = [number for run in runs for number in run]
    if flat != sorted(flat) or _slot_text(runs) != part:
        raise ValueError(f"the numbers of {part} are not in order")
    return runs


def _escaped(part: str) -> str:
    return "{" + part if part.startswith("{") else part


def _unescaped(part: str) -> str:
    return part[1:] if part.startswith("{{") else part


def _fits(part: str | Runs, name: str) -> bool:
    if isinstance(part, str):
        return part == name
    return _NUMBER.fullmatch(name) is not None and any(first <= int(name) <= last for first, last in part)


def _numbers(runs: Runs) -> Iterable[int]:
    return (number for first, last in runs for number in range(first, last + 1))
