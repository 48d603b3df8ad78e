"""What is decoded is what was encoded, or an error; never a value of another type."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bufaudit.codec import from_json, to_json
from bufaudit.source.facts import FileFacts, Import, Place
from bufaudit.source.suppressions import Suppression


@dataclass(frozen=True, slots=True)
class Inner:
    number: int


@dataclass(frozen=True, slots=True)
class Outer:
    text: str
    flag: bool | str
    inner: Inner | None
    many: tuple[Inner, ...]
    pair: tuple[str, int]
    words: frozenset[str]
    choice: Literal["a", "b"]


VALUE = Outer("t", "maybe", Inner(1), (Inner(2), Inner(3)), ("x", 4), frozenset({"q", "p"}), "a")
DATA = ["t", "maybe", [1], [[2], [3]], ["x", 4], ["p", "q"], "a"]


def test_encoded_is_plain_and_the_same_each_time() -> None:
    assert json.loads(to_json(VALUE)) == DATA
    assert to_json(VALUE) == to_json(VALUE)
    assert to_json(replace(VALUE, text="\n\t\udcff")).isascii()
    assert not {9, 10} & set(to_json(replace(VALUE, text="\n\t")))


@pytest.mark.parametrize(
    "value",
    [
        VALUE,
        replace(VALUE, flag=True, inner=None),
        replace(VALUE, many=(), words=frozenset(), choice="b", text="\udcff\n"),
    ],
)
def test_round_trip_through_json(value: Outer) -> None:
    assert from_json(Outer, to_json(value)) == value


def changed(position: int, value: Any) -> list[Any]:
    return [*DATA[:position], value, *DATA[position + 1 :]]


@pytest.mark.parametrize(
    "data",
    [
        None, 1, "t", {}, [], DATA[:-1], [*DATA, 1],
        changed(0, 1), changed(0, None), changed(0, ["t"]),
        changed(1, 1), changed(1, None),
        changed(2, [None]), changed(2, [True]), changed(2, [1.0]), changed(2, []), changed(2, 1),
        changed(3, None), changed(3, [1]), changed(3, [[2], None]), changed(3, "ab"), changed(3, {"a": 1}),
        changed(4, ["x"]), changed(4, ["x", 4, 5]), changed(4, ["x", "4"]), changed(4, [4, "x"]),
        changed(5, "pq"), changed(5, [1]), changed(5, [["p"]]),
        changed(6, "c"), changed(6, None), changed(6, ["a"]), changed(6, {}),
    ],
)  # fmt: skip
def test_anything_else_is_refused(data: Any) -> None:
    with pytest.raises(ValueError):
        from_json(Outer, json.dumps(data).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[1", b"nul", b"9" * 10_000])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        from_json(Outer, data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=20,
)


@given(JSON)
def test_whatever_is_decoded_encodes_to_the_same(data: Any) -> None:
    for kind in (Outer, Inner, Place, Import):
        try:
            value = from_json(kind, json.dumps(data).encode())
        except ValueError:
            continue
        assert isinstance(value, kind)
        assert json.loads(to_json(value)) == data


@given(st.from_type(FileFacts))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_facts_of_every_kind_round_trip(facts: FileFacts) -> None:
    assert from_json(FileFacts, to_json(facts)) == facts


def test_suppressions_round_trip() -> None:
    from bufaudit.source.suppressions import parse_suppressions

    found = parse_suppressions("x = 1  # bufaudit: ignore[BUF101] why\n# bufaudit: ignore-file\n")
    assert found
    assert all(isinstance(each, Suppression) for each in found)
    facts = FileFacts(suppressions=tuple(found))
    assert from_json(FileFacts, to_json(facts)) == facts
