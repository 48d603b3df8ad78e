"""Model directories with code of their own, as a hub has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CONFIG = """\
from transformers import PretrainedConfig


class LeakyConfig(PretrainedConfig):
    model_type = "leaky"

    def __init__(self, width=4, **kwargs):
        self.width = width
        super().__init__(**kwargs)
"""
#: Nobody computes `table` again after a load through the meta device.
_MODEL = """\
import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_leaky import LeakyConfig

{before}

class LeakyModel(PreTrainedModel):
    config_class = LeakyConfig

    def __init__(self, config):
        super().__init__(config)
        {construct}
        self.proj = nn.Linear(config.width, config.width)
        self.register_buffer("table", torch.arange(config.width).float(), persistent=False)
        self.post_init()

    def _init_weights(self, module):
        pass

    def forward(self, x):
        return self.proj(x)
"""


def write_model(folder: Path, *, before: str = "", construct: str = "pass") -> Path:
    """A directory with its own model; `before` runs at import, `construct` in its constructor."""
    folder.mkdir()
    auto_map = {"AutoConfig": "configuration_leaky.LeakyConfig", "AutoModel": "modeling_leaky.LeakyModel"}
    config = {"model_type": "leaky", "architectures": ["LeakyModel"], "auto_map": auto_map, "width": 8}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "configuration_leaky.py").write_text(_CONFIG)
    (folder / "modeling_leaky.py").write_text(_MODEL.format(before=before, construct=construct))
    return folder
