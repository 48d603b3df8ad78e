"""A trial of some models, from the parent: a checkpoint for each, then every path on a group of ranks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bufaudit.errors import BufauditError, printable
from bufaudit.outcomes import ModelReport, PathReport, VerifyResult
from bufaudit.trial.errors import TrialError
from bufaudit.trial.group import ENVIRONMENT, attempt, rank_group
from bufaudit.trial.messages import Answer, LoadRequest, MakeReply, MakeRequest, Question, Subject, Versions
from bufaudit.trial.workers import Death, Worker, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bufaudit.tracing.targets import Request, Target

    Progress = Callable[[str], None]

#: The load paths that can be tried.
PATHS = ("zero3", "from_pretrained")
#: How long, in seconds, building a model may take, and loading it on one path.
TIMEOUT = 300.0

_NEEDED_BY_ALL = ("torch", "transformers", "safetensors")
_NEEDED = {"zero3": (*_NEEDED_BY_ALL, "accelerate", "deepspeed")}


class UnknownPathError(BufauditError):
    """A path that cannot be tried."""

    def __init__(self, name: str) -> None:
        super().__init__(f'there is no load path "{printable(name)}" to try; known are {", ".join(PATHS)}')


class MissingPackageError(BufauditError):
    """A package that a path needs is not installed."""

    def __init__(self, package: str, path: str) -> None:
        super().__init__(f"--path {path} needs {package}, which is not installed: pip install 'bufaudit[verify]'")


class NoCheckpointError(BufauditError):
    """A folder of the user's that holds no checkpoint."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{printable(folder)} is no checkpoint: it has no config.json beside *.safetensors files")


@dataclass(frozen=True, slots=True)
class Trial:
    """How models are tried.

    Each is loaded on all of `paths`, on `world_size` processes. `shrink` makes their configs as small as stays valid,
    but for settings that were asked for. `checkpoint` is a folder of the user's that is loaded instead of one of ours,
    with its own config. `timeout` limits the building of a model, and each load of it, in seconds. `progress` is called
    with what is done next.
    """

    paths: Sequence[str] = PATHS
    world_size: int = 2
    shrink: bool = True
    checkpoint: Path | None = None
    timeout: float = TIMEOUT
    progress: Progress = lambda _: None


def verify(request: Request, trial: Trial = Trial()) -> VerifyResult:
    """Load small real models, all that a request stands for, and say what became of every tensor on every rank.

    Nothing is imported here: code of models runs in child processes only. A model that cannot be made has an `error`;
    one whose load raises, hangs or ends a process has one on that path, and the others go on with new ranks. All
    processes and files are gone afterwards.

    Raises `BufauditError` for a request that stands for nothing, a package that is missing, and where processes do not
    start.
    """
    return _verify(Question.of(request), trial)


def verify_models(targets: Sequence[Target], trial: Trial = Trial()) -> VerifyResult:
    """The same for targets that are resolved already."""
    return _verify(tuple(map(Subject.of, targets)), trial)


@dataclass(frozen=True, slots=True)
class _Made:
    """What the maker made of each subject."""

    subjects: tuple[Subject, ...]
    replies: tuple[MakeReply, ...]
    versions: Versions


def _verify(asked: Question | tuple[Subject, ...], trial: Trial) -> VerifyResult:
    for path in trial.paths:
        if path not in PATHS:
            raise UnknownPathError(path)
        for package in _NEEDED.get(path, _NEEDED_BY_ALL):
            if find_spec(package) is None:
                raise MissingPackageError(package, path)
    if trial.checkpoint is not None and not _is_checkpoint(trial.checkpoint):
        raise NoCheckpointError(trial.checkpoint)
    with TemporaryDirectory(prefix="bufaudit-verify-") as name:
        made = _make(asked, trial, Path(name))
        reports = {path: _load(made, path, trial, Path(name)) for path in trial.paths}
    return VerifyResult(
        tuple(
            ModelReport(
                target=subject.text,
                class_name=subject.model_class.partition(":")[2],
                transformers=made.versions.transformers,
                torch=made.versions.torch,
                world_size=trial.world_size,
                paths=() if reply.error is not None else tuple(reports[path][number] for path in trial.paths),
                error=reply.error,
                notes=reply.notes,
            )
            for number, (subject, reply) in enumerate(zip(made.subjects, made.replies, strict=True))
        )
    )


