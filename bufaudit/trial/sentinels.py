"""Values that no initialiser gives, for every dtype.

Floating point values are odd multiples of a power of two with eight significant bits: they pass through bfloat16 and
float16 unchanged, and none is 0, 1 or another round number.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

_STRIDE = 7919


def sentinel(name: str, constructed: torch.Tensor) -> torch.Tensor:
    """A value for the tensor `name`, in the shape and dtype of what it was constructed with, and different from it.

    The same for the same name; the elements differ as far as the dtype allows. A bool of one element is the opposite of
    what construction gives.
    """
    shape, dtype = tuple(constructed.shape), constructed.dtype
    seed = zlib.crc32(name.encode())
    value = _values(seed, shape, dtype)
    while value.numel() and torch.equal(value, constructed):
        seed += 1
        value = _values(seed, shape, dtype)
    return value


def _values(seed: int, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    index = torch.arange(math.prod(shape), dtype=torch.int64) * _STRIDE + seed
    if dtype.is_complex:
        real = dtype.to_real()
        value = torch.complex(_floats(index, real), _floats(index + 1, real))
    elif dtype.is_floating_point:
        value = _floats(index, dtype)
    elif dtype == torch.bool:
        value = _mixed(index) % 2 == 0
    else:
        value = _integers(index, dtype)
    return value.reshape(tuple(shape))


def _floats(index: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Odd mantissas times a power of two; fewer of both where the dtype has less than eight significant bits."""
    significant = min(round(1 - math.log2(torch.finfo(dtype).eps)), 8)
    mantissas = 2 ** (significant - 2)
    exponents = 12 if significant == 8 else 3
    mantissa = 2 ** (significant - 1) + 2 * (index % mantissas) + 1
    exponent = (index // mantissas) % exponents - significant
    sign = 1 - 2 * ((index // (mantissas * exponents)) % 2)
    value: torch.Tensor = sign * mantissa * torch.exp2(exponent.double())
    return value.to(dtype)


def _integers(index: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Between 3 and the largest value, which is what fresh memory is filled with."""
    room = min(torch.iinfo(dtype).max - 4, 1_000_003)
    return (3 + index % room).to(dtype)


def _mixed(index: torch.Tensor) -> torch.Tensor:
    """Bits in no order, so that no mask or range of an initialiser looks like them."""
    for factor in (0x9E3779B1, 0x85EBCA77):
        index = index * factor % 2**32
        index = index ^ (index >> 15)
    return index
