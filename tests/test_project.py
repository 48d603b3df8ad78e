"""What a name stands for, what a class inherits and which buffers it can reach, over the files of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from projects import project_of

from bufaudit.project import same_name

if TYPE_CHECKING:
    from pathlib import Path

NET = "from torch import nn\n\nclass {}({}):\n    def __init__(self, n):\n        {}\n"


def net(name: str, bases: str = "nn.Module", body: str = "pass") -> str:
    return NET.format(name, bases, body)


# What a name stands for


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("from .b import B", "B"),
        ("from .b import B as C", "C"),
        ("from . import b", "b.B"),
        ("from . import b as c", "c.B"),
        ("from ..sub import b", "b.B"),
        ("from ..sub.b import B", "B"),
        ("from ... import top", "top.B"),
        ("from lib.sub.b import B", "B"),
        ("from lib.sub import b", "b.B"),
        ("from lib import sub", "sub.b.B"),
        ("import lib", "lib.sub.b.B"),
        ("import lib.sub.b", "lib.sub.b.B"),
        ("import lib.sub.b as b", "b.B"),
        ("from .b import *", "B"),
        ("from lib.sub.b import *", "B"),
        ("from .b import B\nC = B", "C"),
        ("from . import b\nC = b.B\nD = C", "D"),
        ("try:\n    from nowhere import x\nexcept ImportError:\n    from .b import B", "B"),
        ("if x:\n    pass\nelse:\n    from .b import B", "B"),
        ("from lib import Exported", "Exported"),
        ("import lib", "lib.Exported"),
        ("from lib import Starred", "Starred"),
    ],
)
def test_import(statement: str, name: str, tmp_path: Path) -> None:
    sources = project_of(
        tmp_path,
        {
            "top.py": "from lib.sub.b import B\n",
            "lib/__init__.py": "from .sub.b import B as Exported\nfrom .sub.stars import *\n",
            "lib/sub/__init__.py": "",
            "lib/sub/b.py": net("B"),
            "lib/sub/stars.py": "from .b import B\n\nStarred = B\n",
            "lib/sub/a.py": statement + "\n",
        },
    )
    if statement.startswith("from ..."):
        (tmp_path / "__init__.py").write_text("", "utf-8")
    assert sources.find("lib/sub/a.py", name) == "lib/sub/b.py:B"


def test_absolute_import_starts_from_the_source_folders(tmp_path: Path) -> None:
    files = {"src/lib/__init__.py": "", "src/lib/b.py": net("B"), "tests/a.py": "from lib.b import B\n"}
    assert project_of(tmp_path, files).find("tests/a.py", "B") == "src/lib/b.py:B"


def test_script_imports_what_lies_beside_it(tmp_path: Path) -> None:
    files = {"tools/b.py": net("B"), "tools/a.py": "from b import B\n"}
    assert project_of(tmp_path, files).find("tools/a.py", "B") == "tools/b.py:B"


def test_module_of_a_package_does_not_import_its_sibling_by_a_bare_name(tmp_path: Path) -> None:
    """`lib/accelerate.py` is not what `from accelerate import …` in `lib` means."""
    files = {"lib/__init__.py": "", "lib/accelerate.py": net("B"), "lib/a.py": "from accelerate import B\n"}
    assert project_of(tmp_path, files).find("lib/a.py", "B") is None


def test_namespace_package(tmp_path: Path) -> None:
    files = {"space/part/b.py": net("B"), "a.py": "import space.part.b as b\nfrom space.part.b import B as C\n"}
    sources = project_of(tmp_path, files)
    assert sources.find("a.py", "b.B") == sources.find("a.py", "C") == "space/part/b.py:B"


def test_own_class_shadows_an_import(tmp_path: Path) -> None:
    files = {"b.py": net("B"), "a.py": "from b import *\nfrom b import B\n" + net("B")}
    assert project_of(tmp_path, files).find("a.py", "B") == "a.py:B"


def test_explicit_import_shadows_a_star(tmp_path: Path) -> None:
    files = {"b.py": net("B"), "c.py": net("B"), "a.py": "from b import *\nfrom c import B\n"}
    assert project_of(tmp_path, files).find("a.py", "B") == "c.py:B"


@pytest.mark.parametrize(
    "statement",
    [
        "from .a import B",
        "from . import *",
        "from .b import B",
        "import B",
        "B = B",
        "B = C\nC = B",
        "from .a import *",
    ],
)
def test_cycle_ends(statement: str, tmp_path: Path) -> None:
    files = {"p/__init__.py": "from .a import *\n", "p/a.py": statement + "\n", "p/b.py": "from .a import B\n"}
    sources = project_of(tmp_path, files)
    assert sources.find("p/a.py", "B") is None
    assert sources.find("p/a.py", "B.C.D") is None


def test_cycle_of_imports_hides_no_class(tmp_path: Path) -> None:
    files = {
        "p/__init__.py": "",
        "p/a.py": "from .b import B\n" + net("A"),
        "p/b.py": "from .a import A\n" + net("B", "A"),
    }
    assert project_of(tmp_path, files).lineage("p/b.py", "B") == ["p/b.py:B", "p/a.py:A"]


@pytest.mark.parametrize(
    ("statement", "name", "origin"),
    [
        ("from torch import nn", "nn.Linear", "torch.nn.Linear"),
        ("import torch.nn as tn", "tn.Linear", "torch.nn.Linear"),
        ("from torch.nn import Linear as L\nM = L", "M", "torch.nn.Linear"),
        ("from .gone import Linear", "Linear", "gone.Linear"),
        ("from b import Linear", "Linear", "torch.nn.Linear"),
        ("", "Linear", "Linear"),
    ],
)
def test_origin_of_what_lies_outside(statement: str, name: str, origin: str, tmp_path: Path) -> None:
    sources = project_of(tmp_path, {"a.py": statement + "\n", "b.py": "from torch.nn import Linear\n"})
    assert sources.find("a.py", name) is None
    assert sources.project.origin(sources.path("a.py"), name) == origin


def test_layers_of_torch_are_known_by_name_also_where_torch_lies_beside(tmp_path: Path) -> None:
    layers = "class Linear: pass\n"
    files = {"a.py": "from torch import nn\n\nclass A(nn.Linear): pass\n", "torch/__init__.py": ""}
    inside = {"torch/nn/__init__.py": layers, "torch/b.py": "import torch.nn as nn\n\nclass B(nn.Linear): pass\n"}
    sources = project_of(tmp_path, files | inside)
    assert sources.foreign_bases("a.py", "A") == ["torch.nn.Linear"]
    assert sources.lineage("torch/b.py", "B") == ["torch/b.py:B", "torch/nn/__init__.py:Linear"]


def test_module_name_follows_the_packages(tmp_path: Path) -> None:
    sources = project_of(tmp_path, {"src/lib/__init__.py": "", "src/lib/sub/__init__.py": "", "src/lib/sub/a.py": ""})
    names = [sources.project.module_name(sources.path(f"src/lib/{name}")) for name in ("__init__.py", "sub/a.py")]
    assert names == ["lib", "lib.sub.a"]
    assert sources.project.module_name(sources.path("src/other.py")) == "other"


# Inheritance


def test_lineage_crosses_files_and_names_each_class_once(tmp_path: Path) -> None:
    files = {
        "base.py": net("Base"),
        "left.py": "from base import Base\n" + net("Left", "Base"),
        "right.py": "import base\n" + net("Right", "base.Base, abc.ABC"),
        "a.py": "from left import Left\nfrom right import Right as R\n" + net("Both", "Left, R[int]"),
    }
    sources = project_of(tmp_path, files)
    assert sources.lineage("a.py", "Both") == ["a.py:Both", "left.py:Left", "right.py:Right", "base.py:Base"]
    assert sorted(sources.foreign_bases("a.py", "Both")) == ["abc.ABC", "torch.nn.Module"]


def test_class_that_takes_the_name_of_its_base_inherits_from_it(tmp_path: Path) -> None:
    """As deprecated modules do: `from .new import Block`, `class Block(Block)`."""
    files = {"new.py": net("Block"), "old.py": "from new import Block\n" + net("Block", "Block")}
    sources = project_of(tmp_path, files)
    assert sources.lineage("old.py", "Block") == ["old.py:Block", "new.py:Block"]
    own = project_of(
        tmp_path / "o", {"a.py": "from torch.nn import BatchNorm2d\nclass BatchNorm2d(BatchNorm2d): ...\n"}
    )
    assert own.foreign_bases("a.py", "BatchNorm2d") == ["torch.nn.BatchNorm2d"]


@pytest.mark.parametrize(
    "text", ["class A(A): ...\n", "class A(B): ...\nclass B(A): ...\n", "A = B\nclass B(A): ...\n"]
)
def test_impossible_hierarchy_ends(text: str, tmp_path: Path) -> None:
    sources = project_of(tmp_path, {"a.py": text})
    assert len(sources.lineage("a.py", "B" if "B" in text else "A")) <= 2


# Reach

COUNTED = "self.register_buffer('counts', torch.zeros(n))"


def test_tree_holds_what_its_classes_their_bases_and_children_register(tmp_path: Path) -> None:
    files = {
        "base.py": net("Base", body="self.register_buffer('in_base', torch.zeros(n))"),
        "part.py": net("Part", body="self.in_part = nn.Buffer(torch.zeros(n))"),
        "a.py": "from base import Base\nfrom part import Part\n"
        + net("Net", "Base", "self.part = Part(n); self.register_buffer('own', torch.zeros(n), persistent=n > 1)"),
    }
    sources = project_of(tmp_path, files)
    reach = sources.reach("a.py", "Net")
    assert {(r.path, r.fact.name) for r in reach.registrations} == {
        (sources.path("a.py"), "own"),
        (sources.path("base.py"), "in_base"),
        (sources.path("part.py"), "in_part"),
    }
    assert reach.any
    assert not reach.none


def test_buffer_that_is_not_persistent_is_no_state_that_a_checkpoint_loses(tmp_path: Path) -> None:
    body = "self.l = nn.Linear(n, n); self.register_buffer('a', torch.zeros(n), persistent=False)"
    assert project_of(tmp_path, {"a.py": net("Net", body=body)}).reach("a.py", "Net").none


def test_buffers_that_no_state_dict_holds(tmp_path: Path) -> None:
    buffers = "register_buffer('a', torch.arange(n), persistent=False)", "register_buffer('b', torch.zeros(n))"
    empty = "register_buffer('c', torch.empty(0), persistent=False)", "register_buffer('d', None, persistent=False)"
    body = "; ".join(f"self.{call}" for call in (*buffers, *empty))
    files = {
        "a.py": net("Part", body=body) + net("Net", body="self.p = Part(n); self.bn = nn.BatchNorm1d(n)"),
        "b.py": net("Plain", body="self.bn = nn.BatchNorm1d(n)"),
    }
    sources = project_of(tmp_path, files)
    tree = sources.project.unsaved(sources.path("a.py"), "Net")
    assert [found.fact.name for found in tree.registrations] == ["a"]
    assert sources.project.unsaved(sources.path("b.py"), "Plain").none
    assert sources.project.unsaved(sources.path("b.py"), "nn.BatchNorm1d").none
    assert not sources.project.unsaved(sources.path("b.py"), "elsewhere.Model").none


@pytest.mark.parametrize(
    ("body", "layers"),
    [
        ("self.bn = nn.BatchNorm2d(n)", ("BatchNorm2d",)),
        ("self.bn = torch.nn.SyncBatchNorm(n)", ("SyncBatchNorm",)),
        ("self.bn = FrozenBatchNorm2d(n)", ("FrozenBatchNorm2d",)),
        ("self.bn = [nn.BatchNorm1d(n) for _ in n]", ("BatchNorm1d",)),
        ("self.bn = nn.LayerNorm(n)", ()),
        ("self.bn = nn.InstanceNorm2d(n)", ()),
    ],
)
def test_layers_that_hold_statistics(body: str, layers: tuple[str, ...], tmp_path: Path) -> None:
    reach = project_of(tmp_path, {"a.py": "import torch\n" + net("Net", body=body)}).reach("a.py", "Net")
    assert reach.stateful_layers == layers
    assert reach.any is bool(layers)


@pytest.mark.parametrize(
    "text",
    [
        net("Net", body="self.l = nn.Linear(n, n); self.a = OrderedDict(); self.s = nn.Sequential(nn.ReLU())"),
        "import math\n" + net("Net", body="self.l = nn.Linear(n, n); raise ValueError(n)"),
        net("Part") + net("Net", body="self.p = Part(n)"),
        net("Part", body="self.p = Net(n)") + net("Net", body="self.p = Part(n)"),
    ],
)
def test_tree_of_known_classes_without_buffers_has_none(text: str, tmp_path: Path) -> None:
    assert project_of(tmp_path, {"a.py": text}).reach("a.py", "Net").none


@pytest.mark.parametrize(
    "text",
    [
        net("Net"),
        net("Net", body="self.l = nn.Linear(n, n); self.model = model"),
        net("Net", body="self.l = nn.Linear(n, n); self.body = timm.create_model(n)"),
        net("Net", "Unknown"),
        "from somewhere import Base\n" + net("Net", "Base"),
        "from .gone import Base\n" + net("Net", "Base"),
        "from somewhere import Part\n" + net("Net", body="self.p = Part(n)"),
        "from somewhere import Part\n" + net("Inner", body="self.p = Part(n)") + net("Net", body="self.i = Inner(n)"),
    ],
)
def test_tree_with_a_class_that_nobody_knows_is_incomplete(text: str, tmp_path: Path) -> None:
    reach = project_of(tmp_path, {"a.py": text}).reach("a.py", "Net")
    assert not reach.any
    assert not reach.none


def test_name_that_stands_for_nothing_is_incomplete(tmp_path: Path) -> None:
    sources = project_of(tmp_path, {"a.py": ""})
    assert not sources.reach("a.py", "Net").none
    assert not sources.reach("gone.py", "Net").none


def test_torch_class_is_known_without_its_source(tmp_path: Path) -> None:
    sources = project_of(tmp_path, {"a.py": "from torch import nn\n"})
    assert sources.reach("a.py", "nn.Linear").none
    assert sources.reach("a.py", "nn.BatchNorm2d").any


# Names


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("{}_inv", "full_inv", True),
        ("full_inv", "{}_inv", True),
        ("{}_inv", "inv_full", False),
        ("t{}", "t0", True),
    ],
)
def test_same_name(one: str, other: str, same: bool) -> None:
    assert same_name(one, other) is same


def test_namespace_package_is_found_by_the_name_of_a_folder_above(tmp_path: Path) -> None:
    part = "from torch import nn\n\n\nclass Part(nn.Module):\n    pass\n"
    sources = project_of(
        tmp_path, {"lib/acme/layers/part.py": part, "lib/acme/models/net.py": "from acme.layers.part import Part\n"}
    )
    assert sources.find("lib/acme/models/net.py", "Part") == "lib/acme/layers/part.py:Part"


@pytest.mark.parametrize("first", ["a.py", "b.py", "c.py"])
def test_modules_that_import_all_of_each_other_in_a_circle(tmp_path: Path, first: str) -> None:
    """What a name stands for in one of them does not depend on where it was asked for before."""
    project = project_of(
        tmp_path,
        {
            "a.py": "from b import *\nfrom c import *\n",
            "b.py": "from a import *\n",
            "c.py": "from a import *\n" + net("Net"),
        },
    )
    assert project.find(first, "Net") == "c.py:Net"
    assert [project.find(name, "Net") for name in ("a.py", "b.py", "c.py")] == ["c.py:Net"] * 3
    assert [project.find(name, "Other") for name in ("a.py", "b.py", "c.py")] == [None] * 3
