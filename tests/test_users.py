"""The models that a class is part of, wherever on disk they are."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from projects import project_of

from bufaudit.users import is_in_use, is_spoken_of, release_needed, users_of

if TYPE_CHECKING:
    from pathlib import Path

MODEL = """
    from transformers import PreTrainedModel
    from .layers import make_block as block
    class Net(PreTrainedModel):
        def __init__(self):
            self.block = block()
            self.post_init()
"""
LAYERS = """
    class Rope: 0
    class Block:
        def __init__(self):
            self.rope = Rope()
    def make_block():
        return Block()
"""
LAYERS_FLAT = "class Rope: 0\ndef make_block(): return Rope()"


def models(folder: Path, files: dict[str, str]) -> tuple[list[str], bool]:
    sources = project_of(folder, files)
    found = sources.project.find_class(sources.path("p/layers.py"), "Rope")
    assert found is not None
    users = users_of(sources.project, found)
    return [model.fact.name for model in users.models], users.loads_itself


def test_model_in_another_file_is_found_through_a_factory(tmp_path: Path) -> None:
    files = {"p/__init__.py": "", "p/layers.py": LAYERS, "p/model.py": MODEL}
    assert models(tmp_path, files) == (["Net"], False)


def test_class_of_the_same_name_elsewhere_is_no_user(tmp_path: Path) -> None:
    other = MODEL.replace(".layers", ".others")
    files = {"p/__init__.py": "", "p/layers.py": LAYERS, "p/others.py": LAYERS, "p/model.py": other}
    assert models(tmp_path, files) == ([], False)


def test_loader_of_a_model_around_the_model(tmp_path: Path) -> None:
    """An engine builds the model itself and fills it, so that nothing of it is ever on the meta device."""
    outer = """
        from torch import nn
        from .model import Net
        class Engine(nn.Module):
            def __init__(self):
                self.net = Net()
            def load_weights(self, weights):
                pass
    """
    files = {"p/__init__.py": "", "p/layers.py": LAYERS, "p/model.py": MODEL, "p/engine.py": outer}
    assert models(tmp_path, files) == (["Net"], True)


def test_tests_of_a_package_are_not_its_users(tmp_path: Path) -> None:
    files = {"p/__init__.py": "", "p/layers.py": LAYERS, "p/tests/model.py": MODEL.replace(".layers", "..layers")}
    assert models(tmp_path, files) == ([], False)


FILLS = """
    from .model import Net
    def load(state):
        net = Net()
        net.load_state_dict(state)
"""
SETS = """
    from .model import Net
    class Kind:
        net_class = Net
"""
LOADS = """
    def load(kind, state):
        kind.net_class().load_state_dict(state)
"""


@pytest.mark.parametrize(
    ("files", "filled"),
    [
        ({"fill": FILLS}, True),
        ({"fill": FILLS.replace("load_state_dict", "describe")}, False),
        ({"fill": FILLS + "        net.save_pretrained('net')"}, False),
        ({"fill": FILLS, "use": "from .model import Net\nnet = Net.from_pretrained('net')"}, False),
        ({"fill": FILLS, "use": "from .model import Net\nAutoModel.register(Config, Net)"}, False),
        ({"kind": SETS}, False),
        ({"kind": SETS, "load": LOADS}, True),
        ({"kind": SETS, "load": LOADS + "        kind.net_class.from_pretrained(state)"}, False),
    ],
)
def test_model_that_its_package_builds_and_fills(files: dict[str, str], filled: bool, tmp_path: Path) -> None:
    """Such a model never meets the meta device, whatever it inherits, unless somebody leaves it to transformers."""
    package = {"p/__init__.py": "", "p/layers.py": LAYERS, "p/model.py": MODEL}
    package |= {f"p/{name}.py": text for name, text in files.items()}
    assert models(tmp_path, package) == (["Net"], filled)


@pytest.mark.parametrize(
    ("files", "release"),
    [
        ({}, "unknown"),
        ({"pyproject.toml": 'dependencies = ["transformers>=4.40"]'}, "new"),
        ({"pyproject.toml": 'dependencies = ["transformers<5"]'}, "old"),
        ({"p/layers.py": f"from transformers.utils.generic import maybe_autocast\n{LAYERS_FLAT}"}, "new"),
        ({"p/layers.py": f"from transformers.cache_utils import SinkCache\n{LAYERS_FLAT}"}, "old"),
        ({"p/other.py": "from transformers import PreTrainedModel\nfrom transformers.onnx import OnnxConfig"}, "old"),
        ({"p/model.py": MODEL.replace("self.post_init()", "")}, "old"),
        ({"p/model.py": MODEL.replace("self.post_init()", "").replace("PreTrainedModel", "LlamaModel")}, "unknown"),
    ],
)
def test_release_that_a_package_runs_with(files: dict[str, str], release: str, tmp_path: Path) -> None:
    """A model that runs with releases before 5 only loses nothing by the loader of release 5."""
    sources = project_of(tmp_path, {"p/__init__.py": "", "p/layers.py": LAYERS, "p/model.py": MODEL, **files})
    model = sources.project.find_class(sources.path("p/model.py"), "Net")
    assert model is not None
    assert release_needed(sources.project, sources.path("p/layers.py"), model) == release


@pytest.mark.parametrize(
    ("other", "spoken_of", "in_use"),
    [
        ({}, False, True),
        ({"q/__init__.py": ""}, False, False),
        ({"q/__init__.py": "from .p.model import Net"}, True, True),
        ({"p/more.py": "from .model import Net"}, True, True),
        ({"p/model.py": f"{dedent(MODEL)}\nclass Trainer:\n    def run(self):\n        Net()"}, True, True),
        ({"p/model.py": f"{dedent(MODEL)}\nclass Shell:\n    def forward(self, x):\n        Net()"}, False, True),
        ({"p/model.py": f"{dedent(MODEL)}\nclass Part(Base):\n    def forward(self, x):\n        Net()"}, True, True),
    ],
)
def test_class_that_something_makes_or_gives_to_users(
    other: dict[str, str], spoken_of: bool, in_use: bool, tmp_path: Path
) -> None:
    """A model that its package forgot is loaded by nobody, unless its folder is all that there is."""
    inner = "q/" if "q/__init__.py" in other else ""
    files = {f"{inner}p/__init__.py": "", f"{inner}p/layers.py": LAYERS, f"{inner}p/model.py": MODEL, **other}
    sources = project_of(tmp_path, files)
    model = sources.project.find_class(sources.path(f"{inner}p/model.py"), "Net")
    assert model is not None
    assert (is_spoken_of(sources.project, model), is_in_use(sources.project, model)) == (spoken_of, in_use)
