"""The load paths of a trial, run for real, and the parameters that ZeRO-3 has sharded.

DeepSpeed would compile an operation in shared memory when its communication starts. Loading never uses it, so that it
is told that no operation can be built: nothing compiles within the time limit, and nothing is left in shared memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_ZERO3: dict[str, Any] = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3}}


def prepare(path: str) -> None:
    """Start DeepSpeed's communication over the process group that is there, where the path needs it."""
    if path != "zero3":
        return
    import deepspeed

    deepspeed.ops.__compatible_ops__ = {}
    deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)


def load(path: str, model_class: Any, checkpoint: str) -> torch.nn.Module:
    """A model of the class, loaded from the folder on a path of `bufaudit.trial.PATHS`."""
    if path == "from_pretrained":
        model: torch.nn.Module = model_class.from_pretrained(checkpoint)
        return model
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    # transformers looks for one that is alive.
    config = HfDeepSpeedConfig(_ZERO3)
    try:
        model = model_class.from_pretrained(checkpoint)
    finally:
        unset_hf_deepspeed_config()
        del config
    return model


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether ZeRO-3 has left this rank only a part of it."""
    return hasattr(tensor, "ds_id")


def shard_of(whole: torch.Tensor, tensor: torch.Tensor, rank: int) -> torch.Tensor:
    """The part of a whole value that a rank has of a sharded parameter; it may be empty."""
    length = tensor.ds_tensor.numel()  # type: ignore[attr-defined]
    return whole.reshape(-1)[rank * length : (rank + 1) * length]


def own_shard(tensor: torch.Tensor, rank: int) -> torch.Tensor:
    """The part that a rank has of a sharded parameter, without padding."""
    shard: torch.Tensor = tensor.ds_tensor  # type: ignore[attr-defined]
    left = max(tensor.ds_numel - rank * shard.numel(), 0)  # type: ignore[attr-defined]
    return shard.detach().reshape(-1)[:left]


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor's whole value; for a sharded parameter all ranks must ask at once."""
    if not is_sharded(tensor):
        return tensor.detach()
    import deepspeed

    with deepspeed.zero.GatheredParameters([tensor], modifier_rank=None):
        return tensor.detach().clone()
