"""How sure findings about memory that was let go of are, and what else in a project says that they are wrong."""

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
    class Rotary(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.register_buffer("inv_freq", torch.arange(n) / n, persistent=False)
    class Computing(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.rotary = Rotary(n)
    class Marked(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.linear = nn.Linear(n, n)
            self.register_buffer("marker", torch.empty(0), persistent=False)
            self.register_buffer("scratch", torch.empty(n, n), persistent=False)
            self.register_buffer("counts", torch.zeros(n))
    class Caching(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.register_buffer("cache", torch.zeros(n), persistent=False)
    class Open(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.encoder = make_encoder(n)
"""


def findings(folder: Path, text: str) -> list[bufaudit.Finding]:
    write(folder, {"nets.py": NETS, "work.py": text})
    found = bufaudit.scan([folder / "work.py"], select=["BUF403", "BUF404"], min_confidence="low", cache=False)
    return list(found.findings)


@pytest.mark.parametrize(
    ("net", "confidence", "named"),
    [
        ("Computing(3)", "high", "inv_freq"),
        ("Caching(3)", "medium", "cache"),
        ("Open(3)", "low", ""),
        ("Unknown(3)", "low", ""),
    ],
)
def test_class_decides(net: str, confidence: str, named: str, tmp_path: Path) -> None:
    (finding,) = findings(
        tmp_path,
        f"""
        import torch
        from nets import Caching, Computing, Marked, Open
        def load(path):
            net = {net}
            net.to_empty(device="cpu")
            net.load_state_dict(torch.load(path))
            return net
        """,
    )
    assert finding.confidence == confidence
    assert (f"`{named}`" if named else "non-persistent buffers") in finding.message
    assert len(finding.related) == (2 if named else 1)


def test_markers_and_persistent_buffers_lose_nothing(tmp_path: Path) -> None:
    text = """
        from nets import Marked
        def load(state):
            net = Marked(3)
            net.to_empty(device="cpu")
            net.load_state_dict(state)
    """
    assert findings(tmp_path, text) == []


LOAD = """
        {imports}
        def {name}({given}):
            {module}.to_empty(device="cpu")
            {module}.{load}(state)
            return {module}
"""


@pytest.mark.parametrize(
    ("imports", "name", "given", "module", "load", "confidence"),
    [
        ("from transformers import PreTrainedModel", "fill", "model", "model", "load_state_dict", "high"),
        ("from torch.distributed import fsdp", "fill", "model", "model", "load_state_dict", "medium"),
        ("import torch", "fill", "model", "model", "load_state_dict", "medium"),
        ("from transformers import PreTrainedModel", "fill", "", "model", "load_state_dict", "low"),
        ("from transformers import PreTrainedModel", "fill", "model", "model", "load_weights", "low"),
        ("import torch", "fill", "model", "model.lm_head", "load_state_dict", "low"),
        ("import torch", "test_fill", "model", "model", "load_state_dict", "low"),
    ],
)
def test_framework_code_is_surer_than_other_code(
    imports: str, name: str, given: str, module: str, load: str, confidence: str, tmp_path: Path
) -> None:
    text = LOAD.format(imports=imports, name=name, given=given, module=module, load=load)
    assert [finding.confidence for finding in findings(tmp_path, text)] == [confidence]


@pytest.mark.parametrize(
    "after",
    [
        "model.init_weights()",
        "model.apply(start)",
        "initialise_rope(model)",
        "fix_after_empty(model)",
        "reset_buffers(model)",
        "repair(model)",
        "model.rotary = Rotary(3)",
        "model._buffers['a'] = a",
        "FSDP(model, sync_module_states=True)",
    ],
)
def test_what_brings_buffers_back(after: str, tmp_path: Path) -> None:
    text = """
        def load(model, state):
            model.to_empty(device="cpu")
            model.load_state_dict(state)
            {}
        def repair(model):
            for name, buffer in model.named_buffers():
                buffer.copy_(values[name])
    """
    assert findings(tmp_path, text.format(after)) == []
    assert len(findings(tmp_path, text.format("model.config.use_cache = True"))) == 1
    assert len(findings(tmp_path, text.format("torch.cuda.reset_peak_memory_stats()"))) == 1


def test_model_that_is_only_converted_is_never_run(tmp_path: Path) -> None:
    text = """
        def convert(config, path):
            model = build(config)
            model.to_empty(device="cpu")
            load_weights(model, path)
            save(model.state_dict())
            return {}
    """
    assert findings(tmp_path, text.format("path")) == []
    assert len(findings(tmp_path, text.format("model"))) == 1


def test_model_built_empty_matters_where_it_goes_and_where_state_comes(tmp_path: Path) -> None:
    text = """
        def build(config):
            with init_empty_weights(include_buffers=True):
                model = Model(config)
            return {returned}
        def fill(model, state_dict):
            for name, value in {state}.items():
                put(model, name, value)
    """
    assert len(findings(tmp_path, text.format(returned="model", state="state_dict"))) == 1
    assert findings(tmp_path, text.format(returned="config", state="state_dict")) == []
    assert findings(tmp_path, text.format(returned="model", state="names")) == []


def test_class_that_only_manages_memory_may_have_careful_callers(tmp_path: Path) -> None:
    text = """
        class {name}:
            def sleep(self):
                self.allocator.sleep(offload_tags=())
    """
    assert [found.confidence for found in findings(tmp_path, text.format(name="GPUWorker"))] == ["medium"]
    assert [found.confidence for found in findings(tmp_path, text.format(name="Backend"))] == ["low"]


def test_module_that_is_a_part_of_a_call_is_no_pattern(tmp_path: Path) -> None:
    text = """
        def load(path, state):
            build(path.name).body.to_empty(device="cpu")
            model.load_state_dict(state)
            return path
    """
    assert [finding.code for finding in findings(tmp_path, text)] == ["BUF403"]
