"""A small project with known findings, and ways to run the command line on it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from bufaudit.cli import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest

#: BUF302 in line 2, of medium confidence.
AVERAGE = """\
def update_ema(self, tau):
    polyak_update(self.online.parameters(), self.target.parameters(), tau)
    self.target.eval()
"""
#: BUF201 in line 6, of medium confidence.
SAVE = """\
import torch


def save(model, path):
    state = {"step": model.state_dict()["step"]}
    for name, parameter in model.named_parameters():
        state[name] = parameter
    torch.save(state, path)
"""
#: BUF104 in line 5, of low confidence.
LOAD = """\
import torch


def load(model, path):
    model.load_state_dict(torch.load(path), strict=False)
"""
CLEAN = "def double(number):\n    return 2 * number\n"
BROKEN = "broken = (\n"


def write(folder: Path, **files: str) -> None:
    """Write `name.py` for each keyword."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, "utf-8")


def codes(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[str]:
    """The codes that a scan reports, in the order of its report."""
    return [finding["code"] for finding in report(capsys, *arguments)["findings"]]


def report(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    """What a scan reports as JSON; the scan must have been able to run."""
    capsys.readouterr()
    status = run(["scan", "--output-format=json", *map(os.fspath, arguments)])
    printed = capsys.readouterr()
    assert status in (0, 1), printed.err
    content: dict[str, Any] = json.loads(printed.out)
    return content


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What a command says that cannot run: it exits with 2, prints nothing and shows no traceback."""
    capsys.readouterr()
    status = run([os.fspath(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert "Traceback" not in printed.err
    return printed.err


def process(
    *arguments: str | bytes | Path,
    cwd: Path,
    input: bytes | None = None,
    env: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m bufaudit` to its end."""
    return subprocess.run(
        [sys.executable, *options, "-m", "bufaudit", *arguments],
        cwd=cwd,
        input=b"" if input is None else input,
        capture_output=True,
        env=environment(env),
        timeout=60,
        check=False,
    )


def on_terminal(*arguments: str, cwd: Path, columns: int = 80, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The exit status and all output of `python -m bufaudit` on a terminal of its own."""
    return terminal_output(
        [sys.executable, "-m", "bufaudit", *arguments], cwd=cwd, columns=columns, env={"TERM": "xterm", **(env or {})}
    )


def terminal_output(
    command: Sequence[str], *, cwd: Path, columns: int = 80, env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """The exit status and all output of a command on a terminal of its own."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(command, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(env))
    os.close(theirs)
    received = b""
    try:
        while select.select([ours], [], [], 60)[0]:
            try:
                data = os.read(ours, 65536)
            except OSError:
                # The way in which Linux says that the other end is closed.
                break
            if not data:
                break
            received += data
        return child.wait(60), received.decode().replace("\r\n", "\n")
    finally:
        child.kill()
        os.close(ours)


def environment(given: Mapping[str, str] | None) -> dict[str, str]:
    """This process's environment without what changes colours, with what is given."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    return {**inherited, **(given or {})}
