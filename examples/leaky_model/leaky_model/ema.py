"""Averages of a model over time."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .modeling import VisionLanguageModel


@torch.no_grad()
def update_ema(ema_model: VisionLanguageModel, model: VisionLanguageModel, decay: float) -> None:
    """Move the averaged model a step towards the trained one."""
    for ema_param, param in zip(ema_model.parameters(), model.parameters(), strict=True):  # expect: BUF302
        ema_param.lerp_(param, 1.0 - decay)


@torch.no_grad()
def update_ema_with_buffers(ema_model: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged model a step towards the trained one; buffers are taken over as they are."""
    for ema_param, param in zip(ema_model.parameters(), model.parameters(), strict=True):
        ema_param.lerp_(param, 1.0 - decay)
    for ema_buffer, buffer in zip(ema_model.buffers(), model.buffers(), strict=True):
        ema_buffer.copy_(buffer)


@torch.no_grad()
def soft_update(targets: Iterable[Tensor], sources: Iterable[Tensor], tau: float) -> None:
    """Move each target a fraction `tau` of the way to its source."""
    for target, source in zip(targets, sources, strict=True):
        target.lerp_(source, tau)


def make_target_network(online: VisionLanguageModel) -> VisionLanguageModel:
    """A copy that only ever answers: its BatchNorm uses the statistics that it is given."""
    target = copy.deepcopy(online).eval()
    return target.requires_grad_(False)


def update_target_network(target: VisionLanguageModel, online: VisionLanguageModel, tau: float = 0.005) -> None:
    """Let the target network follow the online one."""
    soft_update(target.parameters(), online.parameters(), tau)  # expect: BUF302


@torch.no_grad()
def update_target_network_with_buffers(target: nn.Module, online: nn.Module, tau: float = 0.005) -> None:
    """Let the target network follow the online one, its BatchNorm statistics included."""
    soft_update(target.parameters(), online.parameters(), tau)
    for target_buffer, buffer in zip(target.buffers(), online.buffers(), strict=True):
        target_buffer.copy_(buffer)
