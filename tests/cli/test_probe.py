"""`bufaudit probe` from the outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bufaudit.cli import run
from tests.cli.support import complaint, process

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]

_MODEL = """\
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, width)


class Talking(Model):
    def __init__(self):
        super().__init__()
        print("here I am")


class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        raise ValueError("not today")


def load_all(model, state_dict):
    model.load_state_dict(state_dict)


def load_parameters(model, state_dict):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state_dict[name])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a model and its loaders in it."""
    pytest.importorskip("torch")
    (tmp_path / "probed_model.py").write_text(_MODEL)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("probed_model", None)


def reported(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = run(["probe", "probed_model:Model", "--output-format=json", *arguments])
    return status, json.loads(capsys.readouterr().out)


def test_a_loader_that_keeps_everything(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, report = reported(capsys, "--path", "probed_model:load_all", "--world-size=1", "--set", "width=3")
    (model,) = report["models"]
    assert (status, model["class"], model["world_size"]) == (0, "Model", 1)
    (path,) = model["paths"].values()
    assert {tensor["verdict"] for tensor in path["tensors"]} == {"kept"}
    assert path["tensors"][0]["shape"] == [3]
    assert str(folder) not in sys.path


def test_a_loader_that_drops_buffers_fails_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, report = reported(capsys, "--path", "probed_model:load_parameters")
    tensors = report["models"][0]["paths"]["probed_model:load_parameters"]["tensors"]
    lost = {tensor["name"] for tensor in tensors if tensor["verdict"] != "kept"}
    assert (status, lost) == (1, {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"})


def test_the_reference_loader_never_fails_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, report = reported(capsys, "--path=params-only", "--strict")
    assert status == 0
    assert report["models"][0]["paths"]["params-only"]["verdicts"]["persistent_buffer"].keys() == {"dropped"}


def test_known_losses_do_not_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ["--path", "probed_model:load_parameters"]
    assert run(["probe", "probed_model:Model", *path, "--write-baseline=known.json"]) == 0
    assert reported(capsys, *path, "--baseline=known.json")[0] == 0
    known = json.loads((folder / "known.json").read_text())
    known["losses"] = known["losses"][:1]
    (folder / "known.json").write_text(json.dumps(known))
    assert run(["probe", "probed_model:Model", *path, "--baseline=known.json"]) == 1


def test_the_count_of_a_written_baseline_is_that_of_tensors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["probe", "probed_model:Model", "--path=probed_model:load_parameters", "--write-baseline=known.json"])
    assert capsys.readouterr() == ("", "known.json: 3 known losses\n")


def test_what_a_model_prints_is_not_in_the_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["probe", "probed_model:Talking", "--path=probed_model:load_all", "--output-format=json"])
    printed = capsys.readouterr()
    assert (status, json.loads(printed.out)["version"]) == (0, 1)
    assert "here I am" in printed.err


def test_the_installed_command_finds_modules_in_the_current_folder_first(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The script lies elsewhere, and so its folder is what Python looks in; an installed namesake must not win."""
    scripts = Path(sysconfig.get_path("scripts"))
    if not (scripts / "bufaudit").exists():
        pytest.skip("bufaudit is not installed")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "probed_model.py").write_text("Model = None\n")
    done = subprocess.run(
        [scripts / "bufaudit", "probe", "probed_model:Model", "--path=probed_model:load_all", "--world-size=1"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(elsewhere)))},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_model_that_cannot_be_built(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", "probed_model:Broken", "--path", "probed_model:load_all"]) == 2
    assert "Broken cannot be built: ValueError: not today" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["probed_model:Modle"], "did you mean Model?"),
        (["probed_model:Model", "--set", "widht=3"], "did you mean width?"),
        (["probed_model:Model", "--set", "width"], "--set takes KEY=VALUE"),
        (["probed_model:Model", "--config", "config.json"], "is a plain module"),
        (["probed_model:Model", "--baseline", "missing.json"], "missing.json"),
        (["probed_model:Model", "--world-size", "0"], "--world-size"),
        (["probed_model:Model", "--path", "zero33"], "zero3"),
        (["probed_model:Model", "--path", "probed_model:load_al"], "did you mean load_all?"),
        (["probed_model:Model", "--path", "no_such_module:load"], "No module named 'no_such_module'"),
        (["no_such_module:Model"], "no module no_such_module"),
        (["./nowhere"], 'no directory "./nowhere"'),
        (["BertModle"], "did you mean BertModel?"),
        (["bert", "--class", "BertModle"], "did you mean BertModel?"),
        (["bert", "--config", "probed_model.py"], "probed_model.py is no model configuration: not JSON"),
        (["."], "config.json is no model configuration: No such file"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in complaint(capsys, "probe", *arguments)


def test_without_torch_the_command_says_what_to_install(tmp_path: Path) -> None:
    """The base package has none; a module that cannot be found stands for it."""
    blocked = "import sys; sys.modules['torch'] = None\nfrom bufaudit.cli import main\nmain(['probe', 'bert'])"
    (tmp_path / "blocked.py").write_text(blocked)
    done = subprocess.run([sys.executable, tmp_path / "blocked.py"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'bufaudit[probe]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_needs_no_torch(tmp_path: Path) -> None:
    done = process("probe", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert b"--trust-remote-code" in done.stdout
