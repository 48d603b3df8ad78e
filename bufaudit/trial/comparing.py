"""What became of a tensor, judged by the values that are expected and the one that was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bufaudit.trial.messages import Judgement
from bufaudit.trial.poison import is_poison

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bufaudit.trial.messages import ExpectedTensor

_ON_META = "it is still on the meta device"
_RANDOM = "construction gives it another value each time: any value counts as restored"
_UNWRITTEN = "construction itself leaves it unwritten"
_BOOL = "all its values are True, as in fresh memory: the two cannot be told apart"


@dataclass(frozen=True, slots=True)
class ExpectedValues:
    """Values by the name of a tensor: those of the checkpoint, and those that construction gives."""

    checkpoint: Mapping[str, torch.Tensor]
    constructed: Mapping[str, torch.Tensor]


def judge(expected: ExpectedTensor, values: ExpectedValues, found: torch.Tensor | None) -> Judgement:
    """The outcome of one tensor. `found` is None where the loaded model has no such tensor."""
    if found is None:
        return Judgement("lost", reason="the loaded model does not have it")
    if found.is_meta:
        return Judgement("uninitialised", reason=_ON_META)
    if tuple(found.shape) != expected.shape:
        return Judgement("lost", reason=f"the loaded model has it with the shape {tuple(found.shape)}")
    if expected.kind == "non_persistent_buffer":
        return _judge_constructed(expected, values.constructed[expected.name], found)
    if expected.persisted:
        return _judge_persisted(values.checkpoint[expected.name], found)
    return Judgement("uninitialised" if is_poison(found) else "absent")


def _judge_persisted(value: torch.Tensor, found: torch.Tensor) -> Judgement:
    same = _same(value, found)
    if bool(same.all()):
        return Judgement("kept", reason=_BOOL if _is_ambiguous(found) else None)
    return Judgement("uninitialised" if is_poison(found) else "lost", partial=bool(same.any()))


def _judge_constructed(expected: ExpectedTensor, value: torch.Tensor, found: torch.Tensor) -> Judgement:
    if expected.construction == "unwritten":
        return Judgement("uninitialised" if is_poison(found) else "restored", reason=_UNWRITTEN)
    if expected.construction == "random":
        return Judgement("uninitialised") if is_poison(found) else Judgement("restored", reason=_RANDOM)
    close = _same(value, found) | _close(value, found)
    if bool(close.all()):
        return Judgement("restored", reason=_BOOL if _is_ambiguous(found) else None)
    return Judgement("uninitialised" if is_poison(found) else "lost")


def _same(value: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Where two tensors hold the same value in the dtype of the second, which a path may choose; NaN is the same."""
    value = value.to(found.dtype)
    return (value == found) | ((value != value) & (found != found))


def _close(value: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Where floats differ by rounding only, as after the same computation in another order."""
    if not (found.dtype.is_floating_point or found.dtype.is_complex):
        return torch.zeros(found.shape, dtype=torch.bool)
    tolerance = 8 * torch.finfo(found.dtype).eps
    wide = torch.complex128 if found.dtype.is_complex else torch.float64
    return torch.isclose(value.to(found.dtype).to(wide), found.to(wide), rtol=tolerance, atol=tolerance * 1e-3)


def _is_ambiguous(found: torch.Tensor) -> bool:
    return found.dtype == torch.bool and is_poison(found)
