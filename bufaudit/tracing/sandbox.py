"""A model directory's own code, run in a child process that has little time and memory and speaks JSON only.

The limits keep a mistake from taking the machine down. They are no wall: trusted code has the user's own rights.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from bufaudit.codec import from_json
from bufaudit.errors import printable
from bufaudit.outcomes import ModelReport, ProbeResult
from bufaudit.tracing.mistakes import TargetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bufaudit.tracing.targets import Request

REQUEST = "request.json"
REPLY = "reply.json"
#: The exit status of a child that ran out of memory.
OUT_OF_MEMORY = 77

#: More than a report on the largest models needs.
_LARGEST_REPLY = 2**30
_LAST_WORDS = 4096
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child process may take: `timeout` in seconds, `memory` in bytes that it can write to."""

    timeout: float = 600.0
    memory: int = 16 * _GIB


@dataclass(frozen=True, slots=True)
class Reply:
    """What a child has to say: the result, or the one line that a user's mistake earns."""

    result: ProbeResult | None = None
    mistake: str | None = None


def run_apart(request: Request, paths: Sequence[str], world_size: int, limits: Limits) -> ProbeResult:
    """What `run` gives, found out by a child process in which the code of the request's directory may run.

    A child that crashes, hangs or runs out of memory gives a report with an error. Nothing that it started outlives it,
    and nothing that it wrote is ever unpickled. Raises `TargetError` for what is wrong with the request.
    """
    with tempfile.TemporaryDirectory(prefix="bufaudit-") as name:
        folder = Path(name)
        (folder / REQUEST).write_text(json.dumps(_as_json(request, paths, world_size, limits)))
        status = _run_child(folder, limits.timeout)
        reply = _read_reply(folder)
        last_words = _last_words(folder / "output.txt")
    if reply is not None and reply.mistake is not None:
        raise TargetError(printable(reply.mistake))
    if status == 0 and reply is not None and reply.result is not None:
        return reply.result
    failed = ModelReport(
        target=request.text,
        class_name=request.class_name,
        transformers=_version("transformers"),
        torch=_version("torch") or "",
        world_size=world_size,
        error=f"the code of {printable(request.text)} {_end(status, last_words, limits)}",
    )
    return ProbeResult((failed,))


def _as_json(request: Request, paths: Sequence[str], world_size: int, limits: Limits) -> Mapping[str, object]:
    return {
        "text": request.text,
        "class_name": request.class_name,
        "settings": dict(request.settings),
        "paths": list(paths),
        "world_size": world_size,
        "search": [path for path in sys.path if path],
        "limits": {"seconds": limits.timeout, "memory": limits.memory, "file": _LARGEST_REPLY},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _run_child(folder: Path, timeout: float) -> int | None:
    """The exit status of the child, None where its time was over."""
    with (folder / "output.txt").open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "bufaudit.tracing.child", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(folder),
            start_new_session=True,
        )
        try:
            return child.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # Whatever it has started is in its group.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _environment(folder: Path) -> dict[str, str]:
    """This process's environment, without a network for models and with a place of its own for copies of code."""
    home = str(Path(__file__).resolve().parents[2])
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in (os.environ.get("PYTHONPATH"), home) if path),
        # The current folder is for the request to name, not for Python to look for modules in.
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(folder / "modules"),
        "TMPDIR": str(folder),
    }


def _read_reply(folder: Path) -> Reply | None:
    path = folder / REPLY
    try:
        if path.stat().st_size > _LARGEST_REPLY:
            return None
        return from_json(Reply, path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _last_words(path: Path) -> str:
    """The last line that the child printed."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LAST_WORDS))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return printable(lines[-1]) if lines else ""


def _end(status: int | None, last_words: str, limits: Limits) -> str:
    """How a child without a result ended."""
    said = f": {last_words}" if last_words else ""
    if status is None:
        return f"did not end within {limits.timeout:g} seconds; give it more with --timeout"
    if status == OUT_OF_MEMORY or last_words == "MemoryError":
        return f"needs more than {limits.memory / _GIB:g} GiB of memory; give it more with --memory-limit"
    if status < 0:
        return f"was ended by {_signal_name(-status)}{said}"
    return f"ended its process with status {status}{said}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
