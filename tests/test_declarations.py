"""Each tensor of a model leads to the line that registers it, whoever wrote the class."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bufaudit.declarations import declared_at, package_path

if TYPE_CHECKING:
    from collections.abc import Callable

torch = pytest.importorskip("torch")

#: A module of this name is written for each test.
_NAMES = (f"declared_{number}" for number in range(1000))


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Writes a package with a module `model`, builds its class `Model`, and says where its tensors are declared.

    A place in the module is given as its line of source, other places as they are.
    """

    def declare(source: str, **arguments: Any) -> dict[str, str]:
        package = next(_NAMES)
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        text = "import torch\nfrom torch import nn\n" + textwrap.dedent(source)
        (tmp_path / package / "model.py").write_text(text, "utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        invalidate_caches()
        found = declared_at(import_module(f"{package}.model").Model(), **arguments)
        lines = text.splitlines()
        return {name: _shown(place, f"{package}/model.py", lines) for name, place in found.items()}

    return declare


def _shown(place: str, own: str, lines: list[str]) -> str:
    file, _, line = place.rpartition(":")
    return lines[int(line) - 1].strip() if file == own else place


def line_of(place: str) -> str:
    """The source at a place in torch."""
    file, _, line = place.rpartition(":")
    return (Path(torch.__file__).parent.parent / file).read_text("utf-8").splitlines()[int(line) - 1].strip()


def test_own_tensors(declared: Callable[..., dict[str, str]]) -> None:
    assert declared(
        """
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(2))
                self.register_parameter("bias", None)
                self.register_parameter("bias", nn.Parameter(torch.ones(2)))
                self.register_buffer("mean", None)
                self.register_buffer("mean", torch.ones(2))
                self.table = nn.Buffer(torch.ones(2), persistent=False)
                for kind in ("full", "sliding"):
                    self.register_buffer(f"{kind}_inv_freq", torch.ones(2))
                    self.register_buffer(f"{kind}_original_inv_freq", torch.ones(2))
                for name in "ab":
                    setattr(self, name, nn.Parameter(torch.ones(2)))
        """
    ) == {
        "weight": "self.weight = nn.Parameter(torch.ones(2))",
        "bias": 'self.register_parameter("bias", nn.Parameter(torch.ones(2)))',
        "mean": 'self.register_buffer("mean", torch.ones(2))',
        "table": "self.table = nn.Buffer(torch.ones(2), persistent=False)",
        "full_inv_freq": 'self.register_buffer(f"{kind}_inv_freq", torch.ones(2))',
        "sliding_inv_freq": 'self.register_buffer(f"{kind}_inv_freq", torch.ones(2))',
        "full_original_inv_freq": 'self.register_buffer(f"{kind}_original_inv_freq", torch.ones(2))',
        "sliding_original_inv_freq": 'self.register_buffer(f"{kind}_original_inv_freq", torch.ones(2))',
        "a": "setattr(self, name, nn.Parameter(torch.ones(2)))",
        "b": "setattr(self, name, nn.Parameter(torch.ones(2)))",
    }


def test_inherited_tensors_and_those_of_nested_modules(declared: Callable[..., dict[str, str]]) -> None:
    places = declared(
        """
        class Base(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("scale", torch.ones(2))  # of the base
                self.register_buffer("shift", torch.ones(2))

        class Gate(Base):
            def __init__(self):
                super().__init__()
                self.register_buffer("scale", torch.zeros(2))  # of the gate

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList(Gate() for _ in range(2))
                self.norm = nn.BatchNorm2d(2)
                self.head = nn.Linear(2, 2)
        """
    )
    for layer in ("layers.0", "layers.1"):
        assert places[f"{layer}.scale"].endswith("# of the gate")
        assert places[f"{layer}.shift"] == 'self.register_buffer("shift", torch.ones(2))'
    assert places["norm.running_mean"].startswith("torch/nn/modules/batchnorm.py:")
    assert line_of(places["norm.num_batches_tracked"]) == "self.register_buffer("
    assert line_of(places["norm.weight"]).startswith("self.weight = Parameter(")
    assert line_of(places["head.weight"]).startswith("self.weight = Parameter(")
    assert line_of(places["head.bias"]).startswith("self.bias = Parameter(")


def test_tensors_that_another_module_registers(declared: Callable[..., dict[str, str]]) -> None:
    places = declared(
        """
        def freeze(layer):
            layer.register_buffer("frozen", torch.ones(2))

        class Part(nn.Module):
            pass

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(2, 2, bias=False)
                self.head.bias = nn.Parameter(torch.ones(2))
                self.part = Part()
                self.part.register_buffer("mask", torch.ones(2))
                self.scales = nn.ParameterList([nn.Parameter(torch.ones(2)) for _ in range(2)])
        """
    )
    assert places["head.bias"] == "self.head.bias = nn.Parameter(torch.ones(2))"
    assert places["part.mask"] == 'self.part.register_buffer("mask", torch.ones(2))'
    assert places["scales.1"].startswith("self.scales = nn.ParameterList(")


def test_tied_names_have_places_too(declared: Callable[..., dict[str, str]]) -> None:
    places = declared(
        """
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed = nn.Embedding(2, 2)
                self.head = nn.Linear(2, 2, bias=False)
                self.head.weight = self.embed.weight
        """
    )
    assert set(places) == {"embed.weight", "head.weight"}


def test_a_tensor_that_nobody_registers_in_writing_has_no_place(declared: Callable[..., dict[str, str]]) -> None:
    """No guess: the line of some other tensor would mislead."""
    assert (
        declared(
            """
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                add = self.register_buffer
                add("scale", torch.ones(2))
                getattr(self, "register_buffer")("other", torch.ones(2))
        """
        )
        == {}
    )


def test_parametrised_weights(declared: Callable[..., dict[str, str]]) -> None:
    places = declared(
        """
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = torch.nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 2, 1))
        """
    )
    original = places["conv.parametrizations.weight.original0"]
    assert original.startswith("torch/nn/utils/parametrize.py:")
    assert line_of(original).startswith('setattr(self, f"original{i}"')


def test_facts_are_kept_in_a_cache_folder(declared: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    source = """
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("scale", torch.ones(2))
    """
    assert declared(source, cache_dir=tmp_path / "cache") == declared(source)
    assert (tmp_path / "cache" / "facts.jsonl").exists()


def test_classes_without_a_file(tmp_path: Path) -> None:
    """As in a notebook, or under `python -c`."""
    kind: Any = type("Made", (torch.nn.Linear,), {"__module__": "no.such.module"})
    assert set(declared_at(kind(2, 2))) == {"weight", "bias"}
    code = (
        "import torch\nfrom bufaudit.declarations import declared_at\nclass M(torch.nn.Module):\n  def __init__(s):\n"
    )
    code += "    super().__init__()\n    s.register_buffer('a', torch.ones(1))\nprint(declared_at(M()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{}\n"


def test_package_path(tmp_path: Path) -> None:
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "inner" / "__init__.py").touch()
    assert package_path(str(tmp_path / "outer" / "inner" / "model.py")) == "inner/model.py"
    assert package_path(str(tmp_path / "outer" / "model.py")) == "model.py"
    (tmp_path / "outer" / "__init__.py").touch()
    assert package_path(str(tmp_path / "outer" / "inner" / "model.py")) == "outer/inner/model.py"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[Any, str], str]:
    """Fills with the line that is really running when a module gets a tensor, by module and name."""
    from torch.nn.modules import module

    places: dict[tuple[Any, str], str] = {}

    def recording(register: Callable[..., None]) -> Callable[..., None]:
        def record(owner: Any, name: str, value: Any, *others: Any, **options: Any) -> None:
            frame = sys._getframe(1)
            while frame.f_code.co_filename == module.__file__ and frame.f_back is not None:
                frame = frame.f_back
            if value is not None:
                places[owner, name] = f"{package_path(frame.f_code.co_filename)}:{frame.f_lineno}"
            register(owner, name, value, *others, **options)

        return record

    for method in ("register_buffer", "register_parameter"):
        monkeypatch.setattr(torch.nn.Module, method, recording(getattr(torch.nn.Module, method)))
    return places


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("gemma4.modeling_gemma4", "Gemma4ForConditionalGeneration"),
        ("deepseek_v3.modeling_deepseek_v3", "DeepseekV3ForCausalLM"),
        ("mobilenet_v2.modeling_mobilenet_v2", "MobileNetV2Model"),
        ("encodec.modeling_encodec", "EncodecModel"),
    ],
)
def test_lines_are_those_that_really_run(registered: dict[tuple[Any, str], str], module: str, name: str) -> None:
    pytest.importorskip("transformers")
    from transformers import initialization

    kind = getattr(import_module(f"transformers.models.{module}"), name)
    config = kind.config_class()
    if name.startswith("Deepseek"):
        config.num_hidden_layers = 4
    with initialization.no_init_weights(), torch.device("meta"):
        model = kind(config)
    found = declared_at(model)
    for name, _ in (*model.named_parameters(), *model.named_buffers()):
        owner, _, attribute = name.rpartition(".")
        real = registered[model.get_submodule(owner), attribute]
        # Convolutions have a line for each direction, the other two hand the tensor on to a line of theirs.
        if real.startswith(
            tuple(f"torch/nn/{file}.py:" for file in ("modules/conv", "modules/rnn", "utils/parametrize"))
        ):
            assert found[name].partition(":")[0] == real.partition(":")[0]
        else:
            assert found[name] == real
