"""Small models of transformers that come back from a load right or wrong, each in a way of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


class OurConfig(PretrainedConfig):
    model_type = "bufaudit_ours"

    def __init__(self, width: int = 6, **options: object) -> None:
        self.width = width
        super().__init__(**options)


class Ours(PreTrainedModel):
    """Has parameters and a persistent buffer; a subclass adds what it is about."""

    config_class = OurConfig
    base_model_prefix = "model"

    def __init__(self, config: OurConfig) -> None:
        super().__init__(config)
        self.linear = nn.Linear(config.width, config.width)
        self.register_buffer("bound", torch.ones(config.width))
        self.build()
        self.post_init()

    def build(self) -> None:
        """What a subclass adds."""

    def angles(self) -> torch.Tensor:
        return torch.arange(self.config.width, dtype=torch.float32) / 7


class Forgotten(Ours):
    """Nobody computes its table again."""

    def build(self) -> None:
        self.register_buffer("table", self.angles(), persistent=False)


class Restored(Forgotten):
    """Somebody does."""

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            self.table.copy_(self.angles())


class RestoredByAssignment(Forgotten):
    """The same, with another tensor in the old one's place."""

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            self.table = self.angles()


class RestoredInPart(Forgotten):
    """Forgets the last element."""

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            self.table[:-1].copy_(self.angles()[:-1])


class RestoredUnderAnotherName(Forgotten):
    """Writes to a tensor that is not the buffer."""

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            self.table.clone().copy_(self.angles())


class Rotary(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("inv_freq", self.frequencies(), persistent=False)
        self.register_buffer("original", self.inv_freq, persistent=False)

    def frequencies(self) -> torch.Tensor:
        return 1.0 / (10.0 ** (torch.arange(self.width, dtype=torch.float32) / self.width))


class OneOfTwo(Ours):
    """Of two buffers that are the same tensor when they are made, it restores one."""

    def build(self) -> None:
        self.rotary = Rotary(self.config.width)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Rotary):
            module.inv_freq.copy_(module.frequencies())


class LegacyConstructor(Ours):
    """`torch.Tensor([…])` makes its tensors on the CPU, whatever device a context asks for."""

    def build(self) -> None:
        self.register_buffer("flag", torch.Tensor([True]))
        self.register_buffer("weights", torch.Tensor([0.25, 0.5, 0.25]), persistent=False)


class FromNumpy(Ours):
    """So does `torch.from_numpy`."""

    def build(self) -> None:
        self.register_buffer("window", torch.from_numpy(np.hanning(5)).float())
        self.register_buffer("bank", torch.from_numpy(np.hanning(7)).float(), persistent=False)


class Expanded(Ours):
    """Its elements share memory, as those of position ids often do."""

    def build(self) -> None:
        self.register_buffer("position_ids", torch.arange(self.config.width).expand((1, -1)))
        self.register_buffer("token_type_ids", torch.zeros(1, self.config.width, dtype=torch.long), persistent=False)


class InitialisedAgain(Ours):
    """Its initialiser asks nobody whether the bound was loaded."""

    def build(self) -> None:
        self.register_buffer("table", self.angles(), persistent=False)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            self.table.copy_(self.angles())
            self.bound.data.fill_(1.0)


class Normed(Ours):
    """With what torch.nn registers itself."""

    def build(self) -> None:
        self.norm = nn.BatchNorm1d(self.config.width)


class LeftOut(Ours):
    """Keeps a buffer out of its checkpoints, which is as designed."""

    _keys_to_ignore_on_save = ("derived",)
    _keys_to_ignore_on_load_missing = ("derived",)

    def build(self) -> None:
        self.register_buffer("derived", torch.ones(3))

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self and not getattr(self.derived, "_is_hf_initialized", False):
            self.derived.fill_(1.0)


class Tied(Ours):
    """Has one parameter under two names."""

    _tied_weights_keys = {"head.weight": "linear.weight"}  # noqa: RUF012

    def build(self) -> None:
        self.config.tie_word_embeddings = True
        self.head = nn.Linear(self.config.width, self.config.width, bias=False)
        self.head.weight = self.linear.weight
