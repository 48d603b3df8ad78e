"""A pattern is as good as the names it stands for: it says all of them, no other, and each once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufaudit.grouping import folded, grouped, parse_pattern
from tests.report.samples import BIAS, BIASES, MEAN, WEIGHTS, tensor_names

if TYPE_CHECKING:
    from bufaudit.outcomes import TensorReport

names = st.lists(tensor_names | st.from_regex(r"\A[0-3](\.[ab0-3]){0,2}\Z"), max_size=30)


def patterns(*of: str) -> list[str]:
    return [str(pattern) for pattern in folded(of)]


class TestFolded:
    """Names to patterns."""

    @given(names)
    def test_patterns_give_back_the_names(self, some: list[str]) -> None:
        given_back = [name for pattern in folded(some) for name in pattern.names()]
        assert sorted(given_back) == sorted(set(some))

    @given(names)
    def test_size_and_matches_agree_with_the_names(self, some: list[str]) -> None:
        for pattern in folded(some):
            own = set(pattern.names())
            assert pattern.size == len(own)
            assert {name for name in some if pattern.matches(name)} == own

    @given(names)
    def test_text_gives_back_the_pattern(self, some: list[str]) -> None:
        found = folded(some)
        assert [parse_pattern(str(pattern)) for pattern in found] == list(found)
        assert len({str(pattern) for pattern in found}) == len(found)

    @pytest.mark.parametrize(
        ("some", "expected"),
        [
            (["w"], ["w"]),
            (["layers.0.w"], ["layers.0.w"]),
            ([f"layers.{i}.w" for i in (0, 1, 2, 3, 5)], ["layers.{0…3,5}.w"]),
            ([f"layers.{i}.w" for i in (10, 9, 2)], ["layers.{2,9…10}.w"]),
            ([f"layers.{i}.experts.{j}.w" for i in range(3) for j in range(4)], ["layers.{0…2}.experts.{0…3}.w"]),
            (["a.0.0", "a.0.1", "a.1.0"], ["a.0.{0…1}", "a.1.0"]),
            (["bn1.mean", "bn2.mean"], ["bn1.mean", "bn2.mean"]),
            (["a.00", "a.01"], ["a.00", "a.01"]),
            (["a.{0…1}", "a.{}"], ["a.{{0…1}", "a.{{}"]),
        ],
    )
    def test_examples(self, some: list[str], expected: list[str]) -> None:
        assert patterns(*some) == expected

    def test_numbers_are_compared_as_numbers(self) -> None:
        assert patterns(*(f"layers.{number}.w" for number in range(61))) == ["layers.{0…60}.w"]


class TestParsePattern:
    """Patterns come from files that people edit and merge."""

    @pytest.mark.parametrize("text", ["a.{", "a.{}", "a.{x}", "a.{0…}", "a.{3…1}", "a.{1,0}", "a.{00…2}", "a.{0..2}"])
    def test_what_only_looks_like_a_slot_is_an_error(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"no run of numbers|not in order"):
            parse_pattern(text)

    def test_enormous_range_costs_nothing(self) -> None:
        pattern = parse_pattern("layers.{0…99999999999999999}.experts.{0…99999999999999999}")
        assert pattern.size == 10**34
        assert pattern.matches("layers.7.experts.12345678")
        assert not pattern.matches("layers.07.experts.1")


def keys(*tensors: TensorReport) -> list[tuple[str, int]]:
    return [(str(group.pattern), len(group.tensors)) for group in grouped(tensors)]


class TestGrouped:
    """Tensors to groups."""

    def test_tensors_that_differ_in_a_number_only_are_one_group(self) -> None:
        assert keys(*BIASES) == [("layers.{0…3,5}.gate.bias", 5)]

    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "parameter"},
            {"dtype": "bfloat16"},
            {"shape": (128,)},
            {"ranks": ("dropped", "dropped")},
            {"partial": True},
            {"declared_at": "package/model.py:7"},
            {"reason": None},
        ],
    )
    def test_tensors_that_differ_in_anything_else_are_not(self, change: dict[str, object]) -> None:
        other = replace(BIASES[1], **change)  # type: ignore[arg-type]
        assert keys(BIAS, other) == [("layers.0.gate.bias", 1), ("layers.1.gate.bias", 1)]

    def test_groups_come_in_the_order_of_the_model(self) -> None:
        assert [key for key, _ in keys(MEAN, *WEIGHTS, *BIASES)] == [
            "norm.mean",
            "layers.{0…5}.weight",
            "layers.{0…3,5}.gate.bias",
        ]
        assert [key for key, _ in keys(*reversed(BIASES), MEAN)] == ["layers.{0…3,5}.gate.bias", "norm.mean"]

    def test_shapes_may_differ_where_that_is_asked_for(self) -> None:
        tensors = (BIAS, replace(BIASES[1], shape=(8, 32)), replace(BIASES[2], shape=(4,)))
        (group,) = grouped(tensors, by_shape=False)
        assert (str(group.pattern), group.tensors) == ("layers.{0…2}.gate.bias", tensors)
        assert group.shapes == ((4,), (8, 32), (256,))

    @given(st.lists(st.builds(lambda name, shape: replace(BIAS, name=name, shape=(shape,)), tensor_names,
                              st.integers(0, 1)), max_size=20, unique_by=lambda tensor: tensor.name))  # fmt: skip
    def test_no_tensor_is_lost_or_twice(self, tensors: list[TensorReport]) -> None:
        groups = grouped(tensors)
        assert sorted(t.name for group in groups for t in group.tensors) == sorted(t.name for t in tensors)
        for group in groups:
            assert sorted(group.pattern.names()) == sorted(tensor.name for tensor in group.tensors)
            assert {replace(tensor, name="") for tensor in group.tensors} == {replace(group.sample, name="")}
