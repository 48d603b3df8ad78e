"""An exception in a few words: its type, the first line of its message, and the line that it comes from."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from bufaudit.outcomes import PathError

if TYPE_CHECKING:
    from types import FrameType

_ROOM = 300


def path_error(error: BaseException, rank: int, *names: str) -> PathError:
    """What an exception says, and the innermost line in transformers or the packages of names like `module:Class`."""
    packages = {"transformers", *(name.partition(".")[0].partition(":")[0] for name in names)}
    return PathError(rank, type(error).__name__, first_line(error), _innermost(error, packages))


def first_line(error: BaseException) -> str:
    """The first line of an exception's message that says something, with the next where it ends in a colon, cut."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = next(iter(lines), "")
    if line.endswith(":"):
        line = " ".join(lines[:2])
    return line if len(line) <= _ROOM else f"{line[: _ROOM - 1]}…"


def _innermost(error: BaseException, packages: set[str]) -> str | None:
    places = (_place(frame, line, packages) for frame, line in traceback.walk_tb(error.__traceback__))
    return next(filter(None, reversed(list(places))), None)


def _place(frame: FrameType, line: int, packages: set[str]) -> str | None:
    """`package/file.py:line` for a frame of one of the packages."""
    module: str = frame.f_globals.get("__name__", "")
    if module.partition(".")[0] not in packages:
        return None
    file = Path(frame.f_code.co_filename)
    depth = module.count(".") + (file.name == "__init__.py") + 1
    return f"{'/'.join(file.parts[-depth:])}:{line}"
