"""A small vision-language model, and the code that moves its state about, half of which loses some."""

from .configuration import ModelConfig
from .modeling import VisionLanguageModel

__all__ = ["ModelConfig", "VisionLanguageModel"]
