"""What every model here shares: how its tensors get their initial values."""

from __future__ import annotations

from torch import nn

from . import initialization as init
from .configuration import ModelConfig
from .layers import ClippedLinear, LayerTypeRotaryEmbedding, RotaryEmbedding, TopKRouter, inverse_frequencies


class BaseModel(nn.Module):
    """A model that can initialise what a checkpoint did not bring."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    def init_weights(self) -> None:
        """Initialise each tensor, buffers included, that is not marked as loaded."""
        for module in self.modules():
            self._init_weights(module)

    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, nn.Linear | nn.Conv2d):
            init.normal_(module.weight, std=std)
            if module.bias is not None:
                init.constant_(module.bias, 0.0)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=std)
        elif isinstance(module, nn.RMSNorm):
            init.constant_(module.weight, 1.0)
        elif isinstance(module, nn.BatchNorm2d):
            init.constant_(module.weight, 1.0)
            init.constant_(module.bias, 0.0)
            init.constant_(module.running_mean, 0.0)
            init.constant_(module.running_var, 1.0)
            init.constant_(module.num_batches_tracked, 0)
        elif isinstance(module, TopKRouter):
            init.normal_(module.weight, std=std)
            init.constant_(module.e_score_correction_bias, 0.0)
        elif isinstance(module, ClippedLinear):
            init.constant_(module.input_min, -float("inf"))
            init.constant_(module.input_max, float("inf"))
        elif isinstance(module, RotaryEmbedding):
            init.copy_(module.inv_freq, inverse_frequencies(module.head_dim, module.theta))
        elif isinstance(module, LayerTypeRotaryEmbedding):
            for kind, theta in module.thetas.items():
                init.copy_(getattr(module, f"{kind}_inv_freq"), inverse_frequencies(module.head_dim, theta))
