"""From a model to a file, or to a copy that training can go back to."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn


def export_weights(model: nn.Module, path: Path) -> None:
    """Write the model's weights for release."""
    weights = {name: param.detach().cpu() for name, param in model.named_parameters()}  # expect: BUF201
    torch.save(weights, path)


def export_state(model: nn.Module, path: Path) -> None:
    """Write the model's whole state dict for release."""
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    torch.save(state, path)


def take_snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Keep the best model of the run so far in memory."""
    snapshot = {}
    for name, param in model.named_parameters():  # expect: BUF201
        snapshot[name] = param.detach().clone()
    return snapshot


def take_full_snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Keep the best model of the run so far in memory, buffers included."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@torch.no_grad()
def restore_snapshot(model: nn.Module, snapshot: dict[str, Tensor]) -> None:
    """Go back to a snapshot, of either kind."""
    state = model.state_dict()
    for name, tensor in snapshot.items():
        state[name].copy_(tensor)
