"""Load paths get the verdicts that they deserve, whatever shape their code has."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from bufaudit.outcomes import KINDS, PathReport  # noqa: E402
from bufaudit.tracing import checkpoint as checkpoints  # noqa: E402
from bufaudit.tracing.build import on_meta  # noqa: E402
from bufaudit.tracing.paths import LoaderError, UnknownPathError  # noqa: E402
from bufaudit.tracing.targets import Request, resolve  # noqa: E402
from bufaudit.tracing.trace import trace_model  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator


BUFFERS = ("norm.running_mean", "norm.running_var", "norm.num_batches_tracked")
PARAMETERS = ("linear.weight", "linear.bias", "norm.weight", "norm.bias")


@pytest.fixture(autouse=True)
def _loaders_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    yield
    sys.modules.pop("loaders", None)


def traced(path: str, target: str = "loaders:Block", world_size: int = 2, **settings: Any) -> PathReport:
    (found,) = resolve(Request(target, settings=settings))
    report = trace_model(found, [path], world_size)
    assert report.error is None
    return report.paths[0]


def verdicts(report: PathReport) -> dict[str, str]:
    return {tensor.name: tensor.verdict for tensor in report.tensors}


@pytest.mark.parametrize(
    ("loader", "of_parameters", "of_buffers", "of_table"),
    [
        ("whole", "kept", "kept", "restored"),
        ("assigned", "kept", "kept", "restored"),
        ("parameters_only", "kept", "dropped", "restored"),
        ("data_of_parameters_only", "kept", "dropped", "restored"),
        ("on_one_rank", "diverged", "diverged", "restored"),
        ("buffers_on_one_rank", "kept", "diverged", "restored"),
        ("broadcast_from_one_rank", "kept", "kept", "restored"),
        ("broadcast_as_objects", "kept", "kept", "restored"),
        ("parameters_broadcast", "kept", "diverged", "restored"),
        ("in_chunks", "kept", "kept", "restored"),
        ("sharded_reads", "kept", "kept", "restored"),
        ("scattered", "kept", "kept", "restored"),
        ("swapped", "kept", "kept", "restored"),
        ("rebound", "kept", "kept", "restored"),
        ("emptied", "kept", "kept", "uninitialised"),
        ("reset_afterwards", "kept", "overwritten", "restored"),
        ("zeroed_in_one_call", "kept", "overwritten", "restored"),
        ("in_one_call", "kept", "kept", "restored"),
        ("made_anew", "kept", "kept", "restored"),
        ("in_a_thread", "kept", "kept", "restored"),
        ("in_a_pool", "kept", "kept", "restored"),
        ("broadcast_in_a_thread", "kept", "kept", "restored"),
        ("sent_and_received", "kept", "kept", "restored"),
        ("gathered_as_objects", "kept", "kept", "restored"),
        ("into_a_model_on_meta", "uninitialised", "uninitialised", "uninitialised"),
    ],
)
def test_loaders_of_many_shapes(loader: str, of_parameters: str, of_buffers: str, of_table: str) -> None:
    found = verdicts(traced(f"loaders:{loader}"))
    expected = dict.fromkeys(PARAMETERS, of_parameters) | dict.fromkeys(BUFFERS, of_buffers) | {"table": of_table}
    assert found == expected


def test_a_partial_write_is_not_kept() -> None:
    by_name = {tensor.name: tensor for tensor in traced("loaders:first_half_only").tensors}
    assert by_name["norm.running_mean"].verdict == "dropped"
    assert by_name["norm.running_mean"].partial
    assert by_name["norm.num_batches_tracked"].verdict == "kept"
    assert not by_name["norm.num_batches_tracked"].partial


def test_what_initialises_again_is_named() -> None:
    lost = [tensor for tensor in traced("loaders:reset_afterwards").tensors if tensor.lost]
    assert all("loaders.py:" in (tensor.reason or "") for tensor in lost)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_any_number_of_ranks(world_size: int) -> None:
    report = traced("loaders:on_one_rank", world_size=world_size)
    assert {tensor.ranks for tensor in report.tensors if tensor.name in BUFFERS} == {
        ("kept", *["dropped"] * (world_size - 1))
    }


def test_a_loader_that_raises_is_never_kept() -> None:
    report = traced("loaders:raising")
    assert report.error is not None
    assert (report.error.type, report.error.message) == ("ValueError", "no such checkpoint")
    assert (report.error.at or "").startswith("loaders.py:")
    assert set(verdicts(report).values()) == {"raised"}


def test_ranks_that_disagree_raise() -> None:
    report = traced("loaders:disagreeing")
    assert report.error is not None
    assert "ranks disagree" in report.error.message


def test_what_needs_values_is_untraced_with_the_reason() -> None:
    report = traced("loaders:reading_values")
    assert "reads the value" in (report.untraced or "")
    assert set(verdicts(report).values()) == {"untraced"}
    assert not report.lossy


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("loaders:parameters_onyl", 'there is no "parameters_onyl" in loaders; did you mean parameters_only?'),
        ("loaders:Block.missing", 'there is no "Block.missing" in loaders'),
        ("loaders:__name__", "loaders:__name__ is no function"),
        ("loaders:", 'there is no "" in loaders'),
        (":load", "cannot be imported: ValueError"),
        ("no_such_module:load", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_loader_that_is_not_there_is_a_mistake(path: str, message: str) -> None:
    """A run that followed nothing must never read as a clean one."""
    with pytest.raises(LoaderError, match=re.escape(message)):
        traced(path)


def test_a_path_that_nothing_is_called_by_is_an_error() -> None:
    with pytest.raises(UnknownPathError, match=r"known are zero3, from_pretrained, params-only"):
        traced("zero4")


def test_plain_modules_have_no_from_pretrained() -> None:
    assert "no model of transformers" in (traced("from_pretrained").untraced or "")


def test_a_checkpoint_that_lacks_keys_gives_absent() -> None:
    (target,) = resolve(Request("loaders:Block"))
    whole = checkpoints.plain(on_meta(target).model)
    less = checkpoints.without_keys(whole, ["norm.running_mean", "linear.bias"])
    tensors = trace_model(target, ["loaders:present"], checkpoint=less).paths[0].tensors
    outcomes = {tensor.name: tensor.verdict for tensor in tensors}
    assert outcomes["norm.running_mean"] == outcomes["linear.bias"] == "absent"
    assert outcomes["norm.running_var"] == outcomes["linear.weight"] == "kept"


def test_tied_tensors_share_their_outcome() -> None:
    found = verdicts(traced("loaders:embedding_only", "loaders:Tied"))
    assert found == {"embed.weight": "kept", "head.weight": "kept"}


# --- transformers

TINY_APERTUS = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64, "vocab_size": 64}
TINY_APERTUS |= {"num_attention_heads": 2, "num_key_value_heads": 2}

OF_TEXT = {"hidden_size": 72, "head_dim": 2, "swa_head_dim": 2, "moe_intermediate_size": 36, "vocab_size": 96}
OF_TEXT |= {"num_attention_heads": 48, "num_key_value_heads": 8, "swa_num_attention_heads": 48}
OF_TEXT |= {"swa_num_key_value_heads": 8, "n_routed_experts": 8, "num_experts_per_tok": 8, "unpadded_vocab_size": 96}
OF_TEXT |= {"num_hidden_layers": 6, "n_layers_per_attn_res_block": 6, "eos_token_id": 95}
LAYERS = [*["hybrid_sliding"] * 5, "hybrid"]
SMALL_INKLING2 = {f"text_config.{name}": value for name, value in (OF_TEXT | {"layer_types": LAYERS}).items()}
SMALL_INKLING2 |= {"image_token_id": 95, "vision_config.text_hidden_size": 72}


def test_zero3_of_this_release_keeps_everything() -> None:
    report = traced("zero3", "ApertusModel", **TINY_APERTUS)
    assert report.error is None
    assert report.verdicts["persistent_buffer"] == {"kept": 4}
    assert (report.loader or "").startswith("transformers/integrations/deepspeed.py:")


def _changed_loader(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """Transformers' ZeRO-3 loader with a line of its source changed."""
    from transformers import modeling_utils
    from transformers.integrations import deepspeed

    source = inspect.getsource(deepspeed._load_state_dict_into_zero3_model)
    assert old in source
    scope = vars(deepspeed).copy()
    exec(compile(source.replace(old, new), deepspeed.__file__, "exec"), scope)
    monkeypatch.setattr(modeling_utils, "_load_state_dict_into_zero3_model", scope["_load_state_dict_into_zero3_model"])


