"""Fresh memory that can be recognised."""

from __future__ import annotations

import pytest
import torch

from bufaudit.trial.poison import is_poison, poisoned_memory

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64,
          torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_fresh_memory_is_recognised_and_zeros_are_not(dtype: torch.dtype) -> None:
    with poisoned_memory():
        fresh = (torch.empty(7, dtype=dtype), torch.empty_like(torch.zeros(3, dtype=dtype), device="cpu"))
    assert all(map(is_poison, fresh))
    assert not is_poison(torch.zeros(7, dtype=dtype))


def test_an_integer_that_is_the_maximum_here_and_there_was_written() -> None:
    assert not is_poison(torch.tensor([1, torch.iinfo(torch.int64).max]))


def test_one_part_of_a_float_is_enough() -> None:
    assert is_poison(torch.tensor([1.0, float("nan")]))


def test_nothing_stays_switched_on() -> None:
    with pytest.raises(RuntimeError), poisoned_memory():
        raise RuntimeError
    assert not torch.are_deterministic_algorithms_enabled()
