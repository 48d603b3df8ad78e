"""`bufaudit verify` from the outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests")))
    return subprocess.run(
        [sys.executable, "-m", "bufaudit", "verify", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((paths, os.environ.get("PYTHONPATH", "")))},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_losses_are_shown_and_counted_in_the_exit_status() -> None:
    done = run("trial.models:Forgetful", "--path", "from_pretrained", "--output-format", "json", "--set", "width=3")
    assert done.returncode == 1, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    assert model["class"] == "Forgetful" and model["world_size"] == 2
    path = model["paths"]["from_pretrained"]
    assert path["verdicts"]["non_persistent_buffer"] == {"uninitialised": 1}
    assert {tuple(tensor["shape"]) for tensor in path["tensors"]} == {(3,), (3, 3)}


@pytest.mark.slow
def test_known_losses_do_not_count(tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    forgetful = ("trial.models:Forgetful", "--path", "from_pretrained", "--ranks", "1")
    written = run(*forgetful, "--write-baseline", str(known))
    assert (written.returncode, written.stdout, written.stderr) == (0, "", f"{known}: 1 known loss\n")
    assert run(*forgetful, "--baseline", str(known)).returncode == 0


@pytest.mark.slow
def test_a_model_that_keeps_all_is_clean() -> None:
    done = run("trial.models:Faithful", "--path", "from_pretrained", "--ranks", "1")
    assert done.returncode == 0, done.stderr
    assert "No losses" in done.stdout


def test_a_missing_baseline_is_noticed_before_anything_is_loaded() -> None:
    done = run("llama", "--baseline", "missing.json")
    assert done.returncode == 2
    assert done.stderr == "bufaudit: baseline missing.json: there is no such file; --write-baseline makes one\n"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("BertModle",), ("./nowhere",), ("torch.nn:Identity",), ("no_such_module:A",)])
def test_a_target_that_is_none_is_one_line(arguments: tuple[str, ...]) -> None:
    done = run(*arguments, "--path", "from_pretrained")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("bufaudit: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("missing", "path"), [("torch", "from_pretrained"), ("transformers", "from_pretrained"), ("deepspeed", "zero3")]
)
def test_a_package_that_is_missing_is_named(missing: str, path: str) -> None:
    pytest.importorskip("torch")
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom bufaudit.cli import main\n"
    code += f"main(['verify', 'bert', '--path', {path!r}])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "which is not installed: pip install 'bufaudit[verify]'" in done.stderr


def test_a_mistyped_path_gets_a_suggestion() -> None:
    done = run("llama", "--path", "zero")
    assert done.returncode == 2
    assert "zero3" in done.stderr


def test_a_setting_without_a_value_is_refused() -> None:
    done = run("llama", "--set", "width")
    assert done.returncode == 2
    assert "KEY=VALUE" in done.stderr


@pytest.mark.slow
def test_an_unknown_option_is_one_line() -> None:
    done = run("llama", "--path", "from_pretrained", "--set", "hidden_sice=8")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "hidden_size" in done.stderr
