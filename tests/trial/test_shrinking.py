"""Configs that get smaller and stay valid, with every kind of module and tensor."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bufaudit.tracing.configs import load_class
from bufaudit.trial.models import build_on_meta
from bufaudit.trial.shrinking import shrunk

#: A few that are hard in different ways: lists of stages, experts, a composite, layers of several kinds, a codec.
HARD = (
    "resnet.modeling_resnet:ResNetForImageClassification",
    "levit.modeling_levit:LevitForImageClassification",
    "deepseek_v3.modeling_deepseek_v3:DeepseekV3ForCausalLM",
    "nemotron_h.modeling_nemotron_h:NemotronHForCausalLM",
    "rt_detr.modeling_rt_detr:RTDetrForObjectDetection",
    "gemma4.modeling_gemma4:Gemma4AudioModel",
    "encodec.modeling_encodec:EncodecModel",
    "bart.modeling_bart:BartForConditionalGeneration",
    "pp_ocrv5_mobile_det.modeling_pp_ocrv5_mobile_det:PPOCRV5MobileDetForObjectDetection",
)


def class_of(name: str) -> Any:
    try:
        return load_class(f"transformers.models.{name}")
    except ImportError:
        pytest.skip("this release does not have it")


def kinds_of(model: torch.nn.Module) -> set[tuple[str, str]]:
    """Each kind of module with each buffer that it has."""
    return {
        (type(module).__name__, name) for module in model.modules() for name in ("", *module._buffers)
    }  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_small_models_have_every_kind_of_module_and_buffer(name: str) -> None:
    model_class = class_of(name)
    config = model_class.config_class()
    small = shrunk(model_class, config)
    model = build_on_meta(model_class, small.config)
    assert kinds_of(model) == kinds_of(build_on_meta(model_class, config))
    assert sum(parameter.numel() for parameter in model.parameters()) <= small.elements < 4_000_000
    assert all(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
    assert small.notes


@pytest.mark.parametrize("name", ("bart.modeling_bart:BartForConditionalGeneration",
                                  "deepseek_v3.modeling_deepseek_v3:DeepseekV3ForCausalLM",
                                  "apertus.modeling_apertus:ApertusForCausalLM"))  # fmt: skip
def test_small_models_run(name: str) -> None:
    model_class = class_of(name)
    model = model_class(shrunk(model_class, model_class.config_class()).config)
    assert model(torch.tensor([[3, 4, 5]])).logits.shape[:2] == (1, 3)


def test_the_outcome_is_the_same_each_time() -> None:
    model_class = class_of(HARD[0])
    one, other = (shrunk(model_class, model_class.config_class()).config.to_dict() for _ in range(2))
    assert one == other


def test_pinned_options_stay() -> None:
    model_class = class_of("bart.modeling_bart:BartForConditionalGeneration")
    config = model_class.config_class(d_model=512, encoder_layers=5)
    small = shrunk(model_class, config, frozenset({"d_model", "encoder_layers"})).config
    assert (small.d_model, small.encoder_layers) == (512, 5)
    assert small.decoder_layers < 5 and small.vocab_size < 1000


def test_a_small_config_is_left_alone() -> None:
    model_class = class_of(HARD[0])
    config = model_class.config_class(embedding_size=4, hidden_sizes=[4, 8, 8, 8], depths=[1, 1, 1, 1])
    small = shrunk(model_class, config)
    assert small.config is config and small.notes == ()
