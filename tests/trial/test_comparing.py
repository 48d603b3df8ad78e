"""Outcomes from values: one tensor, what is expected of it, and what was found."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bufaudit.trial.comparing import ExpectedValues, judge
from bufaudit.trial.messages import ExpectedTensor

NAN = float("nan")
SAVED = torch.tensor([1.5, 2.5, 3.5])
PARAMETER = ExpectedTensor("x", "parameter", (3,), "float32", True, "fixed", None)
TABLE = replace(PARAMETER, kind="non_persistent_buffer", persisted=False)


def outcome(expected: ExpectedTensor, found: torch.Tensor | None, value: torch.Tensor = SAVED) -> str:
    values = ExpectedValues({"x": value} if expected.persisted else {}, {"x": value})
    return judge(expected, values, found).outcome


@pytest.mark.parametrize(
    ("found", "expected"),
    (
        (SAVED.clone(), "kept"),
        (SAVED.bfloat16(), "kept"),
        (SAVED + 1, "lost"),
        (torch.tensor([1.5, 2.5, 0.0]), "lost"),
        (torch.full((3,), NAN), "uninitialised"),
        (torch.tensor([1.5, 2.5, NAN]), "uninitialised"),
        (torch.zeros(4), "lost"),
        (torch.empty(3, device="meta"), "uninitialised"),
        (None, "lost"),
    ),
)
def test_what_the_checkpoint_has(found: torch.Tensor | None, expected: str) -> None:
    assert outcome(PARAMETER, found) == expected


def test_a_part_of_the_value_is_told() -> None:
    values = ExpectedValues({"x": SAVED}, {})
    assert judge(PARAMETER, values, torch.tensor([1.5, 2.5, 0.0])).partial
    assert not judge(PARAMETER, values, torch.zeros(3)).partial


def test_what_the_checkpoint_does_not_have() -> None:
    absent = replace(PARAMETER, persisted=False)
    assert outcome(absent, torch.zeros(3)) == "absent"
    assert outcome(absent, torch.full((3,), NAN)) == "uninitialised"


@pytest.mark.parametrize(
    ("found", "expected"),
    (
        (SAVED.clone(), "restored"),
        (SAVED * (1 + 1e-7), "restored"),
        (SAVED * (1 + 1e-3), "lost"),
        (torch.zeros(3), "lost"),
        (torch.full((3,), NAN), "uninitialised"),
    ),
)
def test_what_construction_computes(found: torch.Tensor, expected: str) -> None:
    assert outcome(TABLE, found) == expected


def test_nan_that_construction_gives_is_a_value() -> None:
    value = torch.tensor([1.0, NAN, 2.0])
    assert outcome(TABLE, value.clone(), value) == "restored"


def test_infinities_are_values() -> None:
    value = torch.tensor([float("inf"), float("-inf"), 2.0])
    assert outcome(TABLE, value.clone(), value) == "restored"
    assert outcome(TABLE, -value, value) == "lost"


def test_bools_that_look_like_fresh_memory_say_so() -> None:
    mask = torch.ones(3, dtype=torch.bool)
    judgement = judge(replace(TABLE, dtype="bool"), ExpectedValues({}, {"x": mask}), mask.clone())
    assert judgement.outcome == "restored"
    assert judgement.reason is not None and "cannot be told apart" in judgement.reason
