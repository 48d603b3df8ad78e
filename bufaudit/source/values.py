"""What an expression stands for, as far as state is concerned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bufaudit.source.facts import Guard, Origin

Kind = Literal["other", "tensor", "name", "iterable", "map", "tuple"]

_NONE: frozenset[int] = frozenset()
_NO_ORIGINS: frozenset[Origin] = frozenset()
_NO_GUARDS: frozenset[Guard] = frozenset()


@dataclass(frozen=True, slots=True)
class Value:
    """The value of an expression.

    `walks` are the walks whose state it holds. A tensor that is an `alias` shares the memory of the state itself.
    What iterating over an iterable gives is `item`; a tuple has `elements`. A `fresh` iterable or map was built here,
    it is not the module's own. `type_name` is the class that the expression constructs, `filters` what decided which
    of a walk's tensors came here.
    """

    kind: Kind = "other"
    walks: frozenset[int] = _NONE
    origins: frozenset[Origin] = _NO_ORIGINS
    alias: bool = False
    fresh: bool = False
    item: Value | None = None
    elements: tuple[Value, ...] = ()
    type_name: str | None = None
    filters: frozenset[Guard] = _NO_GUARDS


NOTHING = Value()
#: Values within a value; what nests deeper or wider is of no code that a person wrote.
_LARGEST = 200


def tensor(walks: frozenset[int], origins: frozenset[Origin], *, alias: bool) -> Value:
    """A tensor of some walks."""
    return Value("tensor", walks, origins, alias=alias)


def name(walks: frozenset[int]) -> Value:
    """The name of a tensor of some walks."""
    return Value("name", walks)


def pairs(walks: frozenset[int], origins: frozenset[Origin], *, alias: bool) -> Value:
    """An iterable of pairs of name and tensor."""
    item = Value("tuple", walks, elements=(name(walks), tensor(walks, origins, alias=alias)))
    return Value("iterable", walks, origins, item=item)


def tensors(walks: frozenset[int], origins: frozenset[Origin], *, alias: bool) -> Value:
    """An iterable of tensors."""
    return Value("iterable", walks, origins, item=tensor(walks, origins, alias=alias))


def mapping(walks: frozenset[int], origins: frozenset[Origin], *, alias: bool) -> Value:
    """A map from names to tensors."""
    return Value("map", walks, origins, item=tensor(walks, origins, alias=alias))


def union(*values: Value) -> Value:
    """What may be any of `values`, or holds all of them."""
    present = [value for value in values if value != NOTHING]
    if not present:
        return NOTHING
    first = present[0]
    if all(value == first for value in present):
        return first
    strongest = max(present, key=lambda value: (value.kind != "other", value.kind == "tensor"))
    walks = frozenset[int]().union(*(value.walks for value in present))
    origins = _NO_ORIGINS.union(*(value.origins for value in present))
    items = [value.item for value in present if value.item is not None]
    same_shape = {len(value.elements) for value in present} == {len(first.elements)}
    types = {value.type_name for value in present}
    return replace(
        strongest,
        walks=walks,
        origins=origins,
        alias=any(value.alias for value in present),
        fresh=any(value.fresh for value in present),
        item=union(*items) if items else None,
        elements=tuple(union(*column) for column in zip(*(value.elements for value in present), strict=True))
        if same_shape
        else strongest.elements,
        type_name=types.pop() if len(types) == 1 else None,
        filters=_NO_GUARDS.union(*(value.filters for value in present)),
    )


def filtered(value: Value, filters: frozenset[Guard]) -> Value:
    """A value that only some tensors of its walks reach."""
    return replace(
        value,
        filters=value.filters | filters,
        item=None if value.item is None else filtered(value.item, filters),
        elements=tuple(filtered(element, filters) for element in value.elements),
    )


def tensors_in(value: Value) -> Value:
    """The tensors that a value is or holds, as one tensor value; `NOTHING` where there are none."""
    if value.kind == "tensor":
        return value
    if value.kind in ("iterable", "map") and value.item is not None:
        return tensors_in(value.item)
    if value.kind == "tuple":
        return union(*(found for found in map(tensors_in, value.elements) if found.kind == "tensor"))
    return NOTHING


def shallow(value: Value) -> Value:
    """A container, or where very much is nested in it, an iterable of all tensors that it holds.

    The same values may be in it many times, as after `x = (x, x)`, and everything that looks into it meets each.
    """
    if not (value.elements or (value.item is not None and (value.item.item or value.item.elements))):
        return value
    pending = [value]
    count = 0
    while pending and count <= _LARGEST:
        inner = pending.pop()
        count += 1 + len(inner.elements)
        pending += inner.elements if inner.item is None else (*inner.elements, inner.item)
    if count <= _LARGEST:
        return value
    held = tensors_in(value)
    if held == NOTHING:
        return Value("other", value.walks)
    return Value("iterable", value.walks, held.origins, fresh=value.fresh, item=held)


class Names(dict[str, Value]):
    """What variables hold, with a memory of what they held before a branch was entered."""

    def __init__(self) -> None:
        super().__init__()
        self._before: list[dict[str, Value | None]] = []

    def __setitem__(self, name: str, value: Value) -> None:
        if self._before:
            self._before[-1].setdefault(name, self.get(name))
        super().__setitem__(name, value)

    def branch(self) -> None:
        """Begin something after which all is as it was, until it is merged."""
        self._before.append({})

    def undo(self) -> dict[str, Value]:
        """End it; what was assigned since, with the last values."""
        before = self._before.pop()
        changed = {name: self[name] for name in before}
        for name, value in before.items():
            if value is None:
                del self[name]
            else:
                super().__setitem__(name, value)
        return changed

    def merge(self, *branches: Mapping[str, Value]) -> None:
        """After branches of which one was taken: what was assigned in one may hold that, or what the others left."""
        for name in dict.fromkeys(name for branch in branches for name in branch):
            before = self.get(name)
            held = [branch.get(name, before) for branch in branches]
            self[name] = union(*(value for value in held if value is not None))
