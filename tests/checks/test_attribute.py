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


@pytest.mark.parametrize(
    ("base", "found"),
    [
        ("class Base(nn.Module): pass", [("medium", 7)]),
        ("class Base: pass", []),
        ("class Base(nn.Module):\n    def __init__(self): self.register_buffer('table', None)", []),
    ],
)
def test_base_class_of_another_file(base: str, found: list[tuple[str, int]], tmp_path: Path) -> None:
    write(tmp_path, {"pkg/__init__.py": "", "pkg/base.py": f"from torch import nn\n{base}\n", "pkg/model.py": MODEL})
    findings = bufaudit.scan([tmp_path], select=["BUF502"], cache=False).findings
    assert [(finding.confidence, finding.line) for finding in findings] == found
    assert [finding.related[0].line for finding in findings] == [9] * len(found)
