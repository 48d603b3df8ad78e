"""The functions behind the commands, for use from Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bufaudit.config import load_settings, override, settings_by_path
from bufaudit.results import InventoryResult, merged
from bufaudit.session import Request, Session

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import Unpack

    from bufaudit.config import Overrides, Settings
    from bufaudit.results import ScanResult
    from bufaudit.session import Progress


def scan(
    paths: Sequence[str | os.PathLike[str]] = (".",),
    *,
    settings: Settings | None = None,
    config: Path | None = None,
    isolated: bool = False,
    stdin: tuple[str | os.PathLike[str], bytes] | None = None,
    changed_only: bool = False,
    changed_since: str | None = None,
    force_exclude: bool = False,
    progress: Progress | None = None,
    **overrides: Unpack[Overrides],
) -> ScanResult:
    """Look for dropped state in the source below `paths`, importing nothing of it.

    `settings` default to those of the `pyproject.toml` nearest to each path, or of `config`, or with `isolated` of no
    file. `overrides` are fields of `Settings`, such as `select=["BUF101"]`, `min_confidence="low"` or `cache=False`.
    `stdin` is a file's name and the bytes that stand for its content on disk; it takes the place of `paths`. With
    `changed_only`, only files that git says have changed are reported on, since the merge base with `changed_since`
    where that is given; what the others say is known all the same. `progress` is called with the number of files read
    and the number to read.

    Raises `BufauditError` for paths that do not exist or hold no Python file, for settings that make no sense, and
    where git cannot say what changed.
    """
    results = []
    for chosen, some in _groups(paths if stdin is None else (stdin[0],), settings, config, isolated).items():
        request = Request(
            tuple(some),
            stdin=stdin,
            changed_only=changed_only,
            changed_since=changed_since,
            force_exclude=force_exclude,
        )
        results.append(Session(override(chosen, **overrides)).scan(request, progress))
    return results[0] if len(results) == 1 else merged(results)


def inventory(
    paths: Sequence[str | os.PathLike[str]] = (".",),
    *,
    settings: Settings | None = None,
    config: Path | None = None,
    isolated: bool = False,
    force_exclude: bool = False,
    progress: Progress | None = None,
    **overrides: Unpack[Overrides],
) -> InventoryResult:
    """List every buffer that the classes below `paths` register or inherit.

    Parameters and errors are those of `scan`.
    """
    from bufaudit.inventorying import in_order

    results = []
    for chosen, some in _groups(paths, settings, config, isolated).items():
        request = Request(tuple(some), force_exclude=force_exclude)
        results.append(Session(override(chosen, **overrides)).inventory(request, progress))
    if len(results) == 1:
        return results[0]
    return InventoryResult(
        registrations=in_order(each for result in results for each in result.registrations),
        files=sum(result.files for result in results),
        warnings=tuple(dict.fromkeys(warning for result in results for warning in result.warnings)),
    )


def _groups(
    paths: Sequence[str | os.PathLike[str]], settings: Settings | None, config: Path | None, isolated: bool
) -> dict[Settings, tuple[str | os.PathLike[str], ...]]:
    """The paths by the settings that hold for them; no path at all is for the session to complain of."""
    if settings is not None:
        return {settings: tuple(paths)}
    groups = settings_by_path(paths, config=config, isolated=isolated)
    return groups or {load_settings(Path(), config=config, isolated=isolated): ()}
