"""Bytes to where they are wanted, and progress to a person who waits."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from bufaudit.errors import BufauditError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_PATIENCE = 1.0
_REDRAW = 0.1
#: Wide enough for what a log shows.
_WIDTH_OF_A_FILE = 120


class OutputFileError(BufauditError):
    """A report that cannot be written where it was asked for."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"cannot write {path}: {error.strerror}")


def write(report: bytes, path: Path | None) -> None:
    """Write a report to a file or to standard output; a reader that has left is no error."""
    if path is not None:
        try:
            path.write_bytes(report)
        except OSError as error:
            raise OutputFileError(path, error) from None
        return
    try:
        sys.stdout.buffer.write(report)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Python flushes standard output once more at exit, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(sentences: Iterable[str]) -> None:
    """Say something about the run itself."""
    for sentence in sentences:
        click.echo(f"warning: {_plain(sentence)}", err=True)


def in_color(path: Path | None) -> bool:
    """Whether a report may have colour: on a terminal, unless NO_COLOR says no or FORCE_COLOR says yes."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return path is None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def width(path: Path | None) -> int:
    """How many cells a line of a report may take."""
    if path is not None or not sys.stdout.isatty():
        return _WIDTH_OF_A_FILE
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _WIDTH_OF_A_FILE
    except OSError:
        return _WIDTH_OF_A_FILE


def progress() -> Callable[[int, int], None] | None:
    """A line on standard error once a run has taken a second, on a terminal only."""
    if not sys.stderr.isatty():
        return None
    began = time.monotonic()
    drawn = 0.0

    def draw(done: int, total: int) -> None:
        nonlocal drawn
        now = time.monotonic()
        if now - began < _PATIENCE:
            return
        if done == total:
            sys.stderr.write("\r\x1b[K")
        elif now - drawn > _REDRAW:
            drawn = now
            sys.stderr.write(f"\r\x1b[Kreading {done} of {total} files")
        sys.stderr.flush()

    return draw


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
