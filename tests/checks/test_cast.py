"""What is reported of a cast follows from what the module's tree holds, in whatever file that stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from projects import write

import bufaudit

if TYPE_CHECKING:
    from pathlib import Path

ROTARY = """
    import torch
    from torch import nn
    class Rotary(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.register_buffer("inv_freq", 1.0 / torch.arange(dim), persistent=False)
        def forward(self, x):
            {forward}
"""
MODEL = """
    import torch
    from torch import nn
    from transformers import LlamaForCausalLM
    from .rotary import Rotary
    class Learner(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.part = {part}
            self.to(torch.bfloat16)
"""


def found(folder: Path, files: dict[str, str]) -> list[tuple[str, str, list[str]]]:
    write(folder, {"lib/__init__.py": "", **files})
    findings = bufaudit.scan([folder], select=["BUF402"], min_confidence="low", cache=False).findings
    return [(finding.confidence, finding.message, [note.path for note in finding.related]) for finding in findings]


def of_model(folder: Path, part: str, forward: str = "return x * self.inv_freq") -> list[tuple[str, str, list[str]]]:
    files = {"lib/rotary.py": ROTARY.format(forward=forward), "lib/model.py": MODEL.format(part=part)}
    return found(folder, files)


def test_buffer_of_another_file_is_named_and_shown(tmp_path: Path) -> None:
    [(confidence, message, places)] = of_model(tmp_path, "Rotary(dim)")
    assert confidence == "high"
    assert "`inv_freq` is rounded" in message
    assert [place.rpartition("/")[2] for place in places] == ["rotary.py"]


def test_model_that_is_only_run_has_low_confidence(tmp_path: Path) -> None:
    model = MODEL.format(part="Rotary(dim)").replace("Learner", "Model")
    [(confidence, _, _)] = found(
        tmp_path, {"lib/rotary.py": ROTARY.format(forward="return x * self.inv_freq"), "lib/model.py": model}
    )
    assert confidence == "low"


def test_rotary_model_of_transformers_is_known_by_its_class(tmp_path: Path) -> None:
    [(confidence, message, _)] = of_model(tmp_path, "LlamaForCausalLM(dim)")
    assert confidence == "high"
    assert "the rotary frequencies of `LlamaForCausalLM`" in message


@pytest.mark.parametrize(
    ("part", "forward"),
    [
        ("nn.Linear(dim, dim)", "return x"),
        ("Rotary(dim)", "return x"),
        ("Rotary(dim)", "self.inv_freq = 1.0 / x; return self.inv_freq"),
        ("Rotary(dim)", "return self.inv_freq if self.inv_freq.dtype == torch.float32 else 1.0 / x"),
    ],
)
def test_tree_without_a_buffer_to_lose_is_left_alone(part: str, forward: str, tmp_path: Path) -> None:
    assert of_model(tmp_path, part, forward) == []


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("Engine", "self.model.bfloat16()", ["high"]),
        ("Engine", "self.model.half()", ["low"]),
        ("Engine", "model.bfloat16()", ["medium"]),
        ("Trainer", "model.bfloat16()", ["medium"]),
        ("Trainer", "copy = deepcopy(model); model.bfloat16()", ["low"]),
        ("Demo", "model.enable_input_require_grads(); model.bfloat16()", ["medium"]),
        ("Demo", "model.bfloat16()", ["low"]),
        ("Demo", "self.layer.half()", []),
        ("Demo", "model._keep_in_fp32_modules; model.half()", []),
        ("Engine", "kept = dict(model.named_buffers()); self.model.half()", []),
    ],
)
def test_how_sure_a_cast_of_a_given_model_is(name: str, line: str, expected: list[str], tmp_path: Path) -> None:
    text = f"class {name}:\n    def prepare(self, model):\n        {line}\n"
    assert [confidence for confidence, _, _ in found(tmp_path, {"lib/engine.py": text})] == expected
