"""Models on the meta device: without weights, without side effects, whatever their constructors do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from bufaudit.tracing.build import BuildError, construct, on_meta, without_initialisation  # noqa: E402
from bufaudit.tracing.targets import Request, Target, resolve  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


def target(text: str, **options: Any) -> Target:
    (found,) = resolve(Request(text, **options))
    return found


def plain(kind: type[nn.Module]) -> Target:
    return Target(kind.__name__, f"{__name__}:{kind.__name__}")


class Mixed(nn.Module):
    """Adds a tensor of the CPU to one of the meta device."""

    def __init__(self) -> None:
        super().__init__()
        offsets = torch.Tensor([1.0, 2.0])
        self.register_buffer("position", torch.arange(2) + offsets)
        self.register_buffer("offsets", offsets)
        self.register_buffer("copied", torch.Tensor([0.0, 0.0]).copy_(torch.arange(2)))


class Reads(nn.Module):
    """Reads a value that it asked to have on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        rates = [rate.item() for rate in torch.linspace(0, 1, 3, device="cpu")]
        self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(1 + int(rates[-1])))


class ReadsAnywhere(nn.Module):
    """Reads a value of a tensor without saying where it is to be, and of one that it has registered."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in torch.linspace(0, 1, 3).tolist())
        self.scale = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("table", self.scale * 2 + torch.ones(2), persistent=False)
        self.register_buffer("limit", torch.tensor(3.0))
        self.doubled = 2 * self.limit.item()


class Fails(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        raise RuntimeError("two\nlines")


def test_nothing_is_initialised_and_nothing_stays_patched() -> None:
    before = (nn.init.kaiming_uniform_, nn.modules.activation.xavier_uniform_)
    with without_initialisation():
        weight = torch.full((2, 2), 7.0)
        assert nn.init.zeros_(weight) is weight
        assert weight.eq(7).all()
        nn.MultiheadAttention(4, 2)
    assert (nn.init.kaiming_uniform_, nn.modules.activation.xavier_uniform_) == before
    assert nn.init.zeros_(weight).eq(0).all()


def test_nothing_stays_patched_where_a_constructor_raises() -> None:
    before = nn.init.zeros_
    with pytest.raises(BuildError) as raised:
        on_meta(plain(Fails))
    assert str(raised.value) == "Fails cannot be built: RuntimeError: two lines"
    assert nn.init.zeros_ is before
    assert torch.empty(1).device.type == "cpu"


def test_mixed_devices_are_no_obstacle() -> None:
    built = on_meta(plain(Mixed))
    assert all(buffer.is_meta for buffer in built.model.buffers())


def test_values_that_were_asked_for_on_the_cpu_are_there() -> None:
    built = on_meta(plain(Reads))
    assert len(built.model.layers) == 2
    assert built.escaped == ()


def test_values_that_nobody_asked_for_on_the_cpu_are_found_too() -> None:
    before = nn.Module.register_parameter
    built = on_meta(plain(ReadsAnywhere))
    assert len(built.model.layers) == 3
    assert built.escaped == ()
    assert not built.model.scale.requires_grad
    assert built.model.table.is_meta
    assert built.model.limit.is_meta
    assert built.model.doubled == 6
    assert nn.Module.register_parameter is before


def test_each_construction_gives_a_model_of_its_own() -> None:
    recipe = target("torch.nn:BatchNorm1d", settings={"num_features": 4})
    first, second = construct(recipe), construct(recipe)
    assert first.weight is not second.weight
    assert first.weight.device.type == "cpu"


def test_a_model_of_transformers_is_tied_and_all_on_meta() -> None:
    pytest.importorskip("transformers")
    built = on_meta(target("GPT2LMHeadModel", settings={"n_layer": 2}))
    assert all(tensor.is_meta for tensor in built.model.state_dict().values())
    assert built.escaped == ()
    with torch.device("meta"):
        usual = construct(target("GPT2LMHeadModel", settings={"n_layer": 2}))
    assert list(built.model.state_dict()) == list(usual.state_dict())


def test_tensors_that_escape_are_listed() -> None:
    """Encodec makes flags of its codebooks with `torch.Tensor([True])`."""
    pytest.importorskip("transformers")
    escaped = on_meta(target("EncodecModel")).escaped
    assert escaped
    assert all(name.endswith(".codebook.inited") for name in escaped)


def test_levit_mixes_devices_in_its_constructor() -> None:
    pytest.importorskip("transformers")
    built = on_meta(target("LevitModel"))
    assert "encoder.stages.0.layers.0.module.attention_bias_idxs" in dict(built.model.named_buffers())


@pytest.mark.parametrize(
    ("text", "settings", "reason"),
    [
        ("EsmModel", {}, "the config has no value for vocab_size: give it one with --set vocab_size=VALUE"),
        ("TimeSeriesTransformerModel", {}, "`prediction_length` config needs to be specified"),
        ("ReformerModelWithLMHead", {}, "is_decoder=True"),
        ("BertModel", {"hidden_size": 7}, "ValueError"),
    ],
)
def test_the_reason_is_one_line_that_says_what_to_set(text: str, settings: dict[str, int], reason: str) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(BuildError) as raised:
        on_meta(target(text, settings=settings))
    assert str(raised.value).startswith(f"{text} cannot be built: ")
    assert reason in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_what_an_error_asks_for_can_be_set() -> None:
    pytest.importorskip("transformers")
    settings = {"vocab_size": 33, "num_hidden_layers": 1, "pad_token_id": 1}
    assert on_meta(target("EsmModel", settings=settings)).model


def test_what_is_imported_while_building_initialises_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backbone's module, say, that only the constructor imports, and that names the initialisers it uses."""
    (tmp_path / "lazily_imported.py").write_text("from torch.nn.init import zeros_\n")
    (tmp_path / "imports_lazily.py").write_text(IMPORTS_LAZILY)
    monkeypatch.syspath_prepend(tmp_path)
    assert on_meta(Target("it", "imports_lazily:Lazy")).model.weight.is_meta
    import lazily_imported

    assert lazily_imported.zeros_(torch.ones(2)).tolist() == [0, 0]
    del sys.modules["lazily_imported"], sys.modules["imports_lazily"]


IMPORTS_LAZILY = """\
import torch
from torch import nn


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        from lazily_imported import zeros_

        self.weight = nn.Parameter(torch.empty(2))
        zeros_(self.weight)
"""
