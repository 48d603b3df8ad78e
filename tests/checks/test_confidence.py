"""How sure a finding is follows from what the walked class is known to hold, wherever that stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from projects import write

import bufaudit

if TYPE_CHECKING:
    from pathlib import Path

NETS = """
    import torch
    from torch import nn
    class Holding(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.register_buffer("counts", torch.zeros(n))
            self.register_buffer("scratch", torch.zeros(n), persistent=False)
    class Normed(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.norm = nn.BatchNorm2d(n)
    class Plain(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.linear = nn.Linear(n, n)
"""
BODIES = {
    "BUF101": """
def load_weights(state_dict):
    net = {net}
    for name, p in net.named_parameters():
        p.data.copy_(state_dict[name])
""",
    "BUF201": """
def save_checkpoint(path):
    net = {net}
    state_dict = {{}}
    for name, p in net.named_parameters():
        state_dict[name] = p.detach().cpu()
    torch.save(state_dict, path)
""",
    "BUF301": """
def sync_model():
    net = {net}
    for p in net.parameters():
        dist.broadcast(p.data, src=0)
""",
    "BUF302": """
def update_ema(online, decay):
    net = {net}
    for a, b in zip(net.parameters(), online.parameters()):
        a.data.mul_(decay).add_(b.data, alpha=1 - decay)
""",
    "BUF401": """
def load_model_to_gpu():
    net = {net}
    for p in net.parameters():
        p.data = p.data.to("cuda", non_blocking=True)
""",
}
each_code = pytest.mark.parametrize("code", BODIES)


def findings(folder: Path, code: str, net: str) -> list[bufaudit.Finding]:
    head = "import torch\nimport torch.distributed as dist\nfrom nets import Holding, Normed, Plain\n"
    write(folder, {"nets.py": NETS, "use.py": head + "from away import Unknown\n" + BODIES[code].format(net=net)})
    return list(bufaudit.scan([folder / "use.py"], select=[code], min_confidence="low", cache=False).findings)


@each_code
def test_class_known_to_hold_a_buffer_gives_high_confidence_and_the_place(code: str, tmp_path: Path) -> None:
    (found,) = findings(tmp_path, code, "Holding(3)")
    assert found.confidence == "high"
    assert "`counts`" in found.message
    assert "`net`" in found.message
    assert "scratch" not in found.message, "what is not persistent is in no checkpoint"
    (related,) = found.related
    assert related.path.endswith("nets.py")
    assert related.line == 7
    assert "`counts`" in related.message


@each_code
def test_running_statistics_count_as_buffers(code: str, tmp_path: Path) -> None:
    (found,) = findings(tmp_path, code, "Normed(3)")
    assert found.confidence == "high"
    assert "`BatchNorm2d`" in found.message


@each_code
def test_class_known_to_hold_none_gives_no_finding(code: str, tmp_path: Path) -> None:
    assert findings(tmp_path, code, "Plain(3)") == []


@each_code
def test_module_of_which_nothing_is_known_gives_medium_confidence(code: str, tmp_path: Path) -> None:
    (found,) = findings(tmp_path, code, "make()")
    assert found.confidence == "medium"
    assert "any buffer that it has" in found.message
    assert found.related == ()


@each_code
def test_class_that_the_project_does_not_have_is_never_taken_for_known(code: str, tmp_path: Path) -> None:
    (found,) = findings(tmp_path, code, "Unknown(3)")
    assert found.confidence != "high"
    assert found.related == ()


@each_code
def test_walk_over_buffers_as_well_is_fine(code: str, tmp_path: Path) -> None:
    body = BODIES[code].format(net="Holding(3)")
    carried = body + "    for b in net.buffers():\n        b.copy_(other[b])\n"
    write(tmp_path, {"nets.py": NETS, "use.py": "from nets import Holding\n" + carried})
    assert bufaudit.scan([tmp_path / "use.py"], select=[code], min_confidence="low", cache=False).findings == ()


def test_finding_in_generated_code_names_its_source(tmp_path: Path) -> None:
    notice = "# This file was automatically generated from src/models/net/modular_net.py.\n"
    body = "import torch\n\n" + BODIES["BUF101"].format(net="make()")
    write(tmp_path, {"modeling_net.py": notice + body, "modular_net.py": body})
    result = bufaudit.scan([tmp_path / "modeling_net.py"], select=["BUF101"], cache=False)
    (found,) = result.findings
    (related,) = found.related
    assert related.path.endswith("modular_net.py")
    assert related.line == found.line - 1, "the same line, one notice further up"
    assert "generated" in related.message


def test_move_that_another_function_of_the_file_undoes_is_hidden_whatever_the_class_holds(tmp_path: Path) -> None:
    back = """
def offload_model(net: Holding):
    for p in net.parameters():
        p.data = p.data.to("cpu", non_blocking=True)
"""
    head = "import torch\nfrom nets import Holding\n"
    write(tmp_path, {"nets.py": NETS, "use.py": head + BODIES["BUF401"].format(net="Holding(3)") + back})
    found = bufaudit.scan([tmp_path / "use.py"], select=["BUF401"], min_confidence="low", cache=False).findings
    assert [each.confidence for each in found] == ["low", "low"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("ema_model", "model"), "medium"),
        (("net_g_ema", "net_g"), "medium"),
        (("teacher", "student"), "low"),
        (("target_critic", "critic"), "low"),
        (("first", "second"), "low"),
    ],
)
def test_average_of_unknown_models_is_as_sure_as_its_purpose(
    names: tuple[str, str], expected: str, tmp_path: Path
) -> None:
    text = """
def follow({0}, {1}):
    for a, b in zip({0}.parameters(), {1}.parameters()):
        a.data.mul_(0.9).add_(b.data, alpha=0.1)
""".format(*names)
    write(tmp_path, {"use.py": "import torch\n" + text})
    (found,) = bufaudit.scan([tmp_path / "use.py"], select=["BUF302"], min_confidence="low", cache=False).findings
    assert found.confidence == expected


def test_values_that_another_method_took_from_the_parameters_are_no_checkpoint(tmp_path: Path) -> None:
    text = """
        class Engine:
            def {away}(self):
                for name, p in self.model.named_parameters():
                    self.saved_weights[name] = p.data.cpu()
            def reload_weights(self):
                for name, p in self.model.named_parameters():
                    p.data = self.saved_weights[name].to("cuda")
    """
    write(tmp_path, {"use.py": text.format(away="offload")})
    assert bufaudit.scan([tmp_path / "use.py"], select=["BUF101"], cache=False).findings == ()


@pytest.mark.parametrize(("persistent", "expected"), [("False", "low"), ("True", "medium")])
def test_wrapping_every_entry_is_doubted_in_a_package_whose_many_models_hold_no_buffer(
    persistent: str, expected: str, tmp_path: Path
) -> None:
    body = "from torch import nn\nclass Net(nn.Module):\n    def __init__(self, n):\n        super().__init__()\n"
    body += f'        self.linear = nn.Linear(n, n)\n        self.register_buffer("seen", n, persistent={persistent})\n'
    load = """
        from torch import nn
        def load_in_place(model, state_dict):
            for key, value in state_dict.items():
                path, _, leaf = key.rpartition(".")
                setattr(model.get_submodule(path), leaf, nn.Parameter(value))
    """
    write(tmp_path, {f"nets/net{i}.py": body for i in range(20)} | {"nets/__init__.py": "", "nets/load.py": load})
    found = bufaudit.scan([tmp_path / "nets/load.py"], select=["BUF105"], min_confidence="low", cache=False).findings
    assert [each.confidence for each in found] == [expected]
