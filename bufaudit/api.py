"""The functions behind the commands, for use from Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bufaudit.config import load_settings, override, settings_by_path
from bufaudit.errors import MissingPackageError
from bufaudit.results import InventoryResult, merged
from bufaudit.session import Request, Session

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Unpack

    from bufaudit.config import Overrides, Settings
    from bufaudit.outcomes import ProbeResult, VerifyResult
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


def probe(
    target: str | os.PathLike[str],
    *,
    class_name: str | None = None,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    paths: Sequence[str] = ("zero3", "from_pretrained"),
    world_size: int = 2,
    trust_remote_code: bool = False,
    timeout: float = 600.0,
    memory_limit: float = 16.0,
    progress: Progress | None = None,
) -> ProbeResult:
    """Trace on the meta device what becomes of a model's tensors when it is loaded; needs torch, but no weights.

    `target` is a model type, a class of transformers, `package.module:Class` or a folder with a `config.json`.
    `class_name` names one class of a model type or folder. `config` is a `config.json` in place of the default config,
    `settings` are options on top of it, with dotted keys for sub-configs, or keyword arguments of a plain module.
    `paths` are names of load paths, or loaders `module:function`. `world_size` counts ranks.

    A folder's own modelling code runs only with `trust_remote_code`, in a child process that gets `timeout` seconds and
    `memory_limit` GiB. `progress` is called with the number of models traced and the number to trace.

    Raises `BufauditError` for names that stand for nothing, options that do not exist, code that is not trusted, and
    where torch is not installed. A model that cannot be built is a report with an error.
    """
    try:
        from bufaudit.tracing.run import run
        from bufaudit.tracing.sandbox import Limits, run_apart
        from bufaudit.tracing.targets import Request, has_own_code
    except ImportError as error:
        if str(error.name).startswith("bufaudit"):
            raise
        raise MissingPackageError("probe", error) from None
    request = Request(str(target), class_name, config, settings or {}, trust_remote_code)
    if trust_remote_code and has_own_code(request):
        return run_apart(request, paths, world_size, Limits(timeout, int(memory_limit * 2**30)))
    return run(request, paths, world_size, progress)


def verify(
    target: str | os.PathLike[str],
    *,
    class_name: str | None = None,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    paths: Sequence[str] = ("zero3", "from_pretrained"),
    world_size: int = 2,
    shrink: bool = True,
    checkpoint: Path | None = None,
    trust_remote_code: bool = False,
    timeout: float = 300.0,
    progress: Callable[[str], None] | None = None,
) -> VerifyResult:
    """Load small real models for real and compare every tensor on every rank; needs DeepSpeed for the path `zero3`.

    `target`, `class_name`, `config`, `settings` and `trust_remote_code` are those of `probe`; plain modules have no
    load to try. `paths` are `zero3` and `from_pretrained`, `world_size` is the number of processes that load. `shrink`
    makes configs as small as stays valid, but for `settings`. `checkpoint` is a folder with a `config.json` and
    safetensors files to load in place of a checkpoint of the model's own. Building a model may take `timeout` seconds,
    and so may each load. `progress` is called with what is done next.

    Models live in child processes only; nothing is left of these, or of their files. Raises `BufauditError` for names
    that stand for nothing, options that do not exist, a package that is not installed, and where processes do not
    start. A model that cannot be built is a report with an error, a load that raises, hangs or dies one on its path.
    """
    from bufaudit import trial
    from bufaudit.tracing.targets import Request

    request = Request(str(target), class_name, config, settings or {}, trust_remote_code)
    how = trial.Trial(tuple(paths), world_size, shrink, checkpoint, timeout, progress or (lambda _: None))
    return trial.verify(request, how)


def _groups(
    paths: Sequence[str | os.PathLike[str]], settings: Settings | None, config: Path | None, isolated: bool
) -> dict[Settings, tuple[str | os.PathLike[str], ...]]:
    """The paths by the settings that hold for them; no path at all is for the session to complain of."""
    if settings is not None:
        return {settings: tuple(paths)}
    groups = settings_by_path(paths, config=config, isolated=isolated)
    return groups or {load_settings(Path(), config=config, isolated=isolated): ()}
