"""What users install: a wheel that works by itself, without torch."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bufaudit import __version__

if TYPE_CHECKING:
    from conftest import MakeOnce

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "leaky_model"


@dataclass(frozen=True, slots=True)
class Installation:
    """A virtual environment that holds the wheel and what it depends on."""

    folder: Path

    def run(self, program: str, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, away from the source tree."""
        scripts = self.folder / ("Scripts" if os.name == "nt" else "bin")
        # What is on the path of the tests must not stand in for what is installed.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(
            [scripts / program, *arguments], cwd=cwd or self.folder, env=environment, capture_output=True, text=True
        )


@pytest.fixture(scope="session")
def wheel(make_once: MakeOnce) -> Path:
    def fill(folder: Path) -> None:
        command = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT]
        built = subprocess.run(command, capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr

    (path,) = make_once("wheel", fill).glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, make_once: MakeOnce) -> Installation:
    def fill(folder: Path) -> None:
        venv.create(folder, with_pip=True)
        pip = ["python", "-m", "pip", "install", "--disable-pip-version-check"]
        done = Installation(folder).run(*pip, wheel)
        assert done.returncode == 0, done.stdout + done.stderr

    return Installation(make_once("installed", fill))


def requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", [])


def test_base_installation_asks_for_little(wheel: Path) -> None:
    """A hook's environment must build in seconds."""
    base = {re.split(r"[<>=!~\[; ]", line)[0] for line in requirements(wheel) if "extra ==" not in line}
    assert base == {"click", "libcst", "rich"}


def test_extras(wheel: Path) -> None:
    """What traces a load needs no DeepSpeed; transformers loads some models with accelerate only."""
    extras: defaultdict[str, set[str]] = defaultdict(set)
    for line in requirements(wheel):
        if match := re.fullmatch(r"([\w.\[\]-]+).*; extra == ['\"](\w+)['\"]", line):
            extras[match[2]].add(match[1])
    assert extras["probe"] == {"accelerate", "safetensors", "torch", "transformers"}
    assert extras["verify"] == extras["probe"] | {"deepspeed"}
    assert extras.keys() == {"probe", "verify", "dev"}


def test_pins_hold_all_that_extras_ask_for(wheel: Path) -> None:
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()}
    asked = {re.split(r"[^\w-]", line)[0] for line in requirements(wheel)}
    assert asked - {"bufaudit"} <= pinned


def test_older_releases_are_pinned_whole() -> None:
    """They are installed without dependencies: a requirement without a pin would be taken from wherever."""
    for path in (ROOT / "tests" / "releases").glob("*.txt"):
        lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
        assert path.stem.replace("-", "==") in lines
        assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in lines), path


def test_wheel_holds_the_package_its_types_and_the_pages_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if ".dist-info/" not in name}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bufaudit").rglob("*.py")}
    pages = {f"bufaudit/rules/{path.name}" for path in (ROOT / "rules").glob("*.md")}
    assert packed == sources | pages | {"bufaudit/py.typed"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_nothing_heavy_is_installed(installed: Installation) -> None:
    done = installed.run("python", "-m", "pip", "list", "--format", "json", "--disable-pip-version-check")
    names = {each["name"].lower() for each in json.loads(done.stdout)}
    assert "bufaudit" in names
    assert not names & {"torch", "numpy", "transformers", "safetensors", "deepspeed"}


def test_version(installed: Installation) -> None:
    assert installed.run("bufaudit", "--version").stdout == f"bufaudit, version {__version__}\n"
    assert installed.run("python", "-m", "bufaudit", "--version").stdout == f"bufaudit, version {__version__}\n"


def test_rule_pages_are_found_where_the_package_is_installed(installed: Installation) -> None:
    done = installed.run("bufaudit", "rule", "BUF101", "--output-format", "markdown")
    assert done.returncode == 0, done.stderr
    written = (ROOT / "rules" / "BUF101.md").read_text("utf-8").partition("## What it finds")[2]
    shown = done.stdout.partition("## What it finds")[2]
    assert len(shown) > 1000
    assert shown.split() == written.split()


def test_scan_and_inventory(installed: Installation) -> None:
    scanned = installed.run("bufaudit", "scan", "--no-cache", "--output-format", "json", EXAMPLE)
    assert scanned.returncode == 1, scanned.stderr
    marks = sum(path.read_text("utf-8").count("# expect: BUF") for path in (EXAMPLE / "leaky_model").glob("*.py"))
    assert json.loads(scanned.stdout)["summary"]["findings"] == marks
    listed = installed.run("bufaudit", "inventory", "--no-cache", "--output-format", "json", EXAMPLE)
    assert listed.returncode == 0, listed.stderr
    assert "e_score_correction_bias" in listed.stdout


def test_a_scan_that_cannot_run_says_so(installed: Installation, tmp_path: Path) -> None:
    done = installed.run("bufaudit", "scan", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("bufaudit: ")


@pytest.mark.parametrize("command", ["probe", "verify"])
def test_commands_that_need_more_say_what(command: str, installed: Installation) -> None:
    done = installed.run("bufaudit", command, "bert")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"pip install 'bufaudit[{command}]'\n")
    assert done.stderr.count("\n") == 1


def test_types_are_exported(installed: Installation, tmp_path: Path) -> None:
    """A user's type checker reads our annotations rather than taking everything for Any."""
    user = tmp_path / "user.py"
    user.write_text("import bufaudit\n\nreveal_type(bufaudit.scan(['src']).findings)\n", "utf-8")
    python = installed.folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "--cache-dir", tmp_path, user]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MYPY"))}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "tuple[bufaudit.results.Finding, ...]" in done.stdout
