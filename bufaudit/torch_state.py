"""What torch.nn and transformers themselves do about buffers: facts that no scan of a model repository can see.

Source: torch 2.13 `torch/nn/modules/{batchnorm,instancenorm,loss}.py`; transformers 5.23
`modeling_utils.PreTrainedModel._init_weights`.
"""

from __future__ import annotations

from dataclasses import dataclass

from bufaudit.patterns import lazy_pattern


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
    "_WeightedLoss",
)

#: The buffers of each torch.nn class that registers any, its base classes' included.
BUFFERS: dict[str, tuple[LibraryBuffer, ...]] = {
    **dict.fromkeys((*_NORMS, *_LAZY_NORMS, *_OPTIONAL_NORMS), _STATISTICS),
    **dict.fromkeys(_LOSSES, (_WEIGHT,)),
    "BCEWithLogitsLoss": (_WEIGHT, _POSITIVE_WEIGHT),
}

#: Classes, torch's or other libraries', whose objects always hold running statistics or the like unless told not to.
STATEFUL = frozenset((*_NORMS, *_LAZY_NORMS, "FrozenBatchNorm2d", "BatchRenorm1d", "BatchRenorm2d"))

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
#: Classes whose name says nothing of what a module holds: any model is one.
ANY_MODEL = frozenset({"Module", "LightningModule", "PreTrainedModel", "ModelMixin"})
#: Classes of transformers that stand for any of its models, of which 213 architectures have a persistent buffer.
ANY_PRETRAINED = ("AutoModel", "AutoModelForCausalLM", "AutoModelForImageTextToText")
#: Base classes that register nothing of their own.
PLAIN_BASES = LAYERS | {
    "list", "dict", "tuple", "set", "str", "int", "float", "Enum", "IntEnum", "StrEnum", "Exception", "NamedTuple",
    "TypedDict", "OrderedDict", "object", "ABC", "Generic", "Protocol", "ConfigMixin", "PyTorchModelHubMixin",
}  # fmt: skip

_TENSOR_TYPES = ("Float", "Double", "Half", "BFloat16", "Bool", "Byte", "Char", "Short", "Int", "Long")
#: What makes a tensor on the CPU whatever `torch.device` says, which `torch.tensor` and `torch.as_tensor` obey. Seen
#: under torch 2.13. So does `torch.Tensor` where it is given values; under DeepSpeed 0.19's zero.Init it is
#: `new_empty(values)`.
CPU_CONSTRUCTORS = frozenset(
    {"torch.from_numpy", "torch.frombuffer", "torch.load", *(f"torch.{kind}Tensor" for kind in _TENSOR_TYPES)}
)
#: What makes a tensor on the default device. `linspace` is not among them: while transformers 5 builds a model, it
#: gives tensors on the CPU.
FACTORIES = frozenset(
    f"torch.{name}"
    for name in (
        "tensor", "as_tensor", "asarray", "arange", "logspace", "zeros", "ones", "full", "eye", "rand", "randn",
        "randint", "randperm", "empty", "hann_window", "hamming_window", "kaiser_window", "tril_indices",
        "triu_indices",
    )
)  # fmt: skip
#: Methods, most of them functions in torch's namespace too, that a meta tensor cannot answer.
READS_VALUES = frozenset(
    {"item", "tolist", "numpy", "nonzero", "unique", "cpu", "bincount", "combinations", "masked_select"}
)
#: Methods whose result is where the tensor is.
KEEPS_DEVICE = frozenset(
    {
        "float", "double", "half", "long", "int", "bool", "view", "reshape", "flatten", "squeeze", "unsqueeze",
        "transpose", "permute", "t", "flip", "repeat", "expand", "contiguous", "clone", "detach", "cumsum", "cumprod",
        "prod", "sum", "mean", "max", "min", "abs", "exp", "log", "sqrt", "sin", "cos", "pow", "add", "sub", "mul",
        "div", "tril", "triu", "clamp", "outer", "all", "any",
    }
)  # fmt: skip
#: How the names of classes end that transformers' `from_pretrained` loads.
TRANSFORMERS_MODELS = ("PreTrainedModel", "PretrainedModel", "Model")
#: Names that transformers had before its release 5, whose loads are the first to go through the meta device; code that
#: imports one of them runs with earlier releases only.
GONE_IN_TRANSFORMERS_5 = frozenset(
    {
        "find_pruneable_heads_and_indices", "prune_conv1d_layer", "prune_layer", "isin_mps_friendly", "SinkCache",
        "HybridCache", "OffloadedStaticCache", "is_torch_fx_available", "_compute_default_rope_parameters",
        "is_fa_with_position_ids", "BeamSearchDecoderOnlyOutput", "GreedySearchDecoderOnlyOutput", "BeamScorer",
        "SampleDecoderOnlyOutput", "GreedySearchOutput", "SampleOutput", "is_tf_available", "is_flax_available",
        "SequenceSummary",
    }
)  # fmt: skip
#: Names that its release 5 has brought; code that imports one of them runs with no earlier release.
NEW_IN_TRANSFORMERS_5 = frozenset(
    {
        "RopeParameters", "RotaryEmbeddingConfigMixin", "maybe_autocast", "merge_with_config_defaults",
        "capture_outputs", "use_experts_implementation", "PreTrainedConfig", "TokenizersBackend", "initialization",
    }
)  # fmt: skip
#: Attributes of rotary embeddings of that time, with which code outside transformers computed their frequencies again.
ROTARY_ATTRIBUTES_GONE = frozenset({"rope_init_fn"})
#: Modules of that time.
MODULES_GONE_IN_TRANSFORMERS_5 = (
    "transformers.onnx", "transformers.utils.model_parallel_utils", "transformers.generation_utils",
    "transformers.deepspeed", "transformers.generation.beam_search", "transformers.generation.beam_constraints",
    "transformers.utils.fx", "transformers.modeling_utils.apply_chunking_to_forward",
    "transformers.modeling_utils.PretrainedConfig", "transformers.modeling_utils.prune_linear_layer",
)  # fmt: skip
#: Models of transformers whose trees register rotary frequencies, `inv_freq`, as a non-persistent buffer of float32.
ROTARY_MODELS = lazy_pattern(
    r"^transformers\.(.*\.)?(AutoModelFor(CausalLM|ImageTextToText|Vision2Seq|Multimodal\w+)|"
    r"(Llama|Mi(s|x|nis)tral|Qwen\d|Gemma|PaliGemma|Phi3|GPTNeoX|GptOss|Falcon|Olmo|Deepseek|Glm|Cohere|Granite|"
    r"StableLm|Starcoder2|SmolLM3|SmolVLM|Idefics[23]|Llava|InternVL|EsmModel|EsmFor)\w*)$"
)
