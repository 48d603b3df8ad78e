"""The hooks, as real commits through real `pre-commit` meet them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import MakeOnce

ROOT = Path(__file__).resolve().parents[1]
#: What a clone of the repository needs for its hooks to be installed.
PACKAGED = ("bufaudit", "rules", "pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml")

NETS = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("scale", torch.ones(4))


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4))
"""
LEAKY = """\
import torch

from nets import {net}


def load_model(path):
    model = {net}()
    state_dict = torch.load(path)
    for name, param in model.named_parameters():
        param.data.copy_(state_dict[name])
    return model
"""
CLEAN = """\
import torch


def load_checkpoint(model, path):
    model.load_state_dict(torch.load(path))
"""


@dataclass(frozen=True, slots=True)
class Hooks:
    """A repository that provides the hooks, and the environment to run git and pre-commit in."""

    url: Path
    revision: str
    environment: dict[str, str]

    @property
    def store(self) -> Path:
        """Where pre-commit keeps what it installs."""
        return Path(self.environment["PRE_COMMIT_HOME"])


@dataclass(frozen=True, slots=True)
class Repository:
    """Somebody's repository, with the hook installed."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def git(self, *arguments: str) -> str:
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def have(self, **files: str) -> None:
        """Modules that were committed before the hook was there."""
        for name, text in files.items():
            self.write(f"{name}.py", text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--no-verify", "--message", "before")

    def commit(self, *names: str) -> subprocess.CompletedProcess[str]:
        """Stage some files and commit them, as far as the hook lets that happen."""
        self.git("add", *names)
        return self.run("git", "commit", "--message", "change")

    def is_committed(self, name: str) -> bool:
        return name in self.git("ls-tree", "-r", "--name-only", "HEAD").splitlines()


@pytest.fixture(scope="session")
def hooks(make_once: MakeOnce) -> Hooks:
    folder = make_once("hooks", _provide)
    provider = Repository(folder / "bufaudit", _environment(folder))
    return Hooks(provider.folder, provider.git("rev-parse", "HEAD").strip(), provider.environment)


def _environment(folder: Path) -> dict[str, str]:
    """No settings and no store of the person who runs the tests, nor of a hook that may be running them."""
    foreign = ("GIT_", "PRE_COMMIT", "PYTHON")
    identity = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        **identity,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "PRE_COMMIT_HOME": str(folder / "store"),
        "PRE_COMMIT_COLOR": "never",
    }


def _provide(folder: Path) -> None:
    """Make a repository of this working tree, and have pre-commit install its hooks."""
    provider = Repository(folder / "bufaudit", _environment(folder))
    provider.folder.mkdir()
    for name in PACKAGED:
        source, target = ROOT / name, provider.folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    provider.git("init", "--quiet", "--initial-branch=main")
    provider.git("add", "--all")
    provider.git("commit", "--quiet", "--message", "release")
    hooks = Hooks(provider.folder, provider.git("rev-parse", "HEAD").strip(), provider.environment)
    (folder / "user").mkdir()
    user = _repository(hooks, folder / "user", "bufaudit")
    done = user.run(sys.executable, "-m", "pre_commit", "install-hooks")
    assert done.returncode == 0, done.stdout


@pytest.fixture
def repository(hooks: Hooks, tmp_path: Path) -> Repository:
    return _repository(hooks, tmp_path, "bufaudit")


@pytest.fixture
def project_repository(hooks: Hooks, tmp_path: Path) -> Repository:
    return _repository(hooks, tmp_path, "bufaudit-project")


def _repository(hooks: Hooks, folder: Path, hook: str) -> Repository:
    repository = Repository(folder, hooks.environment)
    repository.git("init", "--quiet", "--initial-branch=main")
    repository.write(
        ".pre-commit-config.yaml",
        f"repos:\n  - repo: '{hooks.url}'\n    rev: {hooks.revision}\n    hooks:\n      - id: {hook}\n",
    )
    done = repository.run(sys.executable, "-m", "pre_commit", "install")
    assert done.returncode == 0, done.stdout
    repository.have()
    return repository


def test_staged_defect_stops_the_commit_and_is_named(repository: Repository) -> None:
    repository.have(nets=NETS)
    repository.write("loader.py", LEAKY.format(net="Net"))
    done = repository.commit("loader.py")
    assert done.returncode == 1
    assert "BUF101 params-only-load" in done.stdout
    assert "loader.py:9:" in done.stdout
    assert not repository.is_committed("loader.py")


def test_clean_commit_passes(repository: Repository) -> None:
    repository.write("loader.py", CLEAN)
    done = repository.commit("loader.py")
    assert done.returncode == 0, done.stdout
    assert "Passed" in done.stdout
    assert repository.is_committed("loader.py")


def test_defect_that_is_not_staged_is_not_reported(repository: Repository) -> None:
    repository.have(nets=NETS, old=LEAKY.format(net="Net"))
    repository.write("new.py", LEAKY.format(net="Net"))
    repository.write("loader.py", CLEAN)
    done = repository.commit("loader.py")
    assert done.returncode == 0, done.stdout
    assert "Passed" in done.stdout


def test_files_that_are_not_staged_give_context(repository: Repository) -> None:
    """The same loader loses a buffer of one class and nothing of another; which is which stands in another file."""
    repository.have(nets=NETS)
    repository.write("plain_loader.py", LEAKY.format(net="Plain"))
    assert repository.commit("plain_loader.py").returncode == 0
    repository.write("loader.py", LEAKY.format(net="Net"))
    done = repository.commit("loader.py")
    assert done.returncode == 1
    assert "`scale`" in done.stdout
    assert "nets.py:9" in done.stdout


def test_excluded_file_is_not_reported_though_it_is_staged(repository: Repository) -> None:
    """pre-commit gives each staged file by name, which would otherwise overrule excludes."""
    repository.write("pyproject.toml", '[tool.bufaudit]\nexclude = ["vendored/"]\n')
    repository.have(nets=NETS)
    repository.write("vendored/loader.py", LEAKY.format(net="Net"))
    done = repository.commit("vendored/loader.py")
    assert done.returncode == 0, done.stdout
    assert "Passed" in done.stdout
    repository.write("loader.py", LEAKY.format(net="Net"))
    assert repository.commit("loader.py").returncode == 1


def test_settings_of_the_repository_hold(repository: Repository) -> None:
    repository.write("pyproject.toml", '[tool.bufaudit]\nignore = ["params-only-load"]\n')
    repository.have(nets=NETS)
    repository.write("loader.py", LEAKY.format(net="Net"))
    done = repository.commit("loader.py")
    assert done.returncode == 0, done.stdout


def test_commit_without_python_files_passes(repository: Repository) -> None:
    repository.write("README.md", "words\n")
    done = repository.commit("README.md")
    assert done.returncode == 0, done.stdout
    assert "no files to check" in done.stdout


def test_hook_leaves_nothing_behind_that_git_would_list(repository: Repository) -> None:
    repository.have(nets=NETS)
    repository.write("loader.py", CLEAN)
    assert repository.commit("loader.py").returncode == 0
    assert repository.git("status", "--porcelain") == ""


def test_project_hook_reports_files_that_are_not_staged(project_repository: Repository) -> None:
    project_repository.have(nets=NETS, old=LEAKY.format(net="Net"))
    project_repository.write("loader.py", CLEAN)
    done = project_repository.commit("loader.py")
    assert done.returncode == 1
    assert "old.py:9:" in done.stdout


def test_project_hook_passes_on_a_clean_project(project_repository: Repository) -> None:
    project_repository.write("loader.py", CLEAN)
    done = project_repository.commit("loader.py")
    assert done.returncode == 0, done.stdout
    assert "Passed" in done.stdout


def test_environment_of_the_hooks_is_light(hooks: Hooks) -> None:
    """No torch: a hook's environment must build in seconds."""
    installed = {path.name for path in hooks.store.glob("repo*/py_env-*/lib/python*/site-packages/*")}
    assert {"bufaudit", "click", "libcst", "rich"} <= installed
    assert not installed & {"torch", "numpy", "transformers", "safetensors", "deepspeed"}
