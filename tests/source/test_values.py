"""Values keep track of every walk that may be in them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bufaudit.source import values
from bufaudit.source.values import NOTHING, Names, Value, tensors_in, union

WALKS = st.frozensets(st.integers(0, 3), min_size=1, max_size=2)
LEAVES = st.one_of(
    st.just(NOTHING),
    st.builds(values.name, WALKS),
    st.builds(values.tensor, WALKS, st.just(frozenset({"raw"})), alias=st.booleans()),
    st.builds(values.mapping, WALKS, st.just(frozenset({"state"})), alias=st.booleans()),
    st.builds(values.pairs, WALKS, st.just(frozenset({"raw"})), alias=st.booleans()),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3).map(
        lambda items: Value("tuple", frozenset().union(*(item.walks for item in items)), elements=tuple(items))
    ),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=4))
def test_union_loses_no_walk_and_no_origin(parts: list[Value]) -> None:
    whole = union(*parts)
    assert whole.walks == frozenset().union(*(part.walks for part in parts))
    assert whole.origins >= frozenset().union(*(part.origins for part in parts))
    assert whole.alias == any(part.alias for part in parts)


@given(VALUES)
def test_nothing_is_neutral_and_union_idempotent(value: Value) -> None:
    assert union(value, NOTHING) == union(NOTHING, value) == union(value, value) == value
    assert union() == NOTHING


@given(VALUES)
def test_tensors_in_a_value_are_a_tensor_or_nothing(value: Value) -> None:
    found = tensors_in(value)
    assert found == NOTHING or (found.kind == "tensor" and found.walks <= value.walks)


def test_pairs_unpack_to_name_and_tensor() -> None:
    walks = frozenset({1})
    item = values.pairs(walks, frozenset({"raw"}), alias=True).item
    assert item is not None
    assert [element.kind for element in item.elements] == ["name", "tensor"]
    assert tensors_in(item).alias


def test_a_tensor_outweighs_a_name_and_types_must_agree() -> None:
    tensor = values.tensor(frozenset({1}), frozenset({"raw"}), alias=True)
    assert union(values.name(frozenset({2})), tensor).kind == "tensor"
    typed = [replace(tensor, type_name=name) for name in ("A", "A", "B")]
    assert union(typed[0], replace(typed[1], fresh=True)).type_name == "A"
    assert union(*typed).type_name is None


def test_deep_and_wide_containers_become_iterables_of_what_they_hold() -> None:
    """The same value may be in a container exponentially often."""
    value = values.tensor(frozenset({1}), frozenset({"raw"}), alias=True)
    for _ in range(60):
        value = values.shallow(Value("tuple", value.walks, elements=(value, value)))
    assert tensors_in(value) == values.tensor(frozenset({1}), frozenset({"raw"}), alias=True)
    wide = values.shallow(Value("tuple", frozenset({1}), elements=(values.name(frozenset({1})),) * 1000))
    assert (wide.walks, wide.elements) == (frozenset({1}), ())


@given(VALUES)
def test_ordinary_containers_stay_what_they_are(value: Value) -> None:
    assert values.shallow(value) == value


names = st.sampled_from("abcd")
assignments = st.lists(st.tuples(names, LEAVES), max_size=4)


@given(assignments, st.lists(assignments, min_size=2, max_size=3))
def test_names_after_branches_hold_what_any_of_them_left(
    before: list[tuple[str, Value]], branches: list[list[tuple[str, Value]]]
) -> None:
    held = Names()
    for name, value in before:
        held[name] = value
    start, changes, ends = dict(held), [], []
    for branch in branches:
        held.branch()
        for name, value in branch:
            held[name] = value
        ends.append(dict(held))
        changes.append(held.undo())
        assert held == start
    held.merge(*changes)
    assert held == {
        name: union(*(end[name] for end in ends if name in end)) for name in {name for end in ends for name in end}
    }
