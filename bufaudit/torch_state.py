"""What torch.nn and transformers themselves do about buffers: facts that no scan of a model repository can see.

Source: torch 2.13 `torch/nn/modules/{batchnorm,instancenorm,loss}.py`; transformers 5.23
`modeling_utils.PreTrainedModel._init_weights`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LibraryBuffer:
    """A persistent buffer that a torch.nn class registers; `condition` as in `results.Registration`."""

    name: str
    value: str
    condition: str | None


_STATISTICS = (
    LibraryBuffer("running_mean", "torch.zeros(num_features)", "self.track_running_stats"),
    LibraryBuffer("running_var", "torch.ones(num_features)", "self.track_running_stats"),
    LibraryBuffer("num_batches_tracked", "torch.tensor(0, dtype=torch.long)", "self.track_running_stats"),
)
_WEIGHT = LibraryBuffer("weight", "weight", "weight is given")
_POSITIVE_WEIGHT = LibraryBuffer("pos_weight", "pos_weight", "pos_weight is given")

_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "_BatchNorm", "_NormBase")
_LAZY_NORMS = ("LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d")
_OPTIONAL_NORMS = tuple(f"{lazy}InstanceNorm{dimensions}d" for lazy in ("", "Lazy") for dimensions in (1, 2, 3))
_LOSSES = (
    "CrossEntropyLoss",
    "NLLLoss",
    "NLLLoss2d",
    "BCELoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
)

#: The buffers of each torch.nn class that registers any, its base classes' included.
BUFFERS: dict[str, tuple[LibraryBuffer, ...]] = {
    **dict.fromkeys((*_NORMS, *_LAZY_NORMS, *_OPTIONAL_NORMS), _STATISTICS),
    **dict.fromkeys(_LOSSES, (_WEIGHT,)),
    "BCEWithLogitsLoss": (_WEIGHT, _POSITIVE_WEIGHT),
}

#: Classes, torch's or other libraries', whose objects always hold running statistics or the like unless told not to.
STATEFUL = frozenset((*_NORMS, *_LAZY_NORMS, "FrozenBatchNorm2d", "BatchRenorm1d", "BatchRenorm2d"))

#: What computed the frequencies of a rotary embedding of transformers 4; from 5.0 on only PhiMoE's still has it.
VANISHED_ROPE_ATTRIBUTE = "rope_init_fn"

#: Layers and containers that register nothing of their own.
LAYERS = frozenset(
    {
        "Module", "Sequential", "ModuleList", "ModuleDict", "Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d",
        "ConvTranspose2d", "Embedding", "LayerNorm", "RMSNorm", "GroupNorm", "GRU", "LSTM", "RNN", "GRUCell",
        "LSTMCell", "Dropout", "Identity", "LightningModule", "PreTrainedModel", "ModelMixin", "MultiheadAttention",
        "GradientCheckpointingLayer", "Transformer", "TransformerEncoder", "TransformerEncoderLayer",
        "TransformerDecoder", "ParameterList",
    }
)  # fmt: skip
#: Base classes that register nothing of their own.
PLAIN_BASES = LAYERS | {
    "list", "dict", "tuple", "set", "str", "int", "float", "Enum", "IntEnum", "StrEnum", "Exception", "NamedTuple",
    "TypedDict", "OrderedDict", "object", "ABC", "Generic", "Protocol", "ConfigMixin", "PyTorchModelHubMixin",
}  # fmt: skip
