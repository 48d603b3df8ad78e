"""The load paths of a trial, run for real, and the parameters that ZeRO-3 has sharded.

DeepSpeed would compile an operation in shared memory when its communication starts. Loading never uses it, so that it
is told that no operation can be built: nothing compiles within the time limit, and nothing is left in shared memory.
"""

from __future__ import annotations

from typing import Any

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
    from transformers.integrations import HfDeepSpeedConfig
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    # transformers looks for one that is alive.
    config = HfDeepSpeedConfig(_ZERO3)
    try:
        model = model_class.from_pretrained(checkpoint)
    finally:
        unset_hf_deepspeed_config()
        del config
    return model


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor's whole value; for a sharded parameter all ranks must ask at once."""
    if not hasattr(tensor, "ds_id"):
        return tensor.detach()
    import deepspeed

    with deepspeed.zero.GatheredParameters([tensor], modifier_rank=None):
        return tensor.detach().clone()
