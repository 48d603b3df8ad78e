"""Bytes to where they are wanted, and progress to a person who waits."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, TextIO

import click

from bufaudit.errors import BufauditError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_PATIENCE = 1.0
_REDRAW = 0.1
#: Wide enough for what a log shows.
_WIDTH_OF_A_FILE = 120
_CLEAR = "\r\x1b[K"


class CannotWriteError(BufauditError):
    """A report that cannot be written where it was asked for."""

    def __init__(self, where: str, reason: str | None) -> None:
        super().__init__(f"cannot write {where}: {reason}")


def write(report: bytes, path: Path | None) -> None:
    """Write a report to a file or to standard output; a reader that has left is no error."""
    if path is not None:
        try:
            path.write_bytes(report)
        except OSError as error:
            missing = not os.path.lexists(path.parent)
            reason = f"there is no folder {printable(path.parent)}" if missing else error.strerror
            raise CannotWriteError(printable(path), reason) from None
        return
    # Python has no stream where the shell closed it.
    if sys.stdout is None:
        raise CannotWriteError("standard output", "it is closed")
    try:
        sys.stdout.buffer.write(report)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _drop_standard_output()
    except OSError as error:
        _drop_standard_output()
        raise CannotWriteError("standard output", error.strerror) from None


@contextmanager
def for_the_report_alone() -> Iterator[None]:
    """A context in which code that prints, of models and libraries, does so on standard error."""
    with redirect_stdout(sys.stderr):
        yield


def read_standard_input() -> bytes:
    """All of it; nothing where the shell closed it."""
    return sys.stdin.buffer.read() if sys.stdin is not None else b""


def warn(sentences: Iterable[str]) -> None:
    """Say something about the run itself."""
    for sentence in sentences:
        click.echo(f"warning: {printable(sentence)}", err=True)


def in_color(path: Path | None) -> bool:
    """Whether a report may have colour: on a terminal, unless NO_COLOR says no or FORCE_COLOR says yes."""
    if path is not None or os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (_is_terminal(sys.stdout) and _understands_escapes())


def width(path: Path | None) -> int:
    """How many cells a line of a report may take."""
    if path is not None or not _is_terminal(sys.stdout):
        return _WIDTH_OF_A_FILE
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _WIDTH_OF_A_FILE
    except OSError:
        return _WIDTH_OF_A_FILE


@contextmanager
def progress(words: str = "reading {} of {} files") -> Iterator[Callable[[int, int], None] | None]:
    """A line on standard error once a run has taken a second, on a terminal only; gone when the run is over.

    `words` have two places for numbers: what is done, and what there is to do.
    """
    if not (_is_terminal(sys.stderr) and _understands_escapes()):
        yield None
        return
    began = time.monotonic()
    drawn = 0.0

    def draw(done: int, total: int) -> None:
        nonlocal drawn
        now = time.monotonic()
        if now - began >= _PATIENCE and now - drawn >= _REDRAW:
            drawn = now
            sys.stderr.write(_CLEAR + words.format(done, total))
            sys.stderr.flush()

    try:
        yield draw
    finally:
        if drawn:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()


@contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """What a run does next, on standard error, on a terminal only; gone when the run is over."""
    if not (_is_terminal(sys.stderr) and _understands_escapes()):
        yield lambda _: None
        return

    def draw(text: str) -> None:
        room = max(width(None) - 1, 1)
        sys.stderr.write(f"{_CLEAR}{printable(text)[:room]}")
        sys.stderr.flush()

    try:
        yield draw
    finally:
        sys.stderr.write(_CLEAR)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _understands_escapes() -> bool:
    return os.environ.get("TERM") != "dumb"


def _drop_standard_output() -> None:
    """Send what is left nowhere: Python flushes standard output once more at exit, and would complain then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
