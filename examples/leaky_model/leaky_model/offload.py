"""Make room on the device while another model, such as the rollout engine, needs it."""

from __future__ import annotations

import torch
from torch import nn


def offload_to_cpu(model: nn.Module) -> None:
    """Move the model off the device."""
    for param in model.parameters():  # expect: BUF401
        param.data = param.data.to("cpu")
    torch.cuda.empty_cache()


def offload_to_cpu_with_buffers(model: nn.Module) -> None:
    """Move the model off the device, buffers included."""
    for param in model.parameters():
        param.data = param.data.to("cpu")
    for buffer in model.buffers():
        buffer.data = buffer.data.to("cpu")
    torch.cuda.empty_cache()


def onload_to_device(model: nn.Module, device: torch.device) -> None:
    """Bring an offloaded model back to the device."""
    for param in model.parameters():  # expect: BUF401
        param.data = param.data.to(device)


def onload_to_device_with_buffers(model: nn.Module, device: torch.device) -> None:
    """Bring an offloaded model back to the device, buffers included."""
    for param in model.parameters():
        param.data = param.data.to(device)
    for buffer in model.buffers():
        buffer.data = buffer.data.to(device)
