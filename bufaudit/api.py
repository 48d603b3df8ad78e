"""The functions behind the commands, for use from Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bufaudit.config import load_settings, override
from bufaudit.session import Request, Session

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from bufaudit.config import Settings
    from bufaudit.results import InventoryResult, ScanResult

    Progress = Callable[[int, int], None]


def scan(
    paths: Sequence[str | os.PathLike[str]] = (".",),
    *,
    settings: Settings | None = None,
    stdin: tuple[str | os.PathLike[str], bytes] | None = None,
    changed_only: bool = False,
    changed_since: str | None = None,
    force_exclude: bool = False,
    progress: Progress | None = None,
    **overrides: Any,
) -> ScanResult:
    """Look for dropped state in the source below `paths`, importing nothing of it.

    `settings` default to those of the nearest `pyproject.toml`; `overrides` are fields of `Settings`, such as
    `select=["BUF101"]`, `min_confidence="low"` or `cache=False`. `stdin` is a file's name and the bytes that stand for
    its content on disk. With `changed_only`, only files that git says have changed are reported on, since the merge
    base with `changed_since` where that is given; what the others say is known all the same. `progress` is called
    with the number of files read and the number to read.

    Raises `BufauditError` for paths that do not exist or hold no Python file, for settings that make no sense, and
    where git cannot say what changed.
    """
    request = Request(
        tuple(paths),
        stdin=stdin,
        changed_only=changed_only,
        changed_since=changed_since,
        force_exclude=force_exclude,
    )
    return _session(paths, settings, overrides).scan(request, progress)


def inventory(
    paths: Sequence[str | os.PathLike[str]] = (".",),
    *,
    settings: Settings | None = None,
    force_exclude: bool = False,
    progress: Progress | None = None,
    **overrides: Any,
) -> InventoryResult:
    """List every buffer that the classes below `paths` register or inherit.

    Parameters and errors are those of `scan`.
    """
    request = Request(tuple(paths), force_exclude=force_exclude)
    return _session(paths, settings, overrides).inventory(request, progress)


def _session(paths: Sequence[str | os.PathLike[str]], settings: Settings | None, overrides: dict[str, Any]) -> Session:
    """A session with the settings given, or those that hold for the first path."""
    if settings is None:
        first = Path(next(iter(paths), "."))
        settings = load_settings(first if first.is_dir() else first.parent)
    return Session(override(settings, **overrides))
