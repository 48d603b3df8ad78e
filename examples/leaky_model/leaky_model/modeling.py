"""A vision-language transformer with a mixture of experts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import initialization as init
from .base import BaseModel
from .configuration import ModelConfig
from .layers import ClippedLinear, LayerTypeRotaryEmbedding, PatchStem, RotaryEmbedding, TopKRouter


def rotate(hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions to `hidden` of shape `(batch, heads, length, head_dim)`."""
    first, second = hidden.chunk(2, dim=-1)
    return hidden * cos + torch.cat((-second, first), dim=-1) * sin


def causal_mask(length: int, window: int | None, device: torch.device) -> Tensor:
    """True where a query may see a key, shape `(length, length)`."""
    positions = torch.arange(length, device=device)
    distance = positions[:, None] - positions[None, :]
    mask = distance >= 0
    return mask if window is None else mask & (distance < window)


class GroupLimitedRouter(TopKRouter):
    """A router that looks for experts in the best group only, so that a token stays on one device."""

    def __init__(self, hidden_size: int, num_experts: int, top_k: int, num_groups: int) -> None:
        super().__init__(hidden_size, num_experts, top_k)
        self.num_groups = num_groups
        self.register_buffer("expert_group", self.groups(), persistent=False)

    def groups(self) -> Tensor:
        """The group of each expert, shape `(experts,)`."""
        num_experts = self.weight.shape[0]
        return torch.arange(num_experts) * self.num_groups // num_experts

    def allowed(self, scores: Tensor) -> Tensor:
        biased = super().allowed(scores)
        best_group = self.expert_group[biased.argmax(dim=-1)]
        return biased.masked_fill(self.expert_group[None, :] != best_group[:, None], -float("inf"))


class Attention(nn.Module):
    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, length, _ = hidden.shape
        heads = self.qkv_proj(hidden).view(batch, length, 3 * self.num_heads, -1).transpose(1, 2)
        query, key, value = heads.chunk(3, dim=1)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


class Experts(nn.Module):
    """All experts at once; the model is small enough to compute those that a token did not choose, too."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        experts, hidden, intermediate = config.num_experts, config.hidden_size, config.intermediate_size
        self.up_proj = nn.Parameter(torch.empty(experts, intermediate, hidden))
        self.down_proj = nn.Parameter(torch.empty(experts, hidden, intermediate))

    def forward(self, hidden: Tensor, weights: Tensor) -> Tensor:
        raised = nn.functional.silu(torch.einsum("th,eih->tei", hidden, self.up_proj))
        return torch.einsum("tei,ehi,te->th", raised, self.down_proj, weights)


class MoeBlock(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.router = GroupLimitedRouter(
            config.hidden_size, config.num_experts, config.num_experts_per_token, config.num_expert_groups
        )
        self.experts = Experts(config)

    def forward(self, hidden: Tensor) -> Tensor:
        tokens = hidden.flatten(0, 1)
        return self.experts(tokens, self.router(tokens)).view_as(hidden)


class DecoderLayer(nn.Module):
    def __init__(self, config: ModelConfig, layer_type: str) -> None:
        super().__init__()
        self.layer_type = layer_type
        self.window = config.sliding_window if layer_type == "sliding_attention" else None
        self.input_norm = nn.RMSNorm(config.hidden_size)
        self.attention = Attention(config.hidden_size, config.num_heads)
        self.post_attention_norm = nn.RMSNorm(config.hidden_size)
        self.moe = MoeBlock(config)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        mask = causal_mask(hidden.shape[1], self.window, hidden.device)
        hidden = hidden + self.attention(self.input_norm(hidden), cos, sin, mask)
        return hidden + self.moe(self.post_attention_norm(hidden))


class VisionTower(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.stem = PatchStem(config.num_channels, config.hidden_size, config.patch_size)
        self.rotary = RotaryEmbedding(config.head_dim, config.vision_rope_theta)
        self.norm = nn.RMSNorm(config.hidden_size)
        self.attention = Attention(config.hidden_size, config.num_heads)
        self.projector = ClippedLinear(config.hidden_size, config.hidden_size)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.stem(images)
        cos, sin = self.rotary(torch.arange(patches.shape[1], device=patches.device))
        patches = patches + self.attention(self.norm(patches), cos, sin)
        return self.projector(patches)


class VisionLanguageModel(BaseModel):
    """Reads an image and a text, predicts the text's next tokens."""

    def __init__(self, config: ModelConfig = ModelConfig()) -> None:
        super().__init__(config)
        self.vision_tower = VisionTower(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.rotary = LayerTypeRotaryEmbedding(config.head_dim, config.rope_theta)
        self.layers = nn.ModuleList(DecoderLayer(config, layer_type) for layer_type in config.layer_types)
        self.norm = nn.RMSNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.init_weights()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, GroupLimitedRouter):
            init.copy_(module.expert_group, module.groups())
        elif isinstance(module, Experts):
            init.normal_(module.up_proj, std=self.config.initializer_range)
            init.normal_(module.down_proj, std=self.config.initializer_range)

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Logits of shape `(batch, tokens, vocab_size)` for `tokens` of shape `(batch, tokens)`."""
        patches = self.vision_tower(images)
        hidden = torch.cat((patches, self.embed_tokens(tokens)), dim=1)
        positions = torch.arange(hidden.shape[1], device=hidden.device)
        for layer in self.layers:
            cos, sin = self.rotary(positions, layer.layer_type)
            hidden = layer(hidden, cos, sin)
        return self.lm_head(self.norm(hidden[:, patches.shape[1] :]))
