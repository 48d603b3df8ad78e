"""Where a late registration, and a value that does not suit the meta device, is a defect and where it is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from projects import write

import bufaudit

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "import torch\nfrom torch import nn\n"


def found(folder: Path, text: str, **others: str) -> list[tuple[str, int, str]]:
    """Code, line (after `HEAD`'s two) and confidence of what is found in a file."""
    write(folder, {"a.py": HEAD + text, **{f"{name}.py": HEAD + other for name, other in others.items()}})
    result = bufaudit.scan([folder / "a.py"], select=["BUF503", "BUF504"], min_confidence="low", cache=False)
    return [(each.code, each.line - 2, each.confidence) for each in result.findings]


LATE = """
class Net({base}):
    def __init__(self):
        super().__init__()
        {init}
    def {method}(self, x):
        {late}
{more}
"""


def net(
    base: str = "nn.Module",
    init: str = "pass",
    method: str = "forward",
    late: str = "if self.n: self.register_buffer('a', x.mean())",
    more: str = "",
) -> str:
    return LATE.format(base=base, init=init, method=method, late=late, more=more)


DRAWS = "    def draw(self, x):\n        self.register_buffer('a', x.mean())"


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        (net(), "medium"),
        (net(late="if self.n: self.a = nn.Buffer(x.mean())"), "medium"),
        (net(late="if self.n: self.register_buffer(f'a_{len(x)}', x.mean())"), "medium"),
        (net(late="self.register_buffer('a', x.mean())"), "low"),
        (net(late="with torch.no_grad(): self.draw(x)", more=DRAWS), "low"),
        (net(late="if self.n: self.draw(x)", more=DRAWS), "medium"),
        (net(late="self.register_buffer('a', torch.arange(len(x)))"), "low"),
        (net(method="fit"), "high"),
        (net(method="fit", late="self.register_buffer('a', torch.tensor(x.mean()))"), "high"),
        (net(method="set_scale"), "low"),
        (net(base="pl.LightningModule", method="on_train_start"), "high"),
        (net(late="if self.n: self.register_buffer('a', x.new_zeros(3))"), "low"),
        (net(late="if self.n: self.register_buffer('a_cache', x.mean())"), "low"),
        (net(method="fit", late="self.n = len(x); self.register_buffer('a', x.mean())"), "low"),
        (net(method="fit", late="super().fit(x); self.register_buffer('a', x.mean())"), "low"),
        (net(method="fit", late="self.ready = True; self.register_buffer('a', x.mean())"), "high"),
        (
            net(base="pl.LightningModule", method="on_train_start", late="self.n = 3; self.register_buffer('a', x)"),
            "high",
        ),
    ],
)
def test_registered_after_construction(text: str, confidence: str, tmp_path: Path) -> None:
    line = 9 if "draw" in text else 7
    assert found(tmp_path, text) == [("BUF503", line, confidence)]


@pytest.mark.parametrize(
    ("late", "confidence"),
    [
        ("if self.a is None: self.a = x.mean()", "medium"),
        ("if self.a is None: self.a, self.b = x.mean(), x.std()", "medium"),
        ("if self.a is None: self.register_buffer('a', x.mean())", "medium"),
        ("self.a = x.mean() if self.a is None else self.a", "medium"),
        ("self.a = x.mean()", "low"),
        ("self.a = torch.arange(3)", "low"),
    ],
)
def test_registered_as_none_and_filled(late: str, confidence: str, tmp_path: Path) -> None:
    text = net(init="self.register_buffer('a', None)", late=late)
    assert found(tmp_path, text) == [("BUF503", 5, confidence)]


def test_part_of_an_option_is_seldom_there(tmp_path: Path) -> None:
    text = net(init="if self.n: self.register_buffer('a', None)", late="if self.a is None: self.a = x.mean()")
    assert found(tmp_path, text) == [("BUF503", 5, "low")]


NONE = "self.register_buffer('a', None)"


@pytest.mark.parametrize(
    "text",
    [
        net(init=NONE, late="self.a = None"),
        net(init=NONE, late="return self.a"),
        net(init="self.register_buffer('a', None, persistent=False)", late="self.a = x"),
        net(late="self.register_buffer('a', x, persistent=False)"),
        net(late="self.register_buffer('a', None)"),
        net(late="self.register_buffer(x.name, x)"),
        net(late="self.part.register_buffer('a', x)"),
        net(init="self.register_buffer('a', torch.zeros(1))"),
        net(init="self.forward(torch.zeros(1))"),
        net(init=NONE, late="self.a = x", more="    def load(self, path):\n        self.a = torch.load(path)"),
        net(more="    def _load_from_state_dict(self, *args):\n        pass"),
        net(more="    def state_dict(self, *args):\n        return {}"),
        net(more="    def on_load_checkpoint(self, checkpoint):\n        pass"),
        net(init="self.register_load_state_dict_pre_hook(make_room)"),
        net(base="object"),
        net(base="nn.modules.lazy.LazyModuleMixin, nn.Module"),
    ],
)
def test_not_late(text: str, tmp_path: Path) -> None:
    assert found(tmp_path, text) == []


def test_what_a_base_class_elsewhere_constructs_or_loads_is_known(tmp_path: Path) -> None:
    text = "from base import Base\n" + net(base="Base")
    constructs = "class Base(nn.Module):\n    def __init__(self):\n        self.register_buffer('a', torch.zeros(1))"
    loads = "class Base(nn.Module):\n    def load_state_dict(self, *args):\n        pass"
    assert found(tmp_path, text, base="class Base(nn.Module):\n    pass") == [("BUF503", 8, "medium")]
    assert found(tmp_path, text, base=constructs) == []
    assert found(tmp_path, text, base=loads) == []


def test_each_buffer_is_reported_once_and_points_at_what_fills_it(tmp_path: Path) -> None:
    late = "if self.a is None: self.a = x\n        self.a = x + 1\n        self.register_buffer('a', x)"
    write(tmp_path, {"a.py": HEAD + net(init=NONE, late=late)})
    result = bufaudit.scan([tmp_path], select=["BUF503"], cache=False)
    assert [[note.line for note in each.related] for each in result.findings] == [[9]]


META = """{head}
class Net({base}):
    def __init__(self, n):
        super().__init__()
        self.register_buffer('a', {value})
        self.post_init()
    def later(self, n):
        self.register_buffer('a', {value})
"""
IMPORTS = "from transformers import PreTrainedModel"


@pytest.mark.parametrize(
    ("value", "plain", "loaded", "trained"),
    [
        ("torch.Tensor([True])", "low", "low", "medium"),
        ("torch.tensor(torch.arange(n).tolist())", "low", "medium", "medium"),
        ("torch.LongTensor([1, 2])", "low", "low", "low"),
    ],
)
def test_transformers_builds_on_the_meta_device(
    value: str, plain: str, loaded: str, trained: str, tmp_path: Path
) -> None:
    """Only what the constructor makes is made there, and only with DeepSpeed under zero.Init."""
    beside = META.format(head=IMPORTS, base="nn.Module", value=value)
    model = META.format(head=IMPORTS, base="PreTrainedModel", value=value)
    assert found(tmp_path / "beside", beside) == [("BUF504", 5, plain)]
    assert found(tmp_path / "model", model) == [("BUF504", 5, loaded)]
    assert found(tmp_path / "trained", model, train="import deepspeed") == [("BUF504", 5, trained)]
    filled = "from a import Net\ndef load(state):\n    net = Net(3)\n    net.load_state_dict(state)"
    assert found(tmp_path / "filled", model, fill=filled) == [("BUF504", 5, "low")]
