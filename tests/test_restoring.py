"""Who gives a buffer its value again, seen over the files of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from projects import project_of

from bufaudit.restoring import TRANSFORMERS_BASE, Restorers, built_by, methods_of, rebuilt_in_use, writer_among

if TYPE_CHECKING:
    from pathlib import Path

    from bufaudit.project import FoundClass, Project
    from bufaudit.restoring import Restored

LAYERS = """
    import torch
    from torch import nn
    class Table(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.build(n)
        def build(self, n):
            self.register_buffer("table", torch.arange(n), persistent=False)
    class Wide(Table):
        {method}
    class TinyRotaryEmbedding(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.register_buffer("inv_freq", torch.arange(n), persistent=False)
            self.register_buffer("original_inv_freq", torch.arange(n), persistent=False)
"""
MODEL = """
    from transformers import PreTrainedModel
    from layers import Table, Wide, TinyRotaryEmbedding
    from helpers import fill
    class Base(PreTrainedModel):
        {base}
    class Net(Base):
        {net}
"""


def classes(folder: Path, *, method: str = "pass", base: str = "pass", net: str = "pass") -> tuple[Project, FoundClass]:
    files = {
        "layers.py": LAYERS.format(method=method),
        "model.py": MODEL.format(base=base, net=net),
        "helpers.py": "def fill(module):\n    pass\n",
    }
    sources = project_of(folder, files)
    found = sources.project.find_class(sources.path("model.py"), "Net")
    assert found is not None
    return sources.project, found


def under(folder: Path, name: str = "Wide", buffer: str = "table", **bodies: str) -> Restored:
    project, model = classes(folder, **bodies)
    owner = project.find_class(model.path, name)
    assert owner is not None
    return Restorers(project).under(owner, buffer, model)


def test_methods_of_base_classes_count_nearest_first(tmp_path: Path) -> None:
    build = "def build(self, n):\n            self.register_buffer('table', n, persistent=False)"
    project, model = classes(tmp_path, method=build)
    owner = project.find_class(model.path, "Wide")
    assert owner is not None
    methods = methods_of(project, owner)
    assert [fact.class_name for _, fact in methods["build"]] == ["Wide", "Table"]
    assert built_by(methods) == {"__init__", "build"}
    assert writer_among(methods, ["build"], "table") == "Wide.build"


@pytest.mark.parametrize(
    ("method", "by"),
    [
        ("def forward(self, x):\n            self.build(x)", "Table.build"),
        ("def forward(self, x):\n            self.table = self.table.to(x)", None),
        ("def set_size(self, n):\n            self.build(n)", None),
        ("def reset_parameters(self):\n            self.build(9)", None),
    ],
)
def test_use_computes_a_buffer_again(method: str, by: str | None, tmp_path: Path) -> None:
    """Not so what moves it, runs on demand, or is left to initialisers, which are asked by themselves."""
    folder = tmp_path
    method += (
        "\n        marker = 0\n        def other(self):\n            self.register_buffer('x', None, persistent=False)"
    )
    project, model = classes(folder, method=method)
    owner = project.find_class(model.path, "Wide")
    assert owner is not None
    assert rebuilt_in_use(methods_of(project, owner), "table") == by


ASKS = "def _init_weights(self, module):\n            if isinstance(module, {}):\n                {}"


@pytest.mark.parametrize(
    ("bodies", "answer"),
    [
        ({}, "lost"),
        ({"base": ASKS.format("Table", "module.table.copy_(make())")}, "restored"),
        ({"base": ASKS.format("(Other, Wide)", "init.copy_(module.table, make())")}, "restored"),
        ({"base": ASKS.format("Other", "module.table.copy_(make())")}, "lost"),
        ({"base": ASKS.format("Wide", "module.build(9)")}, "restored"),
        ({"base": ASKS.format("Wide", "fill(module)")}, "unknown"),
        ({"base": ASKS.format("Table", "module.table.copy_(make())"), "net": ASKS.format("Other", "pass")}, "lost"),
        (
            {
                "base": ASKS.format("Table", "module.table.copy_(make())"),
                "net": "def _init_weights(self, module):\n            super()._init_weights(module)",
            },
            "restored",
        ),
    ],
)
def test_initialisers_of_a_model(bodies: dict[str, str], answer: str, tmp_path: Path) -> None:
    assert under(tmp_path, **bodies).answer == answer


def test_initialiser_that_runs_is_named_with_its_file(tmp_path: Path) -> None:
    answer = under(tmp_path, base=ASKS.format("Other", "pass"))
    assert answer.initialiser is not None
    path, line = answer.initialiser
    assert (path.rpartition("/")[2], line) == ("model.py", 6)


@pytest.mark.parametrize(
    ("net", "answer"),
    [
        ("pass", "restored"),
        (ASKS.format("Other", "pass"), "lost"),
        ("def _init_weights(self, module):\n            super()._init_weights(module)", "restored"),
    ],
)
def test_base_class_of_transformers_knows_rotary_embeddings(net: str, answer: str, tmp_path: Path) -> None:
    restored = under(tmp_path, "TinyRotaryEmbedding", "inv_freq", net=net)
    assert (restored.answer, restored.by == TRANSFORMERS_BASE) == (answer, answer == "restored")


@pytest.mark.parametrize(
    ("name", "answer"), [("TinyRMSNorm", "restored"), ("TinyLayerNorm", "restored"), ("T", "lost")]
)
def test_base_class_of_transformers_knows_norms_by_their_names(name: str, answer: str, tmp_path: Path) -> None:
    project, model = classes(tmp_path)
    norm = f"class {name}:\n    def __init__(self):\n        self.register_buffer('weight', make(), persistent=False)\n"
    (tmp_path / "norms.py").write_text(norm)
    owner = project.find_class(str(tmp_path / "norms.py"), name)
    assert owner is not None
    assert Restorers(project).under(owner, "weight", model).answer == answer


@pytest.mark.parametrize(
    ("base", "restored"),
    [
        (ASKS.format("Wide", "module.table.copy_(make())"), True),
        (ASKS.format("Wide", "module.other.copy_(make())"), False),
        (ASKS.format("Other", "module.table.copy_(make())"), False),
        ("def reset_parameters(self, module):\n            module.table.copy_(make())", False),
    ],
)
def test_initialiser_in_another_file_of_the_folder(base: str, restored: bool, tmp_path: Path) -> None:
    project, model = classes(tmp_path, base=base)
    owner = project.find_class(model.path, "Wide")
    assert owner is not None
    assert Restorers(project).restored_beside(owner, "table") == restored
