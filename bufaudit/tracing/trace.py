"""A target and the paths to follow, to what becomes of each tensor."""

from __future__ import annotations

import traceback
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from bufaudit.collector import collector_paused
from bufaudit.declarations import declared_at
from bufaudit.failures import first_line, path_error
from bufaudit.grouping import folded
from bufaudit.outcomes import ModelReport, PathReport, TensorReport
from bufaudit.tracing import checkpoint as checkpoints
from bufaudit.tracing.build import BuildError, on_meta
from bufaudit.tracing.judging import Final, describe, final, held, outcome
from bufaudit.tracing.judging import reason as reason_of
from bufaudit.tracing.paths import LoadPath, Run, UntracedError, find
from bufaudit.tracing.provenance import Ledger
from bufaudit.tracing.quiet import quiet
from bufaudit.tracing.ranks import Ranks, RanksDisagreeError, process_group
from bufaudit.tracing.recorder import Recorder, UntraceableError, without_values
from bufaudit.tracing.stand_in import MissingFromStandInError
from bufaudit.tracing.threads import recorded_threads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from bufaudit.outcomes import Kind, PathError
    from bufaudit.tracing.checkpoint import Checkpoint
    from bufaudit.tracing.targets import Target


def trace_model(
    target: Target,
    paths: Sequence[str | LoadPath],
    world_size: int = 2,
    checkpoint: Checkpoint | None = None,
) -> ModelReport:
    """Follow each path and say what becomes of the model's tensors, on each of `world_size` ranks.

    `checkpoint` defaults to what the installed release would save of the model. A model that cannot be built gives a
    report with an error; a path that raises, or cannot be followed, one that says so.

    Raises `UnknownPathError` for a path that nothing is called by.
    """
    versions: dict[str, Any] = {
        "target": target.text,
        "class_name": target.class_name,
        "transformers": _transformers_version(target),
        "torch": torch.__version__,
        "world_size": world_size,
    }
    with quiet():
        try:
            with collector_paused():
                built = on_meta(target)
        except BuildError as error:
            return ModelReport(error=str(error), **versions)
        tensors = describe(built.model)
        places = declared_at(built.model)
        files = _files(target, built.model, checkpoint)
        escaped = ", ".join(map(str, folded(built.escaped)))
        del built
        reports = tuple(_follow(path, target, files, tensors, places, world_size) for path in paths)
    notes = (f"made outside of the meta device, whatever it is told: {escaped}",) if escaped else ()
    return ModelReport(paths=reports, notes=notes, **versions)


@dataclass(frozen=True, slots=True)
class _Files:
    """A checkpoint as its files have it, and under the model's own names; or the reason why nothing can be saved."""

    saved: Checkpoint
    named: Checkpoint
    failure: str | None = None


def _files(target: Target, model: nn.Module, given: Checkpoint | None) -> _Files:
    if given is not None:
        return _Files(given, checkpoints.by_name(model, given))
    plain = checkpoints.plain(model)
    if target.config is None:
        return _Files(plain, plain)
    try:
        saved = checkpoints.saved_by_transformers(model)
    except (Exception, UntraceableError) as error:
        return _Files(plain, plain, f"the model cannot be saved: {type(error).__name__}: {first_line(error)}")
    return _Files(saved, checkpoints.by_name(model, saved))


@dataclass(slots=True)
class _Seen:
    """What was seen of one rank: the names that held the checkpoint's value when the loader was done, and the end."""

    loaded: frozenset[str] = frozenset()
    final: Mapping[str, Final] = field(default_factory=dict)


