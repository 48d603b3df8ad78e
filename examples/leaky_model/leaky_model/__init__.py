"""A small vision-language model, and the code that moves its state about, half of which loses some."""

from .adapters import LoadableStandardizer, RandomFeatures, SavedRandomFeatures, Standardizer
from .configuration import ModelConfig
from .modeling import VisionLanguageModel

__all__ = [
    "LoadableStandardizer",
    "ModelConfig",
    "RandomFeatures",
    "SavedRandomFeatures",
    "Standardizer",
    "VisionLanguageModel",
]
