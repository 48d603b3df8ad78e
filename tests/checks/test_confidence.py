"""How sure a finding is follows from what the walked class is known to hold, wherever that stands."""

from __future__ import annotations

from textwrap import dedent
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
#: What is not lost for certain even where buffers are known.
BEST = {"BUF301": "medium", "BUF401": "medium"}
each_code = pytest.mark.parametrize("code", BODIES)


def findings(folder: Path, code: str, net: str) -> list[bufaudit.Finding]:
    head = "import torch\nimport torch.distributed as dist\nfrom nets import Holding, Normed, Plain\n"
    write(folder, {"nets.py": NETS, "use.py": head + "from away import Unknown\n" + BODIES[code].format(net=net)})
    return list(bufaudit.scan([folder / "use.py"], select=[code], min_confidence="low", cache=False).findings)


@each_code
def test_class_known_to_hold_a_buffer_gives_the_best_confidence_and_the_place(code: str, tmp_path: Path) -> None:
    (found,) = findings(tmp_path, code, "Holding(3)")
    assert found.confidence == BEST.get(code, "high")
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
    assert found.confidence == BEST.get(code, "high")
    assert "`BatchNorm2d`" in found.message


@each_code
def test_class_known_to_hold_none_gives_no_finding(code: str, tmp_path: Path) -> None:
    assert findings(tmp_path, code, "Plain(3)") == []


@each_code
def test_module_of_which_nothing_is_known_gives_low_confidence(code: str, tmp_path: Path) -> None:
    (found,) = findings(tmp_path, code, "make()")
    assert found.confidence == "low"
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
    result = bufaudit.scan([tmp_path / "modeling_net.py"], select=["BUF101"], min_confidence="low", cache=False)
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


def confidences(folder: Path, code: str, text: str, others: dict[str, str] | None = None) -> list[str]:
    write(folder, {"pack/__init__.py": "", "pack/use.py": "import torch\n" + dedent(text)} | (others or {}))
    found = bufaudit.scan([folder / "pack/use.py"], select=[code], min_confidence="low", cache=False).findings
    return [each.confidence for each in found]


LOADER = """
    def {name}(model, path):
        state_dict = torch.load(path)
        for name, p in model.named_parameters():
            p.data.copy_({value})
"""


@pytest.mark.parametrize(
    ("layer", "name", "value", "expected"),
    [
        ("BatchNorm2d", "load_weights", "state_dict[name]", "medium"),
        ("LayerNorm", "load_weights", "state_dict[name]", "low"),
        ("BatchNorm2d", "perturb_weights", "state_dict[name]", "low"),
        ("BatchNorm2d", "load_parameters", "state_dict[name]", "low"),
        ("BatchNorm2d", "restore_weights", "state_dict[name] + 0.1", "low"),
    ],
)
def test_load_into_a_given_model_is_believed_where_the_package_has_layers_with_statistics(
    layer: str, name: str, value: str, expected: str, tmp_path: Path
) -> None:
    nets = {"pack/nets.py": f"from torch import nn\ndef block(n):\n    return nn.{layer}(n)\n"}
    assert confidences(tmp_path, "BUF101", LOADER.format(name=name, value=value), nets) == [expected]


def test_checkpoint_of_which_the_code_beside_saves_trained_parameters_only_is_no_whole_state(tmp_path: Path) -> None:
    saver = """
    def save_weights(model, path):
        torch.save({n: p.data.cpu() for n, p in model.named_parameters() if p.requires_grad}, path)
    """
    nets = {"pack/nets.py": "from torch import nn\ndef block(n):\n    return nn.BatchNorm2d(n)\n"}
    text = LOADER.format(name="load_weights", value="state_dict[name]")
    assert confidences(tmp_path, "BUF101", dedent(text) + dedent(saver), nets) == ["low"]


def test_module_of_another_kind_is_no_module_of_torch(tmp_path: Path) -> None:
    text = "from .nets import Module\n" + dedent(LOADER.format(name="load_weights", value="state_dict[name]"))
    text = text.replace("(model,", "(model: Module,")
    nets = "from abc import ABC\nfrom torch import nn\nNorm = nn.BatchNorm2d\nclass Module{}:\n    pass\n"
    files = [{"pack/nets.py": nets.format(bases)} for bases in ("", "(ABC)", "(nn.Module)")]
    assert [confidences(tmp_path, "BUF101", text, each) for each in files] == [["low"], ["low"], ["medium"]]


