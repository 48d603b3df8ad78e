"""`from_pretrained` as the probe sees it is what it does to values: of real models, and of ours that get it wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from agreement import disagreements  # noqa: E402
from probe_vs_verify import path_record  # noqa: E402

from bufaudit.outcomes import LOSSES  # noqa: E402
from bufaudit.tracing.configs import ConfigRecipe, qualified  # noqa: E402
from bufaudit.tracing.targets import Target  # noqa: E402
from bufaudit.tracing.trace import trace_model  # noqa: E402
from bufaudit.trial import Trial, verify_models  # noqa: E402
from bufaudit.trial.poison import poisoned_memory  # noqa: E402
from bufaudit.trial.shrinking import shrunk  # noqa: E402
from tests.tracing import models_of_ours as ours  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from bufaudit.outcomes import ModelReport, PathReport

PATH = ("from_pretrained",)


def probed(target: Target) -> PathReport:
    report = trace_model(target, PATH)
    assert report.error is None
    (path,) = report.paths
    assert (path.error, path.untraced) == (None, None)
    return path


# --- real models, in this process: values written, saved, loaded and looked at


REAL = (
    *("LlamaForCausalLM", "DeepseekV3ForCausalLM", "Gemma3ForConditionalGeneration", "ApertusForCausalLM"),
    *("MobileNetV2Model", "LevitModel", "SwinModel", "SegformerModel", "ClapModel", "BartForConditionalGeneration"),
    *("EncodecModel", "Wav2Vec2ConformerModel", "PatchTSTForPrediction", "MarianMTModel", "RoFormerModel"),
)


def state_of(model: Any) -> dict[str, Any]:
    return dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))


def differing(one: Any, other: Any) -> set[str]:
    """The names whose values differ between two models that have the same names."""
    first, second = state_of(one), state_of(other)
    assert first.keys() == second.keys()
    return {name for name, value in first.items() if not same(value, second[name])}


def same(one: Any, other: Any) -> bool:
    """To the last digits but a few: a table computed on another device, or twice, may end in others."""
    return bool(one.shape == other.shape and torch.allclose(one.double(), other.double(), equal_nan=True))


def change_everything_saved(model: Any) -> None:
    """Give what a checkpoint has of a model values that no initialiser gives."""
    left_out = [re.compile(pattern) for pattern in model._keys_to_ignore_on_save or ()]
    saved = {name for name in model.state_dict() if not any(pattern.search(name) for pattern in left_out)}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if name in saved:
            tensor.data = ~tensor.data if tensor.dtype == torch.bool else tensor.data + 3


@pytest.mark.parametrize("name", REAL)
def test_a_real_model(name: str, tmp_path: Path) -> None:
    model_class = getattr(transformers, name)
    config = shrunk(model_class, model_class.config_class()).config
    torch.manual_seed(0)
    model = model_class(config)
    change_everything_saved(model)
    model.save_pretrained(tmp_path)
    with poisoned_memory():
        loaded = model_class.from_pretrained(tmp_path)
    recipe = ConfigRecipe(qualified(type(config)), config.to_dict())
    path = probed(Target(name, qualified(model_class), recipe))
    assert {tensor.name for tensor in path.tensors} == set(state_of(model))
    assert {tensor.name for tensor in path.tensors if tensor.verdict in LOSSES} == differing(model, loaded)


# --- models of ours, put to verify as well


#: What is not kept, or not as it was made.
EXPECTED = {
    ours.Forgotten: {"table": "uninitialised"},
    ours.Restored: {"table": "restored"},
    ours.RestoredByAssignment: {"table": "restored"},
    ours.RestoredInPart: {"table": "uninitialised"},
    ours.RestoredUnderAnotherName: {"table": "uninitialised"},
    ours.OneOfTwo: {"rotary.inv_freq": "restored", "rotary.original": "uninitialised"},
    ours.LegacyConstructor: {"weights": "uninitialised"},
    ours.FromNumpy: {"bank": "uninitialised"},
    ours.Expanded: {"token_type_ids": "uninitialised"},
    ours.InitialisedAgain: {"bound": "overwritten", "table": "restored"},
    ours.Normed: {},
    ours.LeftOut: {"derived": "absent"},
    ours.Tied: {},
}


def target_of(kind: type) -> Target:
    return Target(kind.__name__, qualified(kind), ConfigRecipe(qualified(ours.OurConfig)))


@pytest.fixture(scope="module")
def verified() -> dict[type, ModelReport]:
    reports = verify_models([target_of(kind) for kind in EXPECTED], Trial(paths=PATH)).models
    return dict(zip(EXPECTED, reports, strict=True))


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_model_of_ours(kind: type) -> None:
    others = {each.name: each.verdict for each in probed(target_of(kind)).tensors if each.verdict != "kept"}
    assert others == EXPECTED[kind]


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXPECTED)
def test_real_ranks_say_the_same(kind: type, verified: dict[type, ModelReport]) -> None:
    report = verified[kind]
    assert report.error is None
    (path,) = report.paths
    assert disagreements(path_record(path), probed(target_of(kind))) == []
