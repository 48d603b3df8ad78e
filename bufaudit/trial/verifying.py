"""A trial of some models, from the parent: a checkpoint for each, then every path on a group of ranks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bufaudit.outcomes import ModelReport, PathReport, VerifyResult
from bufaudit.trial.group import ENVIRONMENT, TrialError, attempt, rank_group
from bufaudit.trial.messages import LoadRequest, MakeReply, MakeRequest, Versions
from bufaudit.trial.workers import Death, Worker, first_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bufaudit.trial.messages import Subject

    Progress = Callable[[str], None]

PATHS = ("zero3", "from_pretrained")
TIMEOUT = 300.0

_NEEDED = {"zero3": ("torch", "transformers", "safetensors", "accelerate", "deepspeed")}
_NEEDED_BY_ALL = ("torch", "transformers", "safetensors")


class MissingPackageError(TrialError):
    """A package that the trial needs is not installed."""

    def __init__(self, package: str, path: str) -> None:
        super().__init__(f"--path {path} needs {package}, which is not installed: pip install 'bufaudit[verify]'")


def verify_models(
    subjects: Sequence[Subject],
    *,
    paths: Sequence[str] = PATHS,
    world_size: int = 2,
    timeout: float = TIMEOUT,
    progress: Progress = lambda _: None,
) -> VerifyResult:
    """Load small real models on real ranks, and say what became of every tensor.

    A model that cannot be made has an `error`; one whose load raises, hangs for `timeout` seconds or ends a process has
    one on that path, and the others go on with new ranks. `progress` is called with what is done next. All processes
    and files are gone afterwards.

    Raises `MissingPackageError`, and `TrialError` where processes do not start.
    """
    for path in paths:
        for package in _NEEDED.get(path, _NEEDED_BY_ALL):
            if find_spec(package) is None:
                raise MissingPackageError(package, path)
    with TemporaryDirectory(prefix="bufaudit-verify-") as name:
        folder = Path(name)
        made = _make(subjects, folder, timeout, progress)
        reports = {path: _load(subjects, made, path, world_size, folder, timeout, progress) for path in paths}
    return VerifyResult(
        tuple(
            ModelReport(
                target=subject.target,
                class_name=subject.model_class,
                transformers=made.versions.transformers,
                torch=made.versions.torch,
                world_size=world_size,
                paths=() if reply.error is not None else tuple(reports[path][number] for path in paths),
                error=reply.error,
                notes=reply.notes,
            )
            for number, (subject, reply) in enumerate(zip(subjects, made.replies, strict=True))
        )
    )


@dataclass(frozen=True, slots=True)
class _Made:
    versions: Versions
    replies: tuple[MakeReply, ...]


def _make(subjects: Sequence[Subject], folder: Path, timeout: float, progress: Progress) -> _Made:
    """A checkpoint for each subject; a process that ends or hangs costs one of them."""
    replies: list[MakeReply] = []
    versions = Versions("", "")
    while len(replies) < len(subjects):
        with Worker("bufaudit.trial.maker", (), folder / "maker.log", ENVIRONMENT) as maker:
            hello = first_answer([maker], Versions, time.monotonic() + timeout)
            if hello is None or isinstance(hello[1], Death):
                how = f"not within {timeout:g} s" if hello is None else hello[1].how
                raise TrialError(f"the process that makes checkpoints did not start: {how}")
            versions = hello[1]
            alive = True
            while alive and len(replies) < len(subjects):
                progress(f"{subjects[len(replies)].model_class}: making a checkpoint")
                reply = _make_one(maker, subjects[len(replies)], folder / f"model-{len(replies)}", timeout)
                alive = isinstance(reply, MakeReply)
                replies.append(reply if isinstance(reply, MakeReply) else MakeReply("", (), (), reply))
    return _Made(versions, tuple(replies))


def _make_one(maker: Worker, subject: Subject, folder: Path, timeout: float) -> MakeReply | str:
    """The maker's answer, or why there is none and never will be."""
    maker.send(MakeRequest(subject, str(folder)))
    answer = first_answer([maker], MakeReply, time.monotonic() + timeout)
    if answer is None:
        return f"it was not built within {timeout:g} s"
    reply = answer[1]
    return f"building it ended the process: {reply.how}" if isinstance(reply, Death) else reply


def _load(
    subjects: Sequence[Subject], made: _Made, path: str, world_size: int, folder: Path, timeout: float, progress: Progress
) -> dict[int, PathReport]:
    """What a path does to each subject that has a checkpoint, by its number; ranks out of step are replaced."""
    left = [number for number, reply in enumerate(made.replies) if reply.error is None]
    reports: dict[int, PathReport] = {}
    group = 0
    while left:
        progress(f"{path}: starting {world_size} ranks")
        with rank_group(path, world_size, folder / f"{path}-{group}", timeout) as workers:
            in_step = True
            while left and in_step:
                number = left.pop(0)
                progress(f"{subjects[number].model_class}: loading on {path}")
                reply = made.replies[number]
                request = LoadRequest(
                    subjects[number].model_class, reply.checkpoint, str(folder / f"model-{number}"), path
                )
                outcome = attempt(workers, request, reply.tensors, timeout)
                reports[number] = PathReport(path, outcome.tensors, outcome.error)
                in_step = outcome.in_step
        group += 1
    return reports
