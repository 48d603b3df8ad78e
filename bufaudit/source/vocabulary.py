"""The names by which code speaks of state: which calls walk it, move it, send it, average it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern

if TYPE_CHECKING:
    from bufaudit.source.facts import StateKind

#: Methods of a module that walk its state.
WALKS: dict[str, StateKind] = {
    "parameters": "parameters",
    "named_parameters": "parameters",
    "trainable_parameters": "parameters",
    "buffers": "buffers",
    "named_buffers": "buffers",
    "named_non_persistent_buffers": "buffers",
    "state_dict": "state_dict",
}
#: Those of them that yield pairs of name and tensor.
NAMED_WALKS = frozenset({"named_parameters", "named_buffers", "named_non_persistent_buffers", "state_dict"})
#: Attributes of a module that hold its state by name.
STATE_ATTRIBUTES: dict[str, StateKind] = {"_parameters": "parameters", "_buffers": "buffers"}
#: Functions whose first argument is a module and whose result is its state dict.
STATE_DICT_FUNCTIONS = frozenset({"get_model_state_dict", "get_state_dict", "gather_full_state_dict"})

#: Receivers of `.state_dict()` and `.parameters()` that are no modules.
NO_MODULE = lazy_pattern(
    r"optim|sched|scaler|sampler|loader|tokenizer|processor|rng|lr_|dataset|timer|metric|loss_scal|inspect|signature|sig\b|"
    r"grad_norm|clipper|config|callback|state_tracker|meter",
    re.IGNORECASE,
)

#: Names of variables that hold a checkpoint's entries.
CHECKPOINT_NAME = lazy_pattern(
    r"(^|_|\.)(state_?dicts?|sd|ckpts?|checkpoints?|checkpoint_state|weights|weights?_(iter\w*|dict|list|map)|loaded_\w+|"
    r"pretrained_\w+|saved_\w+|params_to_load|model_state)$|state_?dict$|_sd$|ckpt|checkpoint(_dict|_state|_data)?$",
    re.IGNORECASE,
)
#: Functions that read a checkpoint.
CHECKPOINT_READERS = lazy_pattern(
    r"(^|\.)(torch\.load|safe_open|load_file|safe_load_file|load_safetensors|safetensors\.torch\.load|load_state_dict_from_\w+|"
    r"load_torch_file|load_checkpoint_file|get_tensor|get_slice|load_url|hf_load|get_\w*state_dict\w*from\w*)$"
)
#: Names of maps from a parameter's name to its shape, written down when the state was saved.
SHAPES_NAME = lazy_pattern(r"(^|_|\.)(param(eter)?_shapes?|name_to_shape|param_names?_and_shapes?)$")

#: In-place operations by which a tensor gets another value.
COPIES = frozenset({"copy_", "set_", "swap_"})
INITS = frozenset(
    {
        "fill_",
        "zero_",
        "normal_",
        "uniform_",
        "trunc_normal_",
        "exponential_",
        "random_",
        "bernoulli_",
        "log_normal_",
        "cauchy_",
        "geometric_",
        "clamp_",
        "erfinv_",
    }
)
#: Methods that give another view of the same memory.
ALIASES = frozenset(
    {
        "data",
        "detach",
        "view",
        "view_as",
        "reshape",
        "flatten",
        "T",
        "t",
        "squeeze",
        "unsqueeze",
        "_local_tensor",
    }
)
#: Methods that give the memory under a tensor.
STORAGES = frozenset({"storage", "untyped_storage", "_typed_storage"})
MOVES = frozenset({"to", "cpu", "cuda", "npu", "xpu", "pin_memory", "to_device"})
CASTS = frozenset({"half", "bfloat16", "float", "double", "type", "type_as"})
#: Methods and attributes that give something that is no tensor of state any more.
NO_TENSOR = frozenset(
    {
        "numel", "nelement", "size", "dim", "shape", "dtype", "device", "ndim", "requires_grad",
        "requires_grad_", "data_ptr", "element_size", "is_floating_point", "is_contiguous", "is_cuda",
        "is_leaf", "register_hook", "register_post_accumulate_grad_hook", "stride", "storage_offset",
        "is_meta", "is_sparse", "norm", "abs", "sum", "mean", "std", "isnan", "isinf", "any", "all", "item",
        "min", "max", "var", "tolist", "square", "pow", "is_complex", "nbytes", "get", "items", "keys",
        "values", "grad_fn", "backward", "retain_grad", "layout", "allclose", "equal", "eq",
    }
)  # fmt: skip
#: Functions that tell something of a tensor rather than give it on.
GIVES_NO_TENSOR = lazy_pattern(
    r"^load_(weights|state_dict)$|meta(data)?$|info$|spec$|shape|(^|_)(is|has|should|needs)_|rank|group|names?$|count|numel|size|hash|config|kwargs|key$",
    re.IGNORECASE,
)
GRADIENTS = frozenset({"grad", "main_grad", "grad_fn", "_grad", "grad_sample", "acc_grad"})

COLLECTIVES = frozenset(
    {
        "broadcast", "broadcast_", "all_reduce", "all_reduce_", "all_gather", "all_gather_into_tensor",
        "all_gather_object", "reduce", "scatter", "send", "isend", "gather", "broadcast_object_list",
        "allreduce", "broadcast_coalesced", "_broadcast_coalesced", "_sync_params_and_buffers",
        "broadcast_tensor", "bcast", "broadcast_tensors", "allgather", "allreduce_", "reduce_scatter",
        "sync_tensor",
    }
)  # fmt: skip
#: Calls that write what they are given to a file.
SAVERS = frozenset({"save", "save_file", "save_model", "save_pretrained", "dcp_save", "async_save", "xser_save"})
#: Calls by which ranks wait for each other.
BARRIERS = frozenset({"barrier", "wait_for_everyone", "monitored_barrier"})
#: Calls that hand tensors to another process or engine: RPC, IPC handles, an inference engine's weight update.
ENGINE_SYNC = lazy_pattern(
    r"(^|\.)(load_weights?|update_weights?\w*|update_named_params?|update_named_parameters?|"
    r"update_model_weights?|sync_weights?|push_weights?|send_weights?|receive_weights?|rpc_(sync|async)|reduce_tensor|"
    r"remote|set_weights?|publish_weights?|update_parameter_in_bucket|update_flattened_bucket\w*|put_tensor|"
    r"collective_rpc|broadcast_weights?)$"
)
#: Functions that mix the tensors of their first two iterables.
AVERAGERS = lazy_pattern(
    r"(^|[._])(polyak\w*|soft_?(copy_?)?(target_?)?(net(work)?_?)?(update|sync)\w*|hard_?(target_?)?update\w*|"
    r"ema_?update\w*|update_?ema\w*|moving_?average\w*|update_?(moving_?)?average\w*|"
    r"update_?target\w*|target_?update\w*|lerp\w*|interpolate_?params?\w*|_?mix_?(params?|inplace|weights?|models?)\w*|"
    r"update_?exponential\w*|exponential_?moving\w*|fed_?avg\w*|average_?(models?|params?|weights?)\w*|sync_?target\w*|"
    r"copy_?params?\w*)$",
    re.IGNORECASE,
)
#: Constructors after which a model's state, buffers included, is made equal on all ranks.
RANK_SYNC = frozenset(
    {
        "DistributedDataParallel", "DDP", "sync_module_states", "broadcast_from_rank0", "_sync_module_states",
        "_sync_params_and_buffers", "broadcast_buffers", "FullyShardedDataParallel", "FSDP",
        "sync_bn_buffers", "broadcast_model", "_broadcast_model", "deepspeed", "broadcast_object_list",
        "broadcast_parameters",
    }
)  # fmt: skip

TRAINABLE = frozenset({"requires_grad"})
ADAPTER = lazy_pattern(
    r"(?<![a-z])lora|adapter|peft|prompt_encoder|prefix_tuning|modules_to_save|soft_prompt|_dora|textual_inversion",
    re.IGNORECASE,
)
SHARDED = lazy_pattern(
    r"^(DTensor|ShardedTensor|FlatParameter|_?is_dtensor|is_sharded|ds_id|ds_tensor|ds_status|is_zero_param|has_ds\w*)$"
)
#: BatchNorm's statistics.
STATISTICS = frozenset({"running_mean", "running_var", "num_batches_tracked"})
#: Parts of identifiers, in lower case, that speak of them; `running_mean_std` is that of observations.
STATISTICS_WORDS = (
    "running_mean", "running_var", "running_stats", "num_batches_tracked", "batch_norm_stat", "batchnorm_stat",
    "bn_stat", "bn_update", "update_bn", "precise_bn", "calibrate_bn", "copy_bn", "bn_params",
)  # fmt: skip
_OTHER_STATISTICS = "running_mean_std"
#: Identifiers of functions that do something about a module's buffers, rather than keep experience or bytes.
BUFFER_FUNCTION = lazy_pattern(
    r"buffers|(copy|sync|broadcast|update|load|save|restore|move|set|average|get|apply|handle)_?(module_?)?buffer",
    re.IGNORECASE,
)
OTHER_BUFFER = lazy_pattern(r"register|replay|rollout|experience|trajector|frame|sample|byte|ring|grad", re.IGNORECASE)
PARAMETER_WORD = lazy_pattern(
    r"^(Parameter|_parameters|named_parameters|parameters|param_names|parameter_names|params_dict|is_param\w*)$"
)
#: Attributes that only sharded tensors have.
SHARDED_ATTRIBUTES = frozenset({"device_mesh", "placements", "_spec", "_local_tensor", "to_local", "full_tensor"})

RANK_NAME = lazy_pattern(
    r"(^|_|\.)(get_)?(global_|local_|world_|dp_|data_parallel_|node_|process_)?rank$|get_rank|local_rank|process_index$"
)
RANK_FLAG = lazy_pattern(
    r"^_?(is_|should_)?(local_|world_|global_)*(main_process|rank_?(0|zero)|global_zero|master(_process|_proc|_rank)?|"
    r"process_zero|world_process_zero|is_main|is_first_worker|is_chief|is_leader)\w*$"
)

#: The methods that run by themselves while an object is built.
CONSTRUCTORS = frozenset({"__init__", "__post_init__", "setup"})
#: How the names of initialisers start: what they write is computed again after a load through the meta device.
INITIALISERS = (
    "_init_weight", "init_weight", "reset_", "_reset_", "initialize_", "_initialize_", "init_", "_init_",
    "compute_buffers", "_compute_buffers", "recompute_", "_recompute_", "refresh_buffers", "setup_buffers",
    "rebuild_buffers", "build_rope_cache", "rope_init", "post_init",
)  # fmt: skip

#: Names of containers that hold state.
STATE_CONTAINER = lazy_pattern(
    r"(^|_|\.)(\w*state\w*|sd|\w*_sd|ckpt\w*|checkpoint\w*|snapshot\w*|\w*_?weights?(_dict|_map)?|to_save|to_return|"
    r"\w*tensors?(_dict|_map)?|\w*backup\w*|saved\w*|export\w*|model_dict|flat_?dict|consolidated\w*)$",
    re.IGNORECASE,
)


#: Words of a file in which a copy of a model runs beside it in training.
FOLLOWERS = frozenset({"teacher", "momentum_encoder", "target_encoder"})
#: Said of a file in which a copy that follows a model is put into evaluation mode.
EVALUATED_COPY = "evaluated copy"
_EVALUATION = (".eval()", ".set_training_mode(", ".train(False)", ".train(mode=False)")
_EVALUATED_COPY = lazy_pattern(rf"(?:teacher|target|momentum)\w*\b[^\n]*(?:{'|'.join(map(re.escape, _EVALUATION))})")


def puts_copy_into_evaluation(text: str) -> bool:
    """Whether code puts a teacher or target network into evaluation mode."""
    return any(word in text for word in _EVALUATION) and _EVALUATED_COPY.search(text) is not None


#: What code keeps in float32, or in another dtype than the rest.
_PRECISION = lazy_pattern(r"keep_in_fp32|buffer_dtype|inv_freq|rotary_emb|fp32_modules|fp32_buffers|float32_buffers")
#: Said where a model is a copy of the one in use, is written to a file, or has no values yet.
NOT_LIVE = frozenset({"deepcopy", "init_empty_weights", "merge_and_unload", "meta", "save_file", "save_pretrained"})
#: Methods of a transformers model that is about to be trained, or that generates for its own training.
GOES_ON = frozenset(
    {
        "gradient_checkpointing_enable", "enable_input_require_grads", "get_peft_model", "generate_batch",
        "prepare_model_for_kbit_training",
    }
)  # fmt: skip


#: Marks of a file that trains a model, of one that freezes parameters, which is done to train others, and of one that
#: makes rotary frequencies of another module anew.
TRAINS = "(trains)"
FREEZES = "(freezes)"
RENEWS_FREQUENCIES = "(renews frequencies)"
_TRAINING = lazy_pattern(
    r"\.backward\(|\boptimizer\b|gradient_checkpointing_enable|enable_input_require_grads|"
    r"prepare_model_for_kbit_training|get_peft_model|\w[Ll]oss\(|\.requires_grad\b(?!_|[ \t]*=[ \t]*False)"
)
_FREEZING = lazy_pattern(r"\.requires_grad[ \t]*=[ \t]*False")
_RENEWAL = lazy_pattern(r"(?<!self)\.(\w*inv_freq|rotary_emb)(\.data)?[ \t]*=(?!=)")


def training_marks(code: str) -> set[str]:
    """Whether the code of a file trains a model, or a part of one, and whether it makes rotary frequencies anew."""
    marks = ((TRAINS, _TRAINING), (FREEZES, _FREEZING), (RENEWS_FREQUENCIES, _RENEWAL))
    return {mark for mark, pattern in marks if pattern.search(code)}


def speaks_of_precision(word: str) -> bool:
    """Whether an identifier names what must keep its precision in a model that is cast."""
    return _PRECISION.search(word) is not None


def speaks_of_statistics(word: str) -> bool:
    """Whether an identifier or string names BatchNorm's statistics."""
    return bool(statistics_in(word))


def statistics_in(text: str) -> set[str]:
    """Those of `STATISTICS_WORDS` that a text holds."""
    text = text.lower().replace(_OTHER_STATISTICS, "")
    return {word for word in STATISTICS_WORDS if word in text}


def handles_buffers(word: str) -> bool:
    """Whether a function of this name does something about a module's buffers."""
    return BUFFER_FUNCTION.search(word) is not None and OTHER_BUFFER.search(word) is None


def speaks_of_buffers(word: str) -> bool:
    """Whether an identifier or string in a condition asks for buffers or BatchNorm's statistics."""
    return ("buffer" in word.lower() and OTHER_BUFFER.search(word) is None) or speaks_of_statistics(word)
