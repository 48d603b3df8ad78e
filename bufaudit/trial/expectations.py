"""What a load should give, in a folder that the maker writes and every rank reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bufaudit.codec import from_json, to_json
from bufaudit.trial.comparing import ExpectedValues
from bufaudit.trial.messages import Expectations, ExpectedTensor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TENSORS = "expected.json"
_CHECKPOINT = "checkpoint_values.safetensors"
_CONSTRUCTED = "constructed_values.safetensors"


@dataclass(frozen=True, slots=True)
class Expected:
    """All tensors of a model, in its order, and their values."""

    tensors: tuple[ExpectedTensor, ...]
    values: ExpectedValues


def write_expectations(folder: Path, expected: Expected) -> None:
    """Write what `read_expectations` reads."""
    (folder / _TENSORS).write_bytes(to_json(Expectations(expected.tensors)))
    _write_values(folder / _CHECKPOINT, expected.values.checkpoint)
    _write_values(folder / _CONSTRUCTED, expected.values.constructed)


def read_expectations(folder: Path) -> Expected:
    """What the maker wrote into a folder."""
    tensors = from_json(Expectations, (folder / _TENSORS).read_bytes()).tensors
    values = (_read_values(folder / name, tensors) for name in (_CHECKPOINT, _CONSTRUCTED))
    return Expected(tensors, ExpectedValues(*values))


def _write_values(path: Path, values: Mapping[str, torch.Tensor]) -> None:
    """As bytes, so that no dtype is beyond the format."""
    from safetensors.torch import save_file

    save_file({name: _bytes_of(value) for name, value in values.items()}, path)


def _read_values(path: Path, tensors: tuple[ExpectedTensor, ...]) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    stored = load_file(path)
    return {each.name: _value_of(stored[each.name], each) for each in tensors if each.name in stored}


def _bytes_of(value: torch.Tensor) -> torch.Tensor:
    return value.detach().contiguous().reshape(-1).view(torch.uint8).clone()


def _value_of(data: torch.Tensor, tensor: ExpectedTensor) -> torch.Tensor:
    dtype: torch.dtype = getattr(torch, tensor.dtype)
    return data.view(dtype).reshape(tensor.shape) if data.numel() else torch.empty(tensor.shape, dtype=dtype)
