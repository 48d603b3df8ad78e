"""What an expression stands for, as far as state is concerned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
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