def _follow(
    path: str | LoadPath,
    target: Target,
    files: _Files,
    tensors: Mapping[str, tuple[Kind, tuple[int, ...], str]],
    places: Mapping[str, str],
    world_size: int,
) -> PathReport:
    name = path if isinstance(path, str) else path.name
    try:
        found = find(path) if isinstance(path, str) else path
        seen, error = _run(found, target, files, world_size)
    except UntracedError as reason:
        return _untraced(name, tensors, places, world_size, str(reason))
    if isinstance(error, _Untraced):
        return _untraced(name, tensors, places, world_size, error.reason)
    reports = []
    for each, (kind, shape, dtype) in tensors.items():
        in_checkpoint = each in files.named.holds
        finals = [rank.final.get(each) for rank in seen]
        outcomes = tuple(
            "raised"
            if error is not None and not rank.final
            else outcome(kind, in_checkpoint, end, was_loaded=each in rank.loaded, empty=0 in shape)
            for rank, end in zip(seen, finals, strict=True)
        )
        reports.append(
            TensorReport(
                each,
                kind,
                shape,
                dtype,
                outcomes,
                partial=any(end is not None and end.partial for end in finals),
                declared_at=places.get(each),
                reason=next(filter(None, map(partial(reason_of, kind), outcomes, finals)), None),
            )
        )
    return PathReport(name, tuple(reports), error=error, loader=found.loader)


@dataclass(frozen=True, slots=True)
class _Untraced:
    reason: str


def _run(
    path: LoadPath, target: Target, files: _Files, world_size: int
) -> tuple[list[_Seen], PathError | _Untraced | None]:
    """Run a path on every rank, or on one that stands for all."""
    if files.failure is not None and path.reads_files:
        raise UntracedError(files.failure)
    size = 1 if path.alike else world_size
    ledger = Ledger()
    ranks = Ranks(size)
    seen = [_Seen() for _ in range(size)]

    def loaded(rank: int, model: nn.Module) -> None:
        seen[rank].loaded = frozenset(held(model, ledger))

    run = Run(target, files.saved, files.named, ranks, ledger, loaded)
    with ExitStack() as stack:
        stack.enter_context(without_values(ledger))
        stack.enter_context(recorded_threads(ranks, ledger))
        join = None if path.alike else stack.enter_context(process_group(ranks, ledger))
        load = stack.enter_context(path.around(run))

        def work(rank: int) -> None:
            with ExitStack() as of_rank:
                if join is not None:
                    of_rank.enter_context(join(rank))
                of_rank.enter_context(Recorder(ledger))
                model = load(rank)
            seen[rank].final = final(model, ledger)

        with collector_paused():
            ends = ranks.run(work)
    raised = {rank: end.raised for rank, end in enumerate(ends) if end.raised is not None}
    error = _error(raised, target.model_class, path.name)
    if path.alike:
        seen *= world_size
    return seen, error


def _error(raised: Mapping[int, BaseException], *names: str) -> PathError | _Untraced | None:
    """What to say of the exceptions of some ranks: that of the first one that did not just wait for the others."""
    for error in raised.values():
        if isinstance(error, UntracedError):
            raise error
        if isinstance(error, (UntraceableError, MissingFromStandInError)):
            return _Untraced(f"{error}, at {path_error(error, 0, *names).at}")
    for rank, error in sorted(raised.items(), key=lambda item: isinstance(item[1], RanksDisagreeError)):
        ended = path_error(error, rank, *names)
        if _raised_by_distributed(error):
            return _Untraced(f"torch.distributed is not followed so far: {ended.type}: {ended.message}, at {ended.at}")
        return ended
    return None


def _raised_by_distributed(error: BaseException) -> bool:
    """Whether an exception comes out of torch.distributed itself, which real ranks might not raise."""
    if isinstance(error, RanksDisagreeError):
        return False
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    outside = [name for name in modules if not name.startswith("bufaudit.")]
    return bool(outside) and outside[-1].startswith(("torch.distributed.", "torch.testing."))


def _untraced(
    name: str,
    tensors: Mapping[str, tuple[Kind, tuple[int, ...], str]],
    places: Mapping[str, str],
    world_size: int,
    reason: str,
) -> PathReport:
    reports = tuple(
        TensorReport(each, kind, shape, dtype, ("untraced",) * world_size, declared_at=places.get(each), reason=reason)
        for each, (kind, shape, dtype) in tensors.items()
    )
    return PathReport(name, reports, untraced=reason)


def _transformers_version(target: Target) -> str | None:
    if target.config is None:
        return None
    import transformers

    version: str = transformers.__version__
    return version