def test_without_its_broadcast_nothing_of_a_buffer_is_kept_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    _changed_loader(monkeypatch, "torch.distributed.broadcast(value, src=0)", "pass")
    report = traced("zero3", "ApertusModel", **TINY_APERTUS)
    assert "kept" not in report.verdicts["persistent_buffer"]
    assert {tensor.ranks[0] for tensor in report.tensors if tensor.kind == "persistent_buffer"} == {"kept"}


def test_without_its_mark_a_buffer_is_initialised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _changed_loader(monkeypatch, "buf._is_hf_initialized = True", "pass")
    report = traced("zero3", "MobileNetV2Model")
    assert report.verdicts["persistent_buffer"] == {"overwritten": 156}


def test_reading_a_tensor_that_has_only_a_shape_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    _changed_loader(
        monkeypatch, "value = torch.empty(value.shape, dtype=value.dtype, device=device)", "value = value.to(device)"
    )
    report = traced("zero3", "ApertusModel", **TINY_APERTUS)
    assert report.error is not None
    assert "Cannot copy out of meta tensor" in report.error.message
    assert "kept" not in report.verdicts["persistent_buffer"]


@pytest.mark.parametrize(
    "target",
    [
        "ResNetForImageClassification",
        "Wav2Vec2ConformerModel",
        "SpeechT5ForSpeechToText",
        "EncodecModel",
        "FastSpeech2ConformerModel",
    ],
)
def test_what_raises_on_real_ranks_raises_here(target: str) -> None:
    report = traced("zero3", target)
    assert report.error is not None
    assert {verdict for kind in KINDS for verdict in report.verdicts[kind]} <= {"raised"}


