"""From a checkpoint's entries to a model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .configuration import ModelConfig
from .modeling import VisionLanguageModel


@torch.no_grad()
def load_checkpoint(model: nn.Module, state_dict: dict[str, Tensor]) -> None:
    """Load a checkpoint into a model that is already built."""
    for name, param in model.named_parameters():  # expect: BUF101
        param.copy_(state_dict[name])


@torch.no_grad()
def load_checkpoint_with_buffers(model: nn.Module, state_dict: dict[str, Tensor]) -> None:
    """Load a checkpoint into a model that is already built, persistent buffers included."""
    for name, param in model.named_parameters():
        param.copy_(state_dict[name])
    for name, buffer in model.named_buffers():
        if name in state_dict:
            buffer.copy_(state_dict[name])


@torch.no_grad()
def load_weights(model: nn.Module, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
    """Load weights as they stream in from a sharded checkpoint; gives the names that were loaded."""
    params_dict = dict(model.named_parameters())  # expect: BUF101
    loaded = set()
    for name, weight in weights:
        name = name.removeprefix("model.")
        # Checkpoints of the first release still hold the rotary frequencies.
        if name not in params_dict:
            continue
        params_dict[name].copy_(weight)
        loaded.add(name)
    return loaded


@torch.no_grad()
def load_weights_and_buffers(model: nn.Module, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
    """As `load_weights`, but an entry may also be a buffer's, and one that is nobody's raises KeyError."""
    targets = dict(model.named_parameters())
    targets.update(model.named_buffers())
    loaded = set()
    for name, weight in weights:
        name = name.removeprefix("model.")
        if name.endswith("inv_freq"):
            continue
        targets[name].copy_(weight)
        loaded.add(name)
    return loaded


def rows_of_rank(full: Tensor, local: Tensor) -> Tensor:
    """The rows of a checkpoint tensor that this rank holds; all where the parameter is not partitioned."""
    if full.shape == local.shape:
        return full
    return full.narrow(0, dist.get_rank() * local.shape[0], local.shape[0])


@torch.no_grad()
def load_on_ranks(model: nn.Module, state_dict: dict[str, Tensor]) -> None:
    """Load a checkpoint into a model whose parameters are partitioned by rows: each rank takes its own."""
    for name, param in model.named_parameters():
        param.copy_(rows_of_rank(state_dict[name], param))
    if dist.get_rank() == 0:
        for name, buffer in model.named_buffers():
            if name in state_dict:
                buffer.copy_(state_dict[name])  # expect: BUF102


@torch.no_grad()
def load_on_ranks_and_broadcast(model: nn.Module, state_dict: dict[str, Tensor]) -> None:
    """As `load_on_ranks`, but what rank 0 alone has read is sent to the others."""
    for name, param in model.named_parameters():
        param.copy_(rows_of_rank(state_dict[name], param))
    for name, buffer in model.named_buffers():
        if dist.get_rank() == 0 and name in state_dict:
            buffer.copy_(state_dict[name])
        dist.broadcast(buffer, src=0)


@torch.no_grad()
def from_pretrained(config: ModelConfig, state_dict: dict[str, Tensor]) -> VisionLanguageModel:
    """Build a model, load what the checkpoint has and initialise the rest."""
    model = VisionLanguageModel(config)
    for name, param in model.named_parameters():
        if name in state_dict:
            param.copy_(state_dict[name])
            param._is_hf_initialized = True
    for name, buffer in model.named_buffers():
        if name in state_dict:
            buffer.copy_(state_dict[name])  # expect: BUF103
    model.init_weights()
    return model


@torch.no_grad()
def from_pretrained_with_buffers(config: ModelConfig, state_dict: dict[str, Tensor]) -> VisionLanguageModel:
    """As `from_pretrained`, but a loaded buffer is marked, so that `init_weights` leaves it alone."""
    model = VisionLanguageModel(config)
    for name, param in model.named_parameters():
        if name in state_dict:
            param.copy_(state_dict[name])
            param._is_hf_initialized = True
    for name, buffer in model.named_buffers():
        if name in state_dict:
            buffer.copy_(state_dict[name])
            buffer._is_hf_initialized = True
    model.init_weights()
    return model


def assign_weights(model: nn.Module, state_dict: dict[str, Tensor]) -> None:
    """Put the checkpoint's own tensors into the model, without a copy."""
    for name, tensor in state_dict.items():
        module_name, _, leaf = name.rpartition(".")
        module = model.get_submodule(module_name)
        trainable = tensor.is_floating_point()
        setattr(module, leaf, nn.Parameter(tensor, requires_grad=trainable))  # expect: BUF105


def assign_weights_by_kind(model: nn.Module, state_dict: dict[str, Tensor]) -> None:
    """Put the checkpoint's own tensors into the model, without a copy; a buffer stays a buffer."""
    for name, tensor in state_dict.items():
        module_name, _, leaf = name.rpartition(".")
        module = model.get_submodule(module_name)
        if leaf in module._buffers:
            setattr(module, leaf, tensor)
        else:
            setattr(module, leaf, nn.Parameter(tensor, requires_grad=tensor.is_floating_point()))


def materialise(config: ModelConfig, state_dict: dict[str, Tensor]) -> VisionLanguageModel:
    """Build a model without memory, so that none is filled twice, and load a checkpoint into it."""
    with torch.device("meta"):
        model = VisionLanguageModel(config)
    model.to_empty(device="cpu")  # expect: BUF403
    model.load_state_dict(state_dict)
    return model


def materialise_and_initialise(config: ModelConfig, state_dict: dict[str, Tensor]) -> VisionLanguageModel:
    """As `materialise`, but buffers that no checkpoint has are computed again."""
    with torch.device("meta"):
        model = VisionLanguageModel(config)
    model.to_empty(device="cpu")
    model.init_weights()
    model.load_state_dict(state_dict)
    return model
