"""Each class's own buffers, those that it inherits, and who restores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projects import project_of

from bufaudit.inventorying import in_order, registrations_of
from bufaudit.restoring import restores_by_class

if TYPE_CHECKING:
    from pathlib import Path

    from bufaudit.results import Registration


def inventory(folder: Path, files: dict[str, str], name: str = "a.py") -> list[Registration]:
    sources = project_of(folder, files)
    facts = sources.project.facts(sources.path(name))
    assert facts is not None
    askers = restores_by_class([sources.path(other) for other in files], sources.project)
    return list(registrations_of(sources.path(name), facts, sources.project, askers))


def of_class(found: list[Registration], name: str) -> dict[str, str | None]:
    return {each.name: each.inherited_from for each in found if each.class_name == name}


BASE = """
    from torch import nn
    class Base(nn.Module):
        def __init__(self, n):
            self.register_buffer("kept", torch.zeros(n))
            self.register_buffer("replaced", torch.zeros(n))
    class Middle(Base):
        def __init__(self, n):
            self.register_buffer("replaced", torch.ones(n), persistent=False)
"""


def test_own_registration_has_all_that_is_known(tmp_path: Path) -> None:
    files = {
        "p/__init__.py": "",
        "p/a.py": "class A:\n    def __init__(s, self):\n        if c:\n            self.b = B(x)\n",
    }
    files["p/a.py"] = "from torch.nn import Buffer as B\n" + files["p/a.py"]
    (found,) = inventory(tmp_path, files, "p/a.py")
    assert (found.module, found.class_name, found.name, found.how) == ("p.a", "A", "b", "nn.Buffer")
    assert (found.persistent, found.value, found.condition) == (True, "x", "c")
    assert (found.line, found.column, found.inherited_from) == (5, 13, None)


def test_buffers_of_base_classes_are_inherited_over_files_the_nearest_first(tmp_path: Path) -> None:
    files = {"base.py": BASE, "a.py": "from base import Middle as M\nclass Net(M):\n    pass\n"}
    found = inventory(tmp_path, files)
    assert of_class(found, "Net") == {"replaced": "base.Middle", "kept": "base.Base"}
    assert {each.name: each.persistent for each in found} == {"replaced": False, "kept": True}
    assert {each.path for each in found} == {str(tmp_path / "base.py")}


def test_own_registration_stands_instead_of_an_inherited_one(tmp_path: Path) -> None:
    found = inventory(tmp_path, {"a.py": BASE})
    assert of_class(found, "Middle") == {"replaced": None, "kept": "a.Base"}
    assert of_class(found, "Base") == {"replaced": None, "kept": None}


def test_buffers_of_torch_classes_are_inherited(tmp_path: Path) -> None:
    text = "import torch.nn as tn\nclass Norm(tn.BatchNorm2d):\n    pass\nclass Plain(tn.Linear):\n    pass\n"
    found = inventory(tmp_path, {"a.py": text + "class BatchNorm1d(mine.BatchNorm1d):\n    pass\n"})
    statistics = dict.fromkeys(("running_mean", "running_var", "num_batches_tracked"), "torch.nn.BatchNorm2d")
    assert of_class(found, "Norm") == statistics
    assert {each.condition for each in found} == {"self.track_running_stats"}
    assert {each.class_name for each in found} == {"Norm"}


def test_class_that_takes_the_name_of_its_torch_base_inherits_from_it(tmp_path: Path) -> None:
    text = "from torch.nn import BatchNorm2d\nclass BatchNorm2d(BatchNorm2d):\n    pass\n"
    assert "running_mean" in of_class(inventory(tmp_path, {"a.py": text}), "BatchNorm2d")


def test_buffer_of_another_module_belongs_to_no_class_here(tmp_path: Path) -> None:
    text = "class A:\n    def __init__(self):\n        self.child.register_buffer('b', x)\n"
    (found,) = inventory(tmp_path, {"a.py": text})
    assert found.class_name is None


def test_restorer_is_the_own_one_or_one_that_asks_for_the_class(tmp_path: Path) -> None:
    text = """
        from torch import nn
        class Own(nn.Module):
            def __init__(self):
                self.register_buffer("a", x)
            def reset_parameters(self):
                self.a.zero_()
        class Asked(nn.Module):
            def __init__(self):
                self.register_buffer("b", x)
                self.register_buffer("c", x)
        class Heir(Asked):
            pass
        class Other(nn.Module):
            def __init__(self):
                self.register_buffer("b", x)
        class Model(nn.Module):
            def _init_weights(self, module):
                if isinstance(module, Asked):
                    init.copy_(module.b, y)
                    module.c._is_ready = True
    """
    found = {(r.class_name, r.name): r.restored_by for r in inventory(tmp_path, {"a.py": text})}
    assert found == {
        ("Own", "a"): "Own.reset_parameters",
        ("Asked", "b"): "Model._init_weights",
        ("Asked", "c"): None,
        ("Heir", "b"): "Model._init_weights",
        ("Heir", "c"): None,
        ("Other", "b"): None,
    }


ROTARY = """
    {head}
    from torch import nn
    class NetRotaryEmbedding(nn.Module):
        def __init__(self):
            self.register_buffer("inv_freq", x, persistent=False)
            self.register_buffer("original_inv_freq", x, persistent=False)
            self.register_buffer("other", x, persistent=False)
    class Norm(nn.BatchNorm2d):
        pass
"""


def test_what_transformers_restores_by_itself(tmp_path: Path) -> None:
    imported = inventory(tmp_path / "1", {"a.py": ROTARY.format(head="from transformers import PreTrainedModel")})
    base = "transformers.PreTrainedModel._init_weights"
    assert {r.name for r in imported if r.restored_by == base} == {
        "inv_freq", "original_inv_freq", "running_mean", "running_var", "num_batches_tracked",
    }  # fmt: skip
    assert {r.name for r in imported if r.restored_by is None} == {"other"}
    elsewhere = inventory(tmp_path / "2", {"a.py": ROTARY.format(head="import torch")})
    assert {r.restored_by for r in elsewhere} == {None}


def test_order_is_by_place_and_each_is_listed_once(tmp_path: Path) -> None:
    found = inventory(tmp_path, {"a.py": BASE})
    ordered = in_order([*reversed(found), *found])
    assert len(ordered) == len(found)
    assert [each.line for each in ordered] == sorted(each.line for each in found)


def test_initialiser_in_another_file_that_asks_for_the_class_restores(tmp_path: Path) -> None:
    asker = """
    from a import Base


    class Model:
        def _init_weights(self, module):
            if isinstance(module, Base):
                module.table.fill_(1)
    """
    registers = """
    from torch import nn


    class Base(nn.Module):
        def __init__(self):
            self.table = nn.Buffer(t)
    """
    files = {"a.py": registers}
    assert [each.restored_by for each in inventory(tmp_path, files)] == [None]
    assert [each.restored_by for each in inventory(tmp_path, {**files, "b.py": asker})] == ["Model._init_weights"]