def test_a_model_that_is_quantised_passes_the_zero3_loader_by_and_is_followed() -> None:
    """Its default config asks for a quantiser, and transformers then loads as it does without ZeRO-3."""
    pytest.importorskip("accelerate", reason="the quantiser needs it")
    report = traced("zero3", "Inkling2ForConditionalGeneration", **SMALL_INKLING2)
    assert (report.error, report.untraced) == (None, None)
    assert report.verdicts["persistent_buffer"] == {"kept": 6}
    assert set(report.verdicts["parameter"]) == {"kept"}


def test_nothing_stays_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist
    from transformers import PreTrainedModel, modeling_utils
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    def seen() -> list[Any]:
        owners = [torch, torch.nn.init, torch.nn.Module, torch.nn.Linear, torch.UntypedStorage, modeling_utils]
        return [dict(vars(owner)) for owner in (*owners, PreTrainedModel, dist.distributed_c10d)]

    traced("zero3", "ApertusModel", **TINY_APERTUS)
    before, modules = seen(), {name for name in sys.modules if name.startswith("deepspeed")}
    for path in ("zero3", "from_pretrained", "params-only"):
        for target in ("ResNetModel", "ApertusModel"):
            traced(path, target)
    after = seen()
    for old, new in zip(before, after, strict=True):
        assert {name for name in old.keys() | new.keys() if old.get(name) is not new.get(name)} <= {"_SESSION_ID"}
    assert {name for name in sys.modules if name.startswith("deepspeed")} == modules
    assert not is_deepspeed_zero3_enabled()
    assert not dist.is_initialized()


def test_a_reader_that_is_not_known_is_untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import PreTrainedModel

    def elsewhere(cls: Any, *args: Any, **kwargs: Any) -> Any:
        return cls(kwargs["config"] if "config" in kwargs else cls.config_class(**TINY_APERTUS))

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", classmethod(elsewhere))
    for path in ("zero3", "from_pretrained"):
        assert "does not load through" in (traced(path, "ApertusModel", **TINY_APERTUS).untraced or "")


def test_an_entry_point_that_is_not_there_is_untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import modeling_utils

    monkeypatch.delattr(modeling_utils, "_load_state_dict_into_zero3_model")
    assert "_load_state_dict_into_zero3_model" in (traced("zero3", "ApertusModel", **TINY_APERTUS).untraced or "")


def test_a_release_that_is_not_known_is_untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    monkeypatch.setattr(transformers, "__version__", "4.40.0")
    assert "4.40.0 is not known" in (traced("zero3", "ApertusModel", **TINY_APERTUS).untraced or "")
