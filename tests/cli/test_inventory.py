"""`bufaudit inventory`: what it lists, in which forms, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from bufaudit.cli import run

from .support import BROKEN, complaint, write

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = """\
from torch import nn


class Clip(nn.Module):
    def __init__(self, bound, keep):
        super().__init__()
        self.register_buffer("bound", bound)
        self.scale = nn.Buffer(bound * 2, persistent=False)
        self.register_buffer("offset", bound, persistent=keep)
"""
MODELS = """\
from layers import Clip


class Tight(Clip):
    pass
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two modules, one with a class that inherits the buffers of the other's; the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("")
    write(tmp_path, layers=LAYERS, models=MODELS)
    return tmp_path


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert run(["inventory", "--output-format=json", *arguments]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["version"] == 1
    registrations: list[dict[str, Any]] = content["registrations"]
    return registrations


def test_json_has_what_is_registered_and_what_is_inherited(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(each["class"], each["name"], each["persistent"], each["inherited_from"]) for each in listed(capsys)]
    assert sorted(rows, key=str) == [
        ("Clip", "bound", True, None),
        ("Clip", "offset", "keep", None),
        ("Clip", "scale", False, None),
        ("Tight", "bound", True, "layers.Clip"),
        ("Tight", "offset", "keep", "layers.Clip"),
        ("Tight", "scale", False, "layers.Clip"),
    ]


def test_a_file_alone_inherits_from_the_rest_of_the_project(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys, "models.py")
    assert [(each["path"], each["line"], each["name"]) for each in found] == [
        ("layers.py", 7, "bound"),
        ("layers.py", 8, "scale"),
        ("layers.py", 9, "offset"),
    ]


def test_csv_has_the_same_rows_as_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [(each["class"], each["name"]) for each in listed(capsys)]
    run(["inventory", "--output-format=csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [(row["class"], row["name"]) for row in rows] == names


def test_the_default_is_a_table(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inventory"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("Clip", "Tight", "bound", "scale", "offset"))


def test_without_registrations_it_is_still_0(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project, layers="x = 1\n", models="y = 2\n")
    assert listed(capsys) == []


def test_a_file_that_cannot_be_read_is_told_and_the_rest_listed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, broken=BROKEN)
    assert run(["inventory", "--output-format=csv"]) == 0
    printed = capsys.readouterr()
    assert "Clip" in printed.out
    assert printed.err.startswith("warning: broken.py was left out: ")


def test_excludes_hold(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {each["class"] for each in listed(capsys, "--exclude=models.py")} == {"Clip"}
    assert listed(capsys, "models.py", "--exclude=models.py", "--force-exclude") == []


def test_to_a_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inventory", "--output-format=json", "-o", "buffers.json"]) == 0
    assert capsys.readouterr().out == ""
    assert len(json.loads((project / "buffers.json").read_bytes())["registrations"]) == 6


def test_refusals(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean models.py?" in complaint(capsys, "inventory", "modles.py")
    (project / "empty").mkdir()
    assert "no Python file under empty" in complaint(capsys, "inventory", "empty")
    assert "--select" in complaint(capsys, "inventory", "--select=BUF101")