def test_modules_that_adapters_save_whole_are_known_to_be_saved_whole(tmp_path: Path) -> None:
    text = """
    def convert(model, adapter, chosen):
        state_dict = {{}}
        for prefix, module in model.named_modules():
            if isinstance(module, Wrapper) and prefix in chosen:
                for name, p in module.{attribute}.named_parameters():
                    state_dict[prefix + name] = p.data
        torch.save(state_dict, "adapter.pt")
    """
    found = [confidences(tmp_path, "BUF201", text.format(attribute=name)) for name in ("modules_to_save", "modules")]
    assert found == [["medium"], ["low"]]


SETTLING = """
    def settle(model, missing_keys, state_dict, prefix, {kind}):
        for name, _ in model.named_parameters():
            if name in state_dict and {kind} not in name:
                missing_keys.remove(name)
        {load}
"""
LOAD = "model._load_from_state_dict(state_dict, prefix, {}, True, [], [], [])"


@pytest.mark.parametrize(
    ("kind", "load", "expected"),
    [("head", LOAD, ["high"]), ("head", "return missing_keys", []), ("adapter_prefix", LOAD, [])],
)
def test_missing_keys_that_are_only_trimmed_or_an_adapters_are_no_load(
    kind: str, load: str, expected: list[str], tmp_path: Path
) -> None:
    assert confidences(tmp_path, "BUF101", SETTLING.format(kind=kind, load=load)) == expected


@pytest.mark.parametrize(("evaluation", "expected"), [(".set_training_mode(False)", "medium"), ("", "low")])
def test_call_that_mixes_two_attributes_is_believed_where_code_beside_it_evaluates_one(
    evaluation: str, expected: str, tmp_path: Path
) -> None:
    text = """
        class Agent:
            def step(self):
                polyak_update(self.online.parameters(), self.target.parameters(), self.tau)
    """
    policies = f"def build(policy):\n    policy.target{evaluation}\n    return SGD(policy.online.parameters())\n"
    assert confidences(tmp_path, "BUF302", text, {"pack/policies.py": policies}) == [expected]


@pytest.mark.parametrize(
    ("doc", "sibling", "expected"),
    [
        ("All parameters and buffers.", "", "medium"),
        ("All of it.", "", "low"),
        ("All of it.", "def checkpoint(self, path):\n        torch.save(self.model.state_dict(), path)", "medium"),
    ],
)
def test_save_of_an_unknown_model_is_believed_where_buffers_are_promised_or_saved_beside_it(
    doc: str, sibling: str, expected: str, tmp_path: Path
) -> None:
    text = f"""
class Pipeline:
    def save(self, path):
        '''{doc}'''
        full_state = {{}}
        for name, p in self.model.named_parameters():
            full_state[name] = p.detach().cpu()
        torch.save(full_state, path)

    {sibling}
"""
    assert confidences(tmp_path, "BUF201", text) == [expected]


@pytest.mark.parametrize("choice", ['"gate." in name', "name in chosen"])
def test_save_that_chooses_by_name_is_doubted_whatever_its_mapping_is_called(choice: str, tmp_path: Path) -> None:
    text = f"""
        def save_state(model, path, chosen):
            '''Saves parameters and buffers.'''
            state_dict = {{name: p.detach() for name, p in model.named_parameters() if {choice}}}
            torch.save(state_dict, path)
    """
    assert confidences(tmp_path, "BUF201", text) == ["low"]


def test_single_tensor_picked_by_its_position_is_no_state(tmp_path: Path) -> None:
    text = """
        def save_state(module, path):
            state = {}
            params = list(module.parameters())
            state["first"] = params[0].detach().cpu()
            torch.save(state, path)
    """
    assert confidences(tmp_path, "BUF201", text) == []


def test_model_that_is_sent_is_believed_where_other_code_of_the_file_knows_of_buffers(tmp_path: Path) -> None:
    text = """
        def broadcast_model(model):
            for p in model.parameters():
                dist.broadcast(p.data, src=0)
    """
    beside = "\ndef state(model):\n    return [b.clone() for b in model.buffers()]\n"
    assert confidences(tmp_path / "a", "BUF301", text) == ["low"]
    assert confidences(tmp_path / "b", "BUF301", dedent(text) + beside) == ["medium"]


def test_model_whose_tensors_are_scattered_after_one_rank_loaded_it_is_no_one_rank_load(tmp_path: Path) -> None:
    text = """
        def load_checkpoint(model, path):
            if dist.get_rank() == 0:
                model.load_state_dict(torch.load(path))
            dist.barrier()
            for p in model.parameters():
                {share}(p)
    """
    assert confidences(tmp_path / "a", "BUF102", text.format(share="scatter_tensor")) == []
    assert confidences(tmp_path / "b", "BUF102", text.format(share="freeze")) == ["medium"]


