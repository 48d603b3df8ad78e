"""Initialisers that leave a tensor alone once a checkpoint has filled it.

A loader sets `_is_hf_initialized` on each tensor that it has loaded, as transformers does; whatever has no
such mark is taken to be missing from the checkpoint and gets its initial value.
"""

from __future__ import annotations

import torch
from torch import Tensor


def is_initialized(tensor: Tensor) -> bool:
    return getattr(tensor, "_is_hf_initialized", False)


@torch.no_grad()
def normal_(tensor: Tensor, std: float) -> None:
    if not is_initialized(tensor):
        tensor.normal_(mean=0.0, std=std)


@torch.no_grad()
def constant_(tensor: Tensor, value: float) -> None:
    if not is_initialized(tensor):
        tensor.fill_(value)


@torch.no_grad()
def copy_(tensor: Tensor, value: Tensor) -> None:
    if not is_initialized(tensor):
        tensor.copy_(value)
