"""What is said of a buffer follows from who builds its class on the meta device, and from what runs afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from projects import write

import bufaudit

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = """
    import torch
    from torch import nn
    class Positions(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.size = size
            self.register_buffer("index", torch.arange(size), persistent=False)
        def forward(self, x):
            return x + self.index
"""
MODEL = """
    from torch import nn
    from .layers import Positions
    class Net(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.positions = Positions(size)
            self.head = nn.Linear(size, size)
        def init_weights(self):
            nn.init.normal_(self.head.weight, std=0.02)
    def make_net(size):
        return Net(size)
    def build_other(size):
        return Other(size)
"""
BUILD = """
    import torch
    from .model import Net, build_other, make_net
    def build(size, state):
        with torch.device("meta"):
            net = Net(size)
        net.to_empty(device="cpu")
        net.init_weights()
        return net
"""


def scan(folder: Path, file: str, files: dict[str, str]) -> list[bufaudit.Finding]:
    write(folder, {"lib/__init__.py": "", **files})
    return list(bufaudit.scan([folder / file], select=["BUF501"], min_confidence="low", cache=False).findings)


def found(folder: Path, *, layers: str = "", model: str = "", build: str = BUILD) -> list[bufaudit.Finding]:
    """The findings in the file of the layers alone; `layers` and `model` are methods added to their classes."""
    added = {
        "lib/layers.py": LAYERS + layers,
        "lib/model.py": MODEL.replace("    def make_net", f"{model}\n    def make_net"),
        "lib/build.py": build,
    }
    return scan(folder, "lib/layers.py", added)


def built(after: str, how: str = "Net(size)", context: str = 'torch.device("meta")') -> str:
    build = BUILD.replace("net.init_weights()", after).replace("net = Net(size)", f"net = {how}")
    return build.replace('torch.device("meta")', context)


def test_finding_stands_on_the_registration_and_shows_the_other_files(tmp_path: Path) -> None:
    (finding,) = found(tmp_path)
    assert (finding.confidence, finding.symbol) == ("high", "Positions.__init__")
    assert "`index`" in finding.message
    assert "`Net.init_weights` runs then" in finding.message
    places = [(note.path.rpartition("/")[2], note.line) for note in finding.related]
    assert places == [("build.py", 6), ("build.py", 7), ("model.py", 9)]


@pytest.mark.parametrize(
    ("build", "confidence"),
    [
        (built("net.apply(net.init_weights)"), "high"),
        (built("net.init_weights()\n        net.load_state_dict(state)"), "high"),
        (built("for m in net.modules():\n            m.reset_parameters()"), "high"),
        (built("net.apply(lambda m: m.reset_parameters())"), "high"),
        (built("net.init_weights()", context="init_empty_weights(include_buffers=True)"), "high"),
        (built("net.init_weights()", "Net(size, device='meta')", "nothing()"), "high"),
        (built("net.init_weights()", "make_net(size)"), "low"),
    ],
)
def test_forms_of_building_and_initialising(build: str, confidence: str, tmp_path: Path) -> None:
    assert [finding.confidence for finding in found(tmp_path, build=build)] == [confidence]


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(built("net.load_state_dict(state)"), id="a load alone, which is BUF403's"),
        pytest.param(built("pass"), id="nothing runs"),
        pytest.param(built("net.initialize()"), id="no convention"),
        pytest.param(built("net.initialize_weights()"), id="a method that no class has"),
        pytest.param(built("net.apply(fill)"), id="a function that is not seen"),
        pytest.param(built("net.init_weights()\n        net.rebuild_tables()"), id="something may compute it"),
        pytest.param(built("net.init_weights()\n        net.positions = make()"), id="a part is put in anew"),
        pytest.param(
            built("net.init_weights()\n        for n, b in net.named_buffers():\n            b.copy_(twin[n])"),
            id="a walk over buffers",
        ),
        pytest.param(built("net.init_weights()", context="torch.device('cpu')"), id="not on the meta device"),
        pytest.param(built("net.init_weights()", context="init_empty_weights()"), id="buffers stay real"),
        pytest.param(built("net.init_weights()", "build_other(size)"), id="something else is built"),
        pytest.param(built("net.init_weights()", "settings.build()"), id="nobody knows what is built"),
        pytest.param(BUILD.replace("def build(", "def test_build("), id="a test"),
    ],
)
def test_nothing_is_said_where_another_thing_runs(build: str, tmp_path: Path) -> None:
    assert found(tmp_path, build=build) == []


@pytest.mark.parametrize(
    "method",
    [
        "def init_weights(self):\n            self.index = torch.arange(self.size)",
        "def reset_parameters(self):\n            self.fill()\n"
        "        def fill(self):\n            self.index.copy_(torch.arange(self.size))",
        "def extend(self, size):\n            self.register_buffer('index', torch.arange(size), persistent=False)",
    ],
)
def test_method_of_the_class_that_writes_the_buffer(method: str, tmp_path: Path) -> None:
    assert found(tmp_path, layers=f"        {method}\n") == []


@pytest.mark.parametrize(
    "model",
    [
        "def reset_parameters(self):\n            self.positions.index = arange(self.size)",
        "def reset_parameters(self):\n            self.positions = Positions(self.size)",
        "def _init_weights(self, m):\n            if isinstance(m, Positions):\n                m.index.fill_(9)",
        "def _init_weights(self, m):\n            for part in m.modules():\n                make_index(part)",
        "def reset_parameters(self):\n            for n, b in self.named_buffers():\n                b.copy_(made(n))",
    ],
)
def test_initialiser_of_the_class_that_holds_it(model: str, tmp_path: Path) -> None:
    assert found(tmp_path, model=f"        {model}\n") == []


def test_method_that_only_the_constructor_calls_restores_nothing(tmp_path: Path) -> None:
    layers = LAYERS.replace(
        'self.register_buffer("index", torch.arange(size), persistent=False)',
        "self.fill()\n        def fill(self):\n            self.register_buffer('index', arange(9), persistent=False)",
    )
    files = {"lib/layers.py": layers, "lib/model.py": MODEL, "lib/build.py": BUILD}
    assert len(scan(tmp_path, "lib/layers.py", files)) == 1
    files["lib/build.py"] = BUILD.replace("return net", "net.positions.fill()\n        return net")
    assert scan(tmp_path, "lib/layers.py", files) == []


def test_model_of_transformers_is_asked_for_its_own_initialiser(tmp_path: Path) -> None:
    """The plain question is not asked where `from_pretrained` already loses, or restores, the buffer."""
    model = MODEL.replace("nn.Module", "PreTrainedModel").replace(
        "from torch import nn", "from torch import nn\n    from transformers import PreTrainedModel"
    )
    files = {"lib/layers.py": LAYERS, "lib/model.py": model, "lib/build.py": BUILD}
    (finding,) = scan(tmp_path, "lib/layers.py", files)
    assert "`Net.from_pretrained`" in finding.message
    restoring = "def _init_weights(self, m):\n            m.index.copy_(arange(m.size))\n        def init_weights"
    files["lib/model.py"] = model.replace("def init_weights", restoring)
    assert scan(tmp_path, "lib/layers.py", files) == []


def test_subclass_that_is_built_restores_what_its_base_class_registers(tmp_path: Path) -> None:
    layers = """
    class Longer(Positions):
        def init_weights(self):
            {body}
    """
    build = built("net.init_weights()", "Longer(size)").replace(".model import Net", ".layers import Longer")
    for body, count in [("pass", 1), ("self.index = torch.arange(self.size)", 0)]:
        assert len(found(tmp_path, layers=layers.format(body=body), build=build)) == count


WRITER = """
    import torch
    def finish(net):
        {body}
    class Other(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("index", torch.zeros(3), persistent=False)
"""


def test_function_elsewhere_that_runs_and_writes_the_buffer(tmp_path: Path) -> None:
    """Not so one that nobody calls, in a file that has a buffer of that name for itself."""
    called = built("net.init_weights()\n        finish(net)").replace(
        "import torch\n", "import torch\n    from .end import finish\n"
    )
    files = {
        "lib/layers.py": LAYERS,
        "lib/model.py": MODEL,
        "lib/end.py": WRITER.format(body="net.positions.index = torch.arange(9)"),
    }
    assert scan(tmp_path, "lib/layers.py", {**files, "lib/build.py": called}) == []
    assert len(scan(tmp_path, "lib/layers.py", {**files, "lib/build.py": BUILD})) == 1


@pytest.mark.parametrize("value", ["None", "torch.empty(size)", "torch.zeros(0)"])
def test_buffers_that_hold_nothing(value: str, tmp_path: Path) -> None:
    files = {
        "lib/layers.py": LAYERS.replace("torch.arange(size)", value),
        "lib/model.py": MODEL,
        "lib/build.py": BUILD,
    }
    assert scan(tmp_path, "lib/layers.py", files) == []


@pytest.mark.parametrize(("value", "confidences"), [("torch.arange(size)", ["low"]), ("torch.tensor(0)", [])])
def test_buffer_that_its_file_never_reads(value: str, confidences: list[str], tmp_path: Path) -> None:
    layers = LAYERS.replace("x + self.index", "x.to(self.index.device)").replace("torch.arange(size)", value)
    files = {"lib/layers.py": layers, "lib/model.py": MODEL, "lib/build.py": BUILD}
    assert [finding.confidence for finding in scan(tmp_path, "lib/layers.py", files)] == confidences