@pytest.mark.parametrize(
    ("name", "base", "expected"),
    [
        ("EMA", "object", "low"),
        ("EMACallback", "TrainerCallback", "medium"),
        ("BYOLUpdate", "Callback", "low"),
    ],
)
def test_average_of_unknown_models_is_believed_where_a_callback_is_handed_any(
    name: str, base: str, expected: str, tmp_path: Path
) -> None:
    text = f"""
        class {name}({base}):
            def follow(self, average, model):
                for a, b in zip(average.parameters(), model.parameters()):
                    a.data.mul_(0.9).add_(b.data, alpha=0.1)
    """
    assert confidences(tmp_path, "BUF302", text) == [expected]


@pytest.mark.parametrize(("evaluation", "expected"), [(".eval()", "high"), ("", "low")])
def test_target_with_statistics_of_its_own_is_wronged_only_in_evaluation_mode(
    evaluation: str, expected: str, tmp_path: Path
) -> None:
    text = f"""
        from pack.nets import Normed
        class Learner:
            def __init__(self, n):
                self.online = Normed(n)
                self.target = Normed(n)
                self.target.requires_grad_(False){evaluation}
            def update_target(self):
                for a, b in zip(self.online.parameters(), self.target.parameters()):
                    b.data = 0.9 * b.data + 0.1 * a.data
    """
    assert confidences(tmp_path, "BUF302", text, {"pack/nets.py": NETS}) == [expected]


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


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("import math", "low"),
        ("from transformers import AutoModel", "medium"),
        ("from torch.nn import BatchNorm1d", "medium"),
    ],
)
def test_wrapping_every_entry_is_believed_in_a_package_for_models_with_buffers(
    head: str, expected: str, tmp_path: Path
) -> None:
    load = """
        from torch import nn
        def load_in_place(model, state_dict):
            for key, value in state_dict.items():
                path, _, leaf = key.rpartition(".")
                setattr(model.get_submodule(path), leaf, nn.Parameter(value))
    """
    assert confidences(tmp_path, "BUF105", load, {"pack/nets.py": head}) == [expected]


@pytest.mark.parametrize(("persistent", "expected"), [("False", "low"), ("True", "medium")])
def test_save_is_doubted_in_a_package_of_models_without_persistent_buffers(
    persistent: str, expected: str, tmp_path: Path
) -> None:
    net = "from torch import nn\nclass Net(nn.Module):\n    def __init__(self, n):\n        super().__init__()\n"
    net += f'        self.linear = nn.Linear(n, n)\n        self.register_buffer("seen", n, persistent={persistent})\n'
    text = """
        def save_state(model, path):
            '''Saves parameters and buffers.'''
            state_dict = {name: p.detach() for name, p in model.named_parameters()}
            torch.save(state_dict, path)
    """
    nets = {f"pack/net{i}.py": net for i in range(5)}
    assert confidences(tmp_path, "BUF201", text, nets) == [expected]


def test_second_branch_for_the_same_model_is_not_reported_again(tmp_path: Path) -> None:
    text = """
        def restore(model, weights):
            try:
                for name, p in model.named_parameters():
                    p.data = weights[name].clone()
            except AttributeError:
                for i, p in enumerate(model.parameters()):
                    p.data = weights[i].clone()
    """
    assert confidences(tmp_path, "BUF101", text, {"pack/nets.py": "from torch.nn import BatchNorm1d"}) == ["medium"]


def test_plain_copy_is_doubted_even_where_buffers_are_known(tmp_path: Path) -> None:
    text = """
        from pack.nets import Normed
        def hand_over(a: Normed, b: Normed):
            for x, y in zip(a.parameters(), b.parameters()):
                x.data.copy_(y.data)
    """
    assert confidences(tmp_path, "BUF302", text, {"pack/nets.py": NETS}) == ["low"]


@pytest.mark.parametrize(("name", "expected"), [("broadcast_model", "medium"), ("broadcast_params", "low")])
def test_function_that_promises_parameters_keeps_its_word_even_where_buffers_are_known(
    name: str, expected: str, tmp_path: Path
) -> None:
    text = f"""
        from pack.nets import Normed
        def {name}(net: Normed):
            for p in net.parameters():
                dist.broadcast(p.data, src=0)
    """
    assert confidences(tmp_path, "BUF301", text, {"pack/nets.py": NETS}) == [expected]


@pytest.mark.parametrize(("name", "expected"), [("save", "high"), ("consolidate", "low"), ("weights_for_vllm", "low")])
def test_mapping_of_a_known_model_is_saved_state_where_its_names_say_so(
    name: str, expected: str, tmp_path: Path
) -> None:
    text = f"""
        from pack.nets import Normed
        def {name}(net: Normed, path):
            state = {{}}
            for key, p in net.named_parameters():
                state[key] = p.detach().clone()
            return state
    """
    assert confidences(tmp_path, "BUF201", text, {"pack/nets.py": NETS}) == [expected]
