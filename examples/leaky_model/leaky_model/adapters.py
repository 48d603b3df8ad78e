"""What a user puts before or behind the model; each holds a tensor that no gradient trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RandomFeatures(nn.Module):
    """Projects hidden states, `(batch, width)`, onto random directions, drawn once."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.directions = torch.randn(width, features)  # expect: BUF502

    def forward(self, hidden: Tensor) -> Tensor:
        return (hidden @ self.directions).cos()


class SavedRandomFeatures(nn.Module):
    """As `RandomFeatures`, with the directions in the state dict."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(width, features))

    def forward(self, hidden: Tensor) -> Tensor:
        return (hidden @ self.directions).cos()


class Standardizer(nn.Module):
    """Gives its inputs, `(batch, width)`, the mean 0 that those of `fit` had."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", None)  # expect: BUF503

    def fit(self, inputs: Tensor) -> None:
        self.mean = inputs.mean(dim=0)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs - self.mean


class LoadableStandardizer(nn.Module):
    """As `Standardizer`, with a mean of the right shape from the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))

    def fit(self, inputs: Tensor) -> None:
        self.mean = inputs.mean(dim=0)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs - self.mean
