"""Checkpoints of a run, and the parts of it that are about parameters alone, as they should be."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present
from torch.optim import AdamW, Optimizer


def build_optimizer(model: nn.Module, lr: float, weight_decay: float) -> AdamW:
    """AdamW that decays matrices and leaves norms and biases alone."""
    decayed, kept = [], []
    for _, param in model.named_parameters():
        if param.requires_grad:
            (decayed if param.ndim >= 2 else kept).append(param)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return AdamW(groups, lr=lr)


def count_parameters(model: nn.Module) -> int:
    return sum(param.numel() for param in model.parameters())


def freeze(module: nn.Module) -> None:
    for param in module.parameters():
        param.requires_grad_(False)


def save_training_state(model: nn.Module, optimizer: Optimizer, step: int, path: Path) -> None:
    """Write all that a run needs to go on; `model` may be wrapped for data parallelism."""
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, path)


def restore_full_state(model: nn.Module, optimizer: Optimizer, path: Path) -> int:
    """Restore model and optimizer exactly as they were when the run stopped; gives the step to go on from."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["model"], strict=False)  # expect: BUF104
    optimizer.load_state_dict(checkpoint["optimizer"])
    return checkpoint["step"]


def restore_full_state_strictly(model: nn.Module, optimizer: Optimizer, path: Path) -> int:
    """As `restore_full_state`, but the names must agree once the data-parallel wrapper's prefix is off.

    Raises RuntimeError where the checkpoint and the model do not have the same keys.
    """
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    consume_prefix_in_state_dict_if_present(checkpoint["model"], "module.")
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    return checkpoint["step"]
