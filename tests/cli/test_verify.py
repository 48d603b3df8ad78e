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
def test_a_model_that_keeps_all_is_clean() -> None:
    done = run("trial.models:Faithful", "--path", "from_pretrained", "--ranks", "1")
    assert done.returncode == 0, done.stderr
    assert "No losses" in done.stdout


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
