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
    class Model(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.part = {part}
            self.to({dtype})
        def fit(self, x):
            {training}
"""


def found(folder: Path, files: dict[str, str]) -> list[tuple[str, str, list[str]]]:
    write(folder, {"lib/__init__.py": "", **files})
    findings = bufaudit.scan([folder], select=["BUF402"], min_confidence="low", cache=False).findings
    return [(finding.confidence, finding.message, [note.path for note in finding.related]) for finding in findings]


def of_model(
    folder: Path,
    part: str,
    forward: str = "return x * self.inv_freq",
    *,
    training: str = "self(x).backward()",
    dtype: str = "torch.bfloat16",
) -> list[tuple[str, str, list[str]]]:
    model = MODEL.format(part=part, training=training, dtype=dtype)
    return found(folder, {"lib/rotary.py": ROTARY.format(forward=forward), "lib/model.py": model})


@pytest.mark.parametrize(
    ("training", "dtype", "expected"),
    [
        ("self(x).backward()", "torch.bfloat16", "high"),
        ("self(x).backward()", "torch.float16", "medium"),
        ("self(x).backward()", "torch.bfloat16 if dim else torch.float32", "low"),
        ("self(x).backward()", "torch.bfloat16)  # buffers as well\n            print(dim", "low"),
        ("return self(x)", "torch.bfloat16", "low"),
        ("return self(x)  # no optimizer", "torch.bfloat16", "low"),
        ("self(x).backward(); self.part.inv_freq = x", "torch.bfloat16", "low"),
    ],
)
def test_cast_of_a_known_tree_is_sure_where_it_is_trained_in_that_dtype(
    training: str, dtype: str, expected: str, tmp_path: Path
) -> None:
    problems = of_model(tmp_path, "Rotary(dim)", training=training, dtype=dtype)
    assert [confidence for confidence, _, _ in problems] == [expected]


def test_buffer_of_another_file_is_named_and_shown(tmp_path: Path) -> None:
    [(confidence, message, places)] = of_model(tmp_path, "Rotary(dim)")
    assert confidence == "high"
    assert "`inv_freq` is rounded" in message
    assert [place.rpartition("/")[2] for place in places] == ["rotary.py"]


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
        ("Engine", "self.model.bfloat16(); self.optimizer = None", ["medium"]),
        ("Engine", "self.model.bfloat16()", ["low"]),
        ("Engine", "self.model.half(); self.optimizer = None", ["low"]),
        ("Engine", "model.bfloat16()", ["low"]),
        ("Engine", "model.enable_input_require_grads(); model.bfloat16()", ["medium"]),
        ("Engine", "other.enable_input_require_grads(); model.bfloat16()", ["low"]),
        ("Engine", "other = get_peft_model(model); model.bfloat16()", ["medium"]),
        ("Engine", "self.model.to(self.dtype); self.optimizer = None", ["low"]),
        ("Engine", "dtype = given or torch.bfloat16\n        self.model.to(dtype); self.optimizer = None", ["medium"]),
        ("Engine", "self.model.tower.transformer.bfloat16(); self.optimizer = None", ["low"]),
        ("Profiler", "model.enable_input_require_grads(); model.bfloat16()", ["low"]),
        ("Trainer", "model.bfloat16(); self.optimizer = None", ["low"]),
        ("Trainer", "model = deepcopy(model); model.bfloat16(); self.optimizer = None", ["low"]),
        ("Trainer", "model.bfloat16(); model.save_pretrained(self.optimizer)", ["low"]),
        ("Demo", "model.enable_input_require_grads(); model.bfloat16()", ["medium"]),
        ("Demo", "model.half()", ["low"]),
        ("Demo", "self.layer.half()", []),
        ("Demo", "model._keep_in_fp32_modules; model.half()", []),
        ("Engine", "kept = dict(model.named_buffers()); self.model.half()", []),
    ],
)
def test_how_sure_a_cast_of_a_given_model_is(name: str, line: str, expected: list[str], tmp_path: Path) -> None:
    text = f"import transformers\nclass {name}:\n    def prepare(self, model):\n        {line}\n"
    assert [confidence for confidence, _, _ in found(tmp_path, {"lib/engine.py": text})] == expected


@pytest.mark.parametrize(
    ("name", "other", "expected"),
    [("build", "", "low"), ("build", "from .engine import build", "medium"), ("export", "export", "low")],
)
def test_function_without_a_caller_or_that_does_not_train_is_hardly_sure(
    name: str, other: str, expected: str, tmp_path: Path
) -> None:
    text = f"import peft\ndef {name}(model):\n    model.enable_input_require_grads()\n    model.bfloat16()\n"
    problems = found(tmp_path, {"lib/engine.py": text, "lib/other.py": f"{other}\n"})
    assert [confidence for confidence, _, _ in problems] == [expected]


@pytest.mark.parametrize(("other", "expected"), [("", "low"), ("inv_freq = None", "medium")])
def test_package_without_rotary_frequencies_has_little_to_lose(other: str, expected: str, tmp_path: Path) -> None:
    text = "class Engine:\n    def prepare(self):\n        self.model.bfloat16(); self.optimizer = None\n"
    [(confidence, _, _)] = found(tmp_path, {"lib/__init__.py": "", "lib/engine.py": text, "lib/other.py": f"{other}\n"})
    assert confidence == expected


@pytest.mark.parametrize(("other", "expected"), [("", "low"), ("optimizer.step()", "high")])
def test_freezing_is_done_to_train_where_somebody_does(other: str, expected: str, tmp_path: Path) -> None:
    text = """
        import torch
        from transformers import LlamaForCausalLM
        class Policy:
            def __init__(self, config):
                self.model = LlamaForCausalLM(config)
                self.model.bfloat16()
                for p in self.model.parameters():
                    p.requires_grad = False
    """
    [(confidence, _, _)] = found(tmp_path, {"lib/__init__.py": "", "lib/policy.py": text, "lib/other.py": f"{other}\n"})
    assert confidence == expected
