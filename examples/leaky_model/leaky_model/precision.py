"""Half the memory for a rollout."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from .modeling import VisionLanguageModel


class RolloutTrainer:
    """Trains a model on what it generates itself."""

    def __init__(self, model: VisionLanguageModel, optimizer: Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer

    def cast_for_rollout(self) -> None:
        """Cast the model to bfloat16, so that it generates faster."""
        self.model.to(torch.bfloat16)  # expect: BUF402

    def cast_parameters_for_rollout(self) -> None:
        """Cast the parameters to bfloat16; buffers, which are small, keep the precision that they need."""
        for param in self.model.parameters():
            param.data = param.data.to(torch.bfloat16)

    def step(self, loss: Tensor) -> None:
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