def _is_checkpoint(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def _make(asked: Question | tuple[Subject, ...], trial: Trial, folder: Path) -> _Made:
    """A checkpoint for each subject; a process that ends or hangs costs one of them."""
    subjects = None if isinstance(asked, Question) else asked
    replies: list[MakeReply] = []
    while True:
        with Worker("bufaudit.trial.maker", (), folder / "maker.log", ENVIRONMENT) as maker:
            trial.progress("starting")
            versions = _first_word(maker, trial.timeout)
            if isinstance(asked, Question) and subjects is None:
                subjects = _resolve(maker, asked, trial.timeout)
            assert subjects is not None
            alive = True
            while alive and len(replies) < len(subjects):
                reply = _make_one(maker, subjects[len(replies)], trial, folder / f"model-{len(replies)}")
                alive = isinstance(reply, MakeReply)
                replies.append(reply if isinstance(reply, MakeReply) else MakeReply("", (), (), reply))
            if len(replies) == len(subjects):
                return _Made(subjects, tuple(replies), versions)


def _first_word(maker: Worker, timeout: float) -> Versions:
    versions = ask(maker, None, Versions, time.monotonic() + timeout)
    if versions is None:
        raise TrialError(f"the process that builds models did not start within {timeout:g} s")
    if isinstance(versions, Death):
        raise TrialError(f"the process that builds models did not start: {versions.how}")
    return versions


def _resolve(maker: Worker, question: Question, timeout: float) -> tuple[Subject, ...]:
    answer = ask(maker, question, Answer, time.monotonic() + timeout)
    if answer is None:
        raise TrialError(f"importing {question.text} took more than {timeout:g} s")
    if isinstance(answer, Death):
        raise TrialError(f"importing {question.text} ended the process: {answer.how}")
    if answer.error is not None:
        raise TrialError(answer.error)
    return answer.subjects


def _make_one(maker: Worker, subject: Subject, trial: Trial, folder: Path) -> MakeReply | str:
    """The maker's answer, or why there is none and never will be."""
    trial.progress(f"{subject.model_class}: making a checkpoint")
    checkpoint = None if trial.checkpoint is None else str(trial.checkpoint.absolute())
    request = MakeRequest(subject, str(folder), trial.shrink, checkpoint)
    reply = ask(maker, request, MakeReply, time.monotonic() + trial.timeout)
    if reply is None:
        return f"it was not built within {trial.timeout:g} s"
    return f"building it ended the process: {reply.how}" if isinstance(reply, Death) else reply


def _load(made: _Made, path: str, trial: Trial, folder: Path) -> dict[int, PathReport]:
    """What a path does to each subject that has a checkpoint, by its number; ranks out of step are replaced."""
    left = [number for number, reply in enumerate(made.replies) if reply.error is None]
    reports: dict[int, PathReport] = {}
    groups = 0
    while left:
        trial.progress(f"{path}: starting {trial.world_size} ranks")
        with rank_group(path, trial.world_size, folder / f"{path}-{groups}", trial.timeout) as workers:
            in_step = True
            while left and in_step:
                number = left.pop(0)
                name, reply = made.subjects[number].model_class, made.replies[number]
                trial.progress(f"{path}: loading {name}")
                request = LoadRequest(name, reply.checkpoint, str(folder / f"model-{number}"), path)
                outcome = attempt(workers, request, reply.tensors, trial.timeout)
                reports[number] = PathReport(path, outcome.tensors, outcome.error)
                in_step = outcome.in_step
        groups += 1
    return reports
