"""What a user may name, and what it stands for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bufaudit.errors import BufauditError
from bufaudit.tracing.targets import Request, Target, has_own_code, resolve
from tests.tracing.folders import write_model

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("transformers")


def names(text: str, **options: Any) -> list[str]:
    return [target.class_name for target in resolve(Request(text, **options))]


def complaint(text: str, **options: Any) -> str:
    with pytest.raises(BufauditError) as raised:
        resolve(Request(text, **options))
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("text", ["deepseek_v3", "deepseek-v3", "DeepSeek-V3"])
def test_a_model_type_is_its_base_and_all_that_have_a_head(text: str) -> None:
    found = names(text)
    assert found[:2] == ["DeepseekV3Model", "DeepseekV3ForCausalLM"]
    assert not [name for name in found if "PreTrained" in name]


def test_parts_of_other_model_types_are_left_out() -> None:
    """The text model has a model type of its own."""
    assert set(names("gemma3")) >= {"Gemma3Model", "Gemma3ForConditionalGeneration"}
    assert not {"Gemma3TextModel", "Gemma3ForCausalLM"} & set(names("gemma3"))
    assert names("gemma3_text")[:2] == ["Gemma3TextModel", "Gemma3ForCausalLM"]


def test_one_class_of_a_model_type() -> None:
    assert names("bert", class_name="BertForMaskedLM") == ["BertForMaskedLM"]
    assert "did you mean BertForMaskedLM?" in complaint("bert", class_name="BertForMaskedLm")


def test_a_part_takes_its_config_from_the_whole() -> None:
    (target,) = resolve(Request("gemma3", class_name="Gemma3ForCausalLM"))
    assert target.config is not None
    assert (target.config.config_class.partition(":")[2], target.config.part) == ("Gemma3Config", "text_config")


def test_a_class_of_transformers() -> None:
    assert names("MobileNetV2Model") == ["MobileNetV2Model"]
    assert "--class goes with" in complaint("MobileNetV2Model", class_name="MobileNetV2Model")


@pytest.mark.parametrize(
    ("text", "suggestion"), [("gemma33", "gemma3"), ("MobilNetV2Model", "MobileNetV2Model"), ("llama-3", "llama")]
)
def test_a_mistyped_name_gets_a_suggestion(text: str, suggestion: str) -> None:
    assert complaint(text).startswith(f'there is no model type or class "{text}"; did you mean {suggestion}')


def test_a_config_file_decides_for_the_part_too(tmp_path: Path) -> None:
    from transformers import Gemma3Config

    path = tmp_path / "config.json"
    path.write_text(json.dumps(Gemma3Config(text_config={"hidden_size": 64}).to_diff_dict(), default=str))
    (target,) = resolve(Request("Gemma3ForCausalLM", config=path))
    assert target.config is not None
    assert target.config.part == "text_config"
    message = "BertModel is configured by BertConfig, and Gemma3Config has no part of that kind"
    assert complaint("BertModel", config=path) == message


def test_a_plain_module() -> None:
    (target,) = resolve(Request("torch.nn:BatchNorm1d", settings={"num_features": 4}))
    assert target == Target(
        "torch.nn:BatchNorm1d", "torch.nn.modules.batchnorm:BatchNorm1d", arguments={"num_features": 4}
    )


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("torch.nn:Linear", {}, "needs in_features, out_features; give --set in_features=VALUE"),
        ("torch.nn:Linear", {"in_feature": 1}, 'no option "in_feature"; did you mean in_features?'),
        ("torch.nn:Linera", {}, 'there is no class in torch.nn "Linera"; did you mean Linear?'),
        ("no_such.module:Model", {}, "there is no module no_such; is it on PYTHONPATH?"),
        ("json:JSONDecoder", {}, "json:JSONDecoder is no torch.nn.Module class"),
    ],
)
def test_mistakes_with_plain_modules(text: str, settings: dict[str, int], message: str) -> None:
    assert message in complaint(text, settings=settings)


def test_a_module_that_fails_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_module.py").write_text("import no_such_package_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "failing_module cannot be imported: ModuleNotFoundError" in complaint("failing_module:Model")


def test_a_directory(tmp_path: Path) -> None:
    config = {"model_type": "bert", "architectures": ["BertForMaskedLM"], "num_hidden_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (target,) = resolve(Request(str(tmp_path), settings={"num_attention_heads": 4}))
    assert (target.class_name, target.folder) == ("BertForMaskedLM", tmp_path)
    assert names(str(tmp_path), class_name="BertModel") == ["BertModel"]
    assert complaint(str(tmp_path / "missing")).startswith('there is no directory "')


def test_a_directory_without_a_model(tmp_path: Path) -> None:
    assert "config.json is no model configuration: No such file" in complaint(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "no_such_type"}')
    assert "names the model type no_such_type, which transformers" in complaint(str(tmp_path))


def test_code_of_a_directory_is_refused_and_not_run(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", before=f"open({str(tmp_path / 'ran')!r}, 'w')")
    request = Request(str(folder))
    assert has_own_code(request)
    assert "add --trust-remote-code" in complaint(str(folder))
    assert not (tmp_path / "ran").exists()


def test_a_name_of_transformers_is_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that happens to be called like a model type is named with a path."""
    write_model(tmp_path / "bert")
    monkeypatch.chdir(tmp_path)
    assert not has_own_code(Request("bert"))
    assert has_own_code(Request("./bert"))
