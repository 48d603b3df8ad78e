"""The layers that hold more state than their parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def inverse_frequencies(head_dim: int, theta: float) -> Tensor:
    """Rotary frequencies, float32, shape `(head_dim // 2,)`."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    return theta**-exponents


def rotary_angles(positions: Tensor, inv_freq: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines for `positions` of shape `(length,)`; both have shape `(length, head_dim)`."""
    angles = positions[:, None].float() * inv_freq[None, :]
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


class RotaryEmbedding(nn.Module):
    """Rotary positions with one base."""

    def __init__(self, head_dim: int, theta: float) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.theta = theta
        self.register_buffer("inv_freq", inverse_frequencies(head_dim, theta), persistent=False)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        return rotary_angles(positions, self.inv_freq)


class LayerTypeRotaryEmbedding(nn.Module):
    """Rotary positions with a base for each type of attention layer."""

    def __init__(self, head_dim: int, thetas: dict[str, float]) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.thetas = thetas
        for kind, theta in thetas.items():
            inv_freq = inverse_frequencies(head_dim, theta)
            setattr(self, f"{kind}_inv_freq", nn.Buffer(inv_freq, persistent=False))

    def forward(self, positions: Tensor, layer_type: str) -> tuple[Tensor, Tensor]:
        return rotary_angles(positions, getattr(self, f"{layer_type}_inv_freq"))


class TopKRouter(nn.Module):
    """Chooses experts by score plus a bias that balances their load.

    The bias is learnt without a gradient, in float32: `rebalance` moves it after each step. Only the choice
    of the experts uses it, never their weight in the output.
    """

    def __init__(self, hidden_size: int, num_experts: int, top_k: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.weight = nn.Parameter(torch.empty(num_experts, hidden_size))
        self.e_score_correction_bias = nn.Buffer(torch.zeros(num_experts, dtype=torch.float32))

    def allowed(self, scores: Tensor) -> Tensor:
        """The scores to choose by, shape `(tokens, experts)`."""
        return scores + self.e_score_correction_bias

    def forward(self, hidden: Tensor) -> Tensor:
        """Weight of each expert for each token, zero for those not chosen, shape `(tokens, experts)`."""
        scores = nn.functional.linear(hidden.float(), self.weight.float()).sigmoid()
        chosen = self.allowed(scores).topk(self.top_k, dim=-1).indices
        weights = torch.zeros_like(scores).scatter(-1, chosen, scores.gather(-1, chosen))
        return (weights / weights.sum(dim=-1, keepdim=True)).to(hidden.dtype)

    @torch.no_grad()
    def rebalance(self, tokens_per_expert: Tensor, rate: float = 1e-3) -> None:
        """Favour the experts that got fewer tokens than the average."""
        load = tokens_per_expert.float()
        self.e_score_correction_bias.add_(rate * torch.sign(load.mean() - load))


class ClippedLinear(nn.Module):
    """A linear layer whose input is clipped to bounds that a calibration run has found."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=False)
        self.register_buffer("input_min", torch.tensor(-float("inf")))
        self.register_buffer("input_max", torch.tensor(float("inf")))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.linear(hidden.clamp(self.input_min, self.input_max))


class PatchStem(nn.Module):
    """Images, `(batch, channels, height, width)`, to patches, `(batch, patches, hidden_size)`."""

    def __init__(self, num_channels: int, hidden_size: int, patch_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_channels, hidden_size, patch_size, stride=patch_size, bias=False)
        self.norm = nn.BatchNorm2d(hidden_size)

    def forward(self, images: Tensor) -> Tensor:
        patches = nn.functional.gelu(self.norm(self.conv(images)))
        return patches.flatten(2).transpose(1, 2)
