"""Values that initialisation never gives and every path carries unchanged."""

from __future__ import annotations

import pytest
import torch

from bufaudit.trial.poison import is_poison
from bufaudit.trial.sentinels import sentinel

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
SMALL_FLOATS = (torch.float8_e4m3fn, torch.float8_e5m2)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
OTHERS = (torch.complex64, torch.bool)


def wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.dtype.is_floating_point else tensor


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("other", (torch.float16, torch.bfloat16))
def test_floats_pass_through_half_precision(dtype: torch.dtype, other: torch.dtype) -> None:
    value = sentinel("layers.0.weight", torch.zeros(64, 80, dtype=dtype))
    assert torch.equal(value.to(other).to(dtype), value)


@pytest.mark.parametrize("dtype", (*FLOATS, *SMALL_FLOATS, *INTEGERS, torch.complex64))
def test_no_value_is_one_that_initialisers_give(dtype: torch.dtype) -> None:
    value = wide(sentinel("layers.0.weight", torch.zeros(500, dtype=dtype)))
    assert all(not bool((value == usual).any()) for usual in (0, 1, -1, 2))


@pytest.mark.parametrize("dtype", (*FLOATS, torch.int64, torch.complex64))
def test_elements_and_tensors_differ(dtype: torch.dtype) -> None:
    one, other = (sentinel(name, torch.zeros(300, dtype=dtype)) for name in ("norm.mean", "norm.var"))
    assert len(set(one.tolist())) == 300
    assert not bool((one == other).any())


@pytest.mark.parametrize("dtype", (*FLOATS, *SMALL_FLOATS, *INTEGERS, *OTHERS))
@pytest.mark.parametrize("shape", ((), (1,), (3, 5), (0,)))
def test_shape_and_dtype_stay_and_the_constructed_value_does_not(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    for constructed in (torch.zeros(shape).to(dtype), torch.ones(shape).to(dtype)):
        value = sentinel("x", constructed)
        assert (value.shape, value.dtype) == (constructed.shape, dtype)
        assert not value.numel() or not torch.equal(wide(value), wide(constructed))
        assert torch.equal(wide(value), wide(sentinel("x", constructed)))


@pytest.mark.parametrize("dtype", (*FLOATS, *SMALL_FLOATS, *INTEGERS, torch.complex64))
def test_none_looks_like_fresh_memory(dtype: torch.dtype) -> None:
    assert not any(is_poison(sentinel(f"x{n}", torch.zeros(1, dtype=dtype))) for n in range(300))


def test_bools_are_no_mask_that_an_initialiser_makes() -> None:
    value = sentinel("mask", torch.zeros(64, dtype=torch.bool))
    assert 16 < int(value.sum()) < 48
    changes = int((value[1:] != value[:-1]).sum())
    assert 16 < changes < 48
