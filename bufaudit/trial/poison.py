"""Fresh memory that can be told from what was written."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def poisoned_memory(fill: bool = True) -> Iterator[None]:
    """Have torch fill the memory of every new tensor: floats with NaN, integers with their maximum, bools with True."""
    # A module whose attribute is a property.
    memory: Any = torch.utils.deterministic
    before = (torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory)
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.use_deterministic_algorithms(fill, warn_only=True)
        memory.fill_uninitialized_memory = fill
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=warn_only)
            memory.fill_uninitialized_memory = before[1]


def is_poison(tensor: torch.Tensor) -> bool:
    """Whether a tensor looks like memory that nobody wrote, a part of it where it has floats.

    Integers and bools must be poison throughout: their maximum is a value like any other.
    """
    if not tensor.numel():
        return False
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        return bool(_wide(tensor).isnan().any())
    if tensor.dtype == torch.bool:
        return bool(tensor.all())
    return bool((tensor == torch.iinfo(tensor.dtype).max).all())


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """Dtypes of eight bits and less have few operations of their own."""
    return tensor if tensor.dtype.itemsize > 1 else tensor.float()
