"""Whether a plain tensor does harm depends on what its class inherits, wherever that stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from projects import write

import bufaudit

if TYPE_CHECKING:
    from pathlib import Path

MODEL = """
    import torch
    from .base import Base
    class Net(Base):
        def __init__(self, n):
            super().__init__()
            self.table = torch.ones(n)
        def forward(self, x):
            return x * self.table
"""


#: A class that nobody makes harms nobody.
USED = {"pkg/use.py": "from .model import Net"}


@pytest.mark.parametrize(
    ("base", "found"),
    [
        ("class Base(nn.Module): pass", [("medium", 7)]),
        ("class Base: pass", []),
        ("class Base(nn.Module):\n    def __init__(self): self.register_buffer('table', None)", []),
    ],
)
def test_base_class_of_another_file(base: str, found: list[tuple[str, int]], tmp_path: Path) -> None:
    write(
        tmp_path,
        {"pkg/__init__.py": "", "pkg/base.py": f"from torch import nn\n{base}\n", "pkg/model.py": MODEL, **USED},
    )
    findings = bufaudit.scan([tmp_path], select=["BUF502"], cache=False).findings
    assert [(finding.confidence, finding.line) for finding in findings] == found
    assert [finding.related[0].line for finding in findings] == [9] * len(found)


@pytest.mark.parametrize(
    ("init", "confidences"),
    [
        ("self.table = torch.ones(n)", ["medium"]),
        ("self.table = given\n        if given is None:\n            self.table = torch.ones(n)", ["low"]),
        ("self.table = 1 / n\n        if n > 3:\n            self.table = torch.ones(n)", ["low"]),
        ("self.table = torch.ones(n) if n else None", ["medium"]),
        ("self.table = torch.ones(n) if n else given", ["low"]),
        ("self.table = torch.rand(n)\n        self.part = Part(self.table)", []),
        ("self.table = torch.rand(n)\n        self.part = Part(table=self.table)", []),
        ("table = torch.rand(n)\n        self.table = table\n        self.part = Part(table)", []),
        ("self.table = torch.rand(n)\n        self.size = torch.Size(self.table)", ["high"]),
    ],
)
def test_what_else_an_attribute_may_be_and_who_else_has_it(init: str, confidences: list[str], tmp_path: Path) -> None:
    """What a caller may bring need not be moved, and what another object is given may be filled or saved by that."""
    text = f"""
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, n, given=None):
        super().__init__()
        {init}
    def forward(self, x):
        return x * self.table
"""
    write(tmp_path, {"a.py": f"{text}net = Net(3)\n"})
    findings = bufaudit.scan([tmp_path], select=["BUF502"], min_confidence="low", cache=False).findings
    assert [finding.confidence for finding in findings] == confidences


@pytest.mark.parametrize(
    ("other", "confidence"),
    [("from .model import Net", "medium"), ("", "low"), ("class Net: pass", "low")],
)
def test_class_that_nothing_speaks_of_is_hardly_in_use(other: str, confidence: str, tmp_path: Path) -> None:
    base = "from torch import nn\nclass Base(nn.Module): pass"
    write(tmp_path, {"pkg/__init__.py": "", "pkg/base.py": base, "pkg/model.py": MODEL, "pkg/use.py": other})
    [finding] = bufaudit.scan([tmp_path], select=["BUF502"], min_confidence="low", cache=False).findings
    assert finding.confidence == confidence


@pytest.mark.parametrize(
    ("registered", "made", "confidence"),
    [("low", "low", "medium"), ("scale", "scale", "low"), ("low", "torch.ones(3)", "low")],
)
def test_argument_was_forgotten_where_others_are_registered_unless_its_maker_registers_it(
    registered: str, made: str, confidence: str, tmp_path: Path
) -> None:
    text = f"""
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, scale: torch.Tensor):
        super().__init__()
        self.scale = scale
    def forward(self, x):
        return x * self.scale
class Parent(nn.Module):
    def __init__(self, {registered}):
        super().__init__()
        self.register_buffer("{registered}", {made})
        self.net = Net({registered})
"""
    write(tmp_path, {"a.py": text})
    [finding] = bufaudit.scan([tmp_path], select=["BUF502"], min_confidence="low", cache=False).findings
    assert finding.confidence == confidence


def test_loss_of_torch_registers_its_weight(tmp_path: Path) -> None:
    text = """
import torch
from torch import nn
class Loss(nn.modules.loss._WeightedLoss):
    def __init__(self, weight):
        super().__init__()
        self.weight = torch.tensor(list(weight)).view(-1)
    def forward(self, x):
        return x * self.weight
loss = Loss([1])
"""
    write(tmp_path, {"a.py": text})
    assert bufaudit.scan([tmp_path], select=["BUF502"], min_confidence="low", cache=False).findings == ()
