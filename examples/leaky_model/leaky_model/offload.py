"""Bring a model to the device that it runs on."""

from __future__ import annotations

import torch
from torch import nn

from .modeling import VisionLanguageModel


def load_to_device(model: VisionLanguageModel, device: torch.device) -> None:
    """Bring a model that was read on the CPU to the device."""
    for param in model.parameters():  # expect: BUF401
        param.data = param.data.to(device)


def load_to_device_with_buffers(model: nn.Module, device: torch.device) -> None:
    """Bring a model that was read on the CPU to the device, buffers included."""
    for param in model.parameters():
        param.data = param.data.to(device)
    for buffer in model.buffers():
        buffer.data = buffer.data.to(device)
