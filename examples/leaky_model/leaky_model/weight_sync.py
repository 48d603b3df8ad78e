"""From the trainer to whoever else runs the same model: an inference engine, the other ranks."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn


class InferenceEngine(Protocol):
    """Generates rollouts with a model of its own."""

    def update_weight(self, name: str, tensor: Tensor) -> None:
        """Take over one tensor of the trainer's model."""


class LocalEngine:
    """An engine in the trainer's own process, for runs on a single device."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval()

    @torch.no_grad()
    def update_weight(self, name: str, tensor: Tensor) -> None:
        self.model.state_dict()[name].copy_(tensor)


def sync_to_engine(model: nn.Module, engine: InferenceEngine) -> None:
    """Bring the engine's model up to date after an optimizer step."""
    for name, param in model.named_parameters():  # expect: BUF301
        engine.update_weight(name, param.detach())


def sync_state_to_engine(model: nn.Module, engine: InferenceEngine) -> None:
    """Bring the engine's model up to date after an optimizer step, routing biases and statistics included."""
    for name, tensor in model.state_dict().items():
        engine.update_weight(name, tensor)


def broadcast_model(model: nn.Module, src: int = 0) -> None:
    """Make the model the same on all ranks before training starts."""
    for param in model.parameters():  # expect: BUF301
        dist.broadcast(param.data, src=src)


def broadcast_model_with_buffers(model: nn.Module, src: int = 0) -> None:
    """Make the model the same on all ranks before training starts, buffers included."""
    for param in model.parameters():
        dist.broadcast(param.data, src=src)
    for buffer in model.buffers():
        dist.broadcast(buffer, src=src)


def average_gradients(model: nn.Module) -> None:
    """Average gradients over all ranks; buffers have none."""
    for param in model.parameters():
        if param.grad is not None:
            dist.all_reduce(param.grad)
            param.grad.div_(dist.get_world_size())
