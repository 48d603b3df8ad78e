"""The parent's side of a trial: processes that are asked, waited for and killed."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

from bufaudit.codec import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

Reply = TypeVar("Reply")

_TAIL = 4096
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Death:
    """A process ended before it answered; `how` says in which way, with the last line that it wrote."""

    how: str


class Worker:
    """A child process, `python -m MODULE ARGUMENTS`, in a process group of its own.

    What it and its libraries print goes to `log`. Leaving the context kills the whole group.
    """

    def __init__(self, module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._pending = b""
        replies, theirs = os.pipe()
        command = [sys.executable, "-P", "-m", module, str(theirs), *arguments]
        try:
            with log.open("wb") as out:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=out,
                    pass_fds=(theirs,),
                    env={**os.environ, "PYTHONPATH": _same_modules(), **environment},
                    start_new_session=True,
                )
        except BaseException:
            os.close(replies)
            raise
        finally:
            os.close(theirs)
        assert self._process.stdin is not None
        self._stdin = self._process.stdin
        self._replies = replies

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        with suppress(BrokenPipeError):
            self._stdin.close()
        os.close(self._replies)

    def fileno(self) -> int:
        """The file descriptor that becomes readable with an answer, or with the end of the process."""
        return self._replies

    def kill(self) -> None:
        """End the process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def send(self, request: object) -> None:
        """Ask something; a process that has died is noticed when its answer is read."""
        with suppress(BrokenPipeError):
            self._stdin.write(type(request).__name__.encode() + b" " + to_json(request) + b"\n")
            self._stdin.flush()

    def read(self, kind: type[Reply]) -> Reply | Death | None:
        """The answer if it has arrived whole, else None; call it when the process is readable."""
        data = os.read(self._replies, 1 << 20)
        if not data:
            return Death(self._last_words())
        self._pending += data
        if b"\n" not in data:
            return None
        line, _, self._pending = self._pending.partition(b"\n")
        return from_json(kind, line)

    def _last_words(self) -> str:
        try:
            status = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            how = "closed its channel"
        else:
            how = f"was killed by {_signal_name(-status)}" if status < 0 else f"exited with status {status}"
        with self._log.open("rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - _TAIL, 0))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
        return f"it {how}; its last line was: {lines[-1].strip()}" if lines else f"it {how}"


def first_answer(
    workers: Collection[Worker], kind: type[Reply], deadline: float
) -> tuple[Worker, Reply | Death] | None:
    """The next worker to answer or die, and its answer; None after `deadline`, in seconds of `time.monotonic`."""
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker, selectors.EVENT_READ, worker)
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                reply: Reply | Death | None = key.data.read(kind)
                if reply is not None:
                    return key.data, reply
    return None


def ask(worker: Worker, request: object | None, kind: type[Reply], deadline: float) -> Reply | Death | None:
    """A worker's answer to a request, or what it says next where that is None; None after `deadline`."""
    if request is not None:
        worker.send(request)
    answer = first_answer([worker], kind, deadline)
    return None if answer is None else answer[1]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _same_modules() -> str:
    """The path on which this process finds modules, for a child to find the same ones and no others."""
    return os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
