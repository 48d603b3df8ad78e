"""Configs from recipes: what a user sets arrives, with what its class computes from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bufaudit.errors import BufauditError
from bufaudit.tracing.configs import ConfigRecipe, make_config, part_of_kind, qualified, read_config

pytest.importorskip("transformers")

GEMMA3 = "transformers:Gemma3Config"


def made(config_class: str, **settings: Any) -> Any:
    return make_config(ConfigRecipe(f"transformers:{config_class}", settings=settings))


def test_each_config_is_fresh() -> None:
    """A constructor that changes its config must not reach the next one."""
    recipe = ConfigRecipe("transformers:GPT2Config", {"task_specific_params": {"a": [1]}})
    first = make_config(recipe)
    first.task_specific_params["a"].append(2)
    first.n_layer = 99
    second = make_config(recipe)
    assert (second.n_layer, second.task_specific_params) == (12, {"a": [1]})


def test_an_option_is_known_by_both_of_its_names() -> None:
    assert made("GPT2Config", num_hidden_layers=3).n_layer == made("GPT2Config", n_layer=3).n_layer == 3


def test_a_sub_config_keeps_what_is_not_set() -> None:
    """LLaVA's vision tower differs from the defaults of its class."""
    usual = made("LlavaConfig")
    config = make_config(ConfigRecipe("transformers:LlavaConfig", settings={"vision_config.num_hidden_layers": 1}))
    assert config.vision_config.num_hidden_layers == 1
    assert type(config.vision_config) is type(usual.vision_config)
    assert config.vision_config.image_size == usual.vision_config.image_size != type(usual.vision_config)().image_size


def test_the_class_computes_what_follows_from_a_setting() -> None:
    config = make_config(ConfigRecipe(GEMMA3, settings={"text_config.num_hidden_layers": 2}))
    assert len(config.text_config.layer_types) == 2


def test_lists_of_a_file_are_cut_to_a_smaller_depth() -> None:
    values = json.loads(make_config(ConfigRecipe(GEMMA3)).to_json_string(use_diff=False))
    assert len(values["text_config"]["layer_types"]) == values["text_config"]["num_hidden_layers"] == 26
    config = make_config(ConfigRecipe(GEMMA3, values, {"text_config.num_hidden_layers": 2}))
    assert len(config.text_config.layer_types) == 2
    assert len(values["text_config"]["layer_types"]) == 26


def test_settings_may_speak_of_a_part_or_of_the_whole() -> None:
    for key in ("num_hidden_layers", "text_config.num_hidden_layers"):
        config = make_config(ConfigRecipe(GEMMA3, settings={key: 2}, part="text_config"))
        assert (type(config).__name__, config.num_hidden_layers) == ("Gemma3TextConfig", 2)


@pytest.mark.parametrize(
    ("config_class", "key", "suggestion"),
    [
        ("BertConfig", "num_hiden_layers", "num_hidden_layers"),
        ("Gemma3Config", "text_config.num_hidden_layer", "text_config.num_hidden_layers"),
        ("Gemma3Config", "txt_config.num_hidden_layers", "text_config"),
    ],
)
def test_an_unknown_option_gets_a_suggestion(config_class: str, key: str, suggestion: str) -> None:
    with pytest.raises(BufauditError) as raised:
        make_config(ConfigRecipe(f"transformers:{config_class}", settings={key: 1}))
    assert str(raised.value) == f'{config_class} has no option "{key}"; did you mean {suggestion}?'


def test_sub_configs_without_a_default_are_named_by_their_type() -> None:
    settings = {"encoder.model_type": "bert", "decoder.model_type": "bert", "encoder.num_hidden_layers": 2}
    config = make_config(ConfigRecipe("transformers:EncoderDecoderConfig", settings=settings))
    assert (type(config.encoder).__name__, config.encoder.num_hidden_layers) == ("BertConfig", 2)


def test_parts_are_found_at_any_depth() -> None:
    from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniConfig, Qwen2_5OmniTextConfig

    assert part_of_kind(Qwen2_5OmniConfig(), Qwen2_5OmniTextConfig) == "thinker_config.text_config"
    assert part_of_kind(Qwen2_5OmniConfig(), Path) is None
    assert qualified(Qwen2_5OmniTextConfig).endswith(".configuration_qwen2_5_omni:Qwen2_5OmniTextConfig")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"{", "not JSON"), (b"[]", "not a JSON object"), (b"\xff", "not JSON")],
)
def test_a_broken_file_is_one_line(content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BufauditError, match=reason) as raised:
        read_config(path)
    assert len(str(raised.value).splitlines()) == 1


def test_a_file_does_not_say_which_kernels_run() -> None:
    """A kernel may be code that is downloaded; the user says so or nobody does."""
    values = {"attn_implementation": "some/kernel", "text_config": {"_attn_implementation": "some/kernel"}}
    config = make_config(ConfigRecipe(GEMMA3, values))
    assert (config._attn_implementation, config.text_config._attn_implementation) == (None, None)
    assert values["attn_implementation"] == "some/kernel"
