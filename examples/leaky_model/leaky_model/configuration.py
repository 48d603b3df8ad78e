"""The model's hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass, field


def _default_thetas() -> dict[str, float]:
    return {"full_attention": 1_000_000.0, "sliding_attention": 10_000.0}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes of a model; the defaults give one that runs on a CPU in milliseconds.

    `layer_types` names the attention of each decoder layer, `rope_theta` the rotary base of each such name.
    """

    vocab_size: int = 128
    hidden_size: int = 32
    intermediate_size: int = 48
    num_heads: int = 4
    layer_types: tuple[str, ...] = ("sliding_attention", "full_attention")
    rope_theta: dict[str, float] = field(default_factory=_default_thetas)
    sliding_window: int = 8
    num_experts: int = 8
    num_experts_per_token: int = 2
    num_expert_groups: int = 2
    patch_size: int = 4
    num_channels: int = 3
    vision_rope_theta: float = 10_000.0
    initializer_range: float = 0.02

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads
