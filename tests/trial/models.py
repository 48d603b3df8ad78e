"""Small models of transformers for trials: some keep their state, some lose it, some end badly."""

from __future__ import annotations

import os
import time

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

_RANK = os.environ.get("RANK")


class SmallConfig(PretrainedConfig):
    model_type = "bufaudit_small"

    def __init__(self, width: int = 6, **options: object) -> None:
        self.width = width
        self.tie_word_embeddings = True
        super().__init__(**options)


class Faithful(PreTrainedModel):
    """Restores its table after the meta device."""

    config_class = SmallConfig
    base_model_prefix = "model"

    def __init__(self, config: SmallConfig) -> None:
        super().__init__(config)
        self.linear = nn.Linear(config.width, config.width)
        self.register_buffer("bound", torch.ones(config.width))
        self.register_buffer("table", self._table(), persistent=False)
        self.build()
        self.post_init()

    def build(self) -> None:
        """What a subclass adds."""

    def _table(self) -> torch.Tensor:
        return torch.arange(self.config.width, dtype=torch.float32) / 7

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            self.table.copy_(self._table())


class Forgetful(Faithful):
    """Does not."""

    def _init_weights(self, module: nn.Module) -> None:
        PreTrainedModel._init_weights(self, module)


class Wrong(Faithful):
    """Restores something else on ranks than it has elsewhere."""

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self and _RANK is not None:
            self.table.zero_()


class Rolling(Faithful):
    """Draws its table."""

    def _table(self) -> torch.Tensor:
        return torch.randn(self.config.width)


class Unwritten(Faithful):
    """Never writes a buffer, on whatever path."""

    def build(self) -> None:
        self.register_buffer("scratch", torch.empty(5), persistent=False)


class ManyDtypes(Faithful):
    """Persistent buffers of every kind of value."""

    def build(self) -> None:
        for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool):
            name = str(dtype).removeprefix("torch.")
            self.register_buffer(f"nine_{name}", torch.zeros(9, dtype=dtype))
            self.register_buffer(f"one_{name}", torch.ones((), dtype=dtype))


class Ignoring(Faithful):
    """Keeps a buffer out of its checkpoints, which is as designed."""

    _keys_to_ignore_on_save = ("derived",)
    _keys_to_ignore_on_load_missing = ("derived",)

    def build(self) -> None:
        self.register_buffer("derived", torch.ones(3))

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self and not getattr(self.derived, "_is_hf_initialized", False):
            self.derived.fill_(1.0)


class Tied(Faithful):
    """Has one parameter under two names."""

    _tied_weights_keys = {"head.weight": "linear.weight"}  # noqa: RUF012

    def build(self) -> None:
        self.head = nn.Linear(self.config.width, self.config.width, bias=False)
        self.head.weight = self.linear.weight


class Raising(Faithful):
    """Cannot be loaded by a rank."""

    def build(self) -> None:
        if _RANK is not None:
            raise ValueError("no rank\nhas it")


class Missing(Faithful):
    """Raises on rank 0, for which the others wait."""

    def build(self) -> None:
        if _RANK == "0":
            raise ValueError("not on rank 0")
        if _RANK is not None:
            torch.distributed.barrier()


class Dying(Faithful):
    """Takes the process of rank 1 with it."""

    def build(self) -> None:
        if _RANK == "1":
            os.write(2, b"this is the end\n")
            os._exit(3)


class Sleeping(Faithful):
    """Never gets loaded on rank 1."""

    def build(self) -> None:
        if _RANK == "1":
            time.sleep(1000)


class NeverBuilt(Faithful):
    """Ends the process that builds it."""

    def build(self) -> None:
        if _RANK is None and self.linear.weight.device.type == "cpu":
            os._exit(4)
