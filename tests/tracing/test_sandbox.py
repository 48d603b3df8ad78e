"""Code of a model directory in a child process: what it finds is the same, and no way to end it is a traceback."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

pytest.importorskip("transformers")

from typing import TYPE_CHECKING

from bufaudit.errors import BufauditError
from bufaudit.tracing.sandbox import Limits, run_apart
from bufaudit.tracing.targets import Request
from tests.tracing.folders import write_model

if TYPE_CHECKING:
    from pathlib import Path

    from bufaudit.outcomes import ModelReport

pytestmark = pytest.mark.slow


def probed(folder: Path, limits: Limits | None = None, **settings: int) -> ModelReport:
    request = Request(str(folder), settings=settings, trust_remote_code=True)
    (report,) = run_apart(request, ("from_pretrained",), 2, limits or Limits(timeout=120)).models
    return report


def test_the_code_is_traced_and_its_lines_are_those_of_the_directory(tmp_path: Path) -> None:
    report = probed(write_model(tmp_path / "model"), width=3)
    assert (report.target, report.class_name, report.error) == (str(tmp_path / "model"), "LeakyModel", None)
    (path,) = report.paths
    tensors = {tensor.name: tensor for tensor in path.tensors}
    assert {name: tensor.verdict for name, tensor in tensors.items()} == {
        "proj.weight": "kept",
        "proj.bias": "kept",
        "table": "uninitialised",
    }
    assert tensors["table"].shape == (3,)
    declared_at = tensors["table"].declared_at
    assert declared_at is not None
    file, _, line = declared_at.rpartition(":")
    assert file == "model/modeling_leaky.py"
    assert "table" in (tmp_path / file).read_text().splitlines()[int(line) - 1]
    assert sorted(os.listdir(tmp_path / "model")) == ["config.json", "configuration_leaky.py", "modeling_leaky.py"]


def test_a_mistake_in_the_settings_is_the_users(tmp_path: Path) -> None:
    with pytest.raises(BufauditError, match='LeakyConfig has no option "widht"; did you mean width'):
        probed(write_model(tmp_path / "model"), widht=3)


def test_a_constructor_that_raises_is_a_reason(tmp_path: Path) -> None:
    report = probed(write_model(tmp_path / "model", construct="raise ValueError('no such width')"))
    assert report.error == "LeakyModel cannot be built: ValueError: no such width"


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        ("__import__('os')._exit(3)", "ended its process with status 3"),
        ("__import__('os').kill(__import__('os').getpid(), 11)", "was ended by SIGSEGV"),
        ("raise SystemExit('enough')", "ended its process with status 1: enough"),
    ],
)
def test_a_crash_is_one_line(construct: str, message: str, tmp_path: Path) -> None:
    report = probed(write_model(tmp_path / "model", construct=construct))
    assert report.error == f"the code of {tmp_path / 'model'} {message}"


def test_a_hang_ends_with_all_that_it_started(tmp_path: Path) -> None:
    started = tmp_path / "started"
    before = (
        "import subprocess, time\n"
        "sleeper = subprocess.Popen(['sleep', '300'])\n"
        f"open({str(started)!r}, 'w').write(str(sleeper.pid))\n"
        "time.sleep(300)\n"
    )
    began = time.monotonic()
    report = probed(write_model(tmp_path / "model", before=before), Limits(timeout=25))
    assert report.error is not None
    assert report.error.endswith("did not end within 25 seconds; give it more with --timeout")
    assert time.monotonic() - began < 60
    state = subprocess.run(["ps", "-o", "stat=", "-p", started.read_text()], capture_output=True, text=True).stdout
    assert state.strip() in ("", "Z")


def test_memory_has_a_limit(tmp_path: Path) -> None:
    report = probed(
        write_model(tmp_path / "model", construct="bytearray(2**33)"),
        Limits(timeout=120, memory=4 * 2**30),
    )
    assert report.error is not None
    assert "memory" in report.error


def test_a_reply_that_the_code_forges_is_only_data(tmp_path: Path) -> None:
    """The child's folder is its own to write to; what comes back is checked against the types of a report."""
    before = (
        "import os, sys, pathlib\n"
        "pathlib.Path(sys.argv[1], 'reply.json').write_bytes(b'[[[\"not a report\"]],null]')\n"
        "os._exit(0)\n"
    )
    report = probed(write_model(tmp_path / "model", before=before))
    assert report.error == f"the code of {tmp_path / 'model'} ended its process with status 0"
