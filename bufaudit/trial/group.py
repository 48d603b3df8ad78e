"""A group of rank processes, from the parent: starting them, one load at a time, and ending them whatever happens."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit.outcomes import PathError, TensorReport
from bufaudit.trial.errors import TrialError
from bufaudit.trial.messages import CompareReply, CompareRequest, Judgement, LoadReply, Versions
from bufaudit.trial.workers import Death, Worker, first_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

from bufaudit.trial.messages import ExpectedTensor, LoadRequest

#: How long the others may still take, in seconds, where a rank has raised. Then they wait for it, and it is ended, as
#: its process would have ended in a run of the user's.
_GRACE = 10.0

#: What all processes of a trial have in common: one thread, no network, no accelerator.
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "DS_ACCELERATOR": "cpu",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

_RAISED = Judgement("raised")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one load came to. `in_step` tells whether the same ranks can do another."""

    tensors: tuple[TensorReport, ...]
    error: PathError | None
    in_step: bool


@contextmanager
def rank_group(path: str, world_size: int, folder: Path, timeout: float) -> Iterator[tuple[Worker, ...]]:
    """Ranks that have met, for loads on one path; `folder` must be new. They are gone when the context is left.

    Raises `TrialError` where they do not meet within `timeout` seconds.
    """
    folder.mkdir()
    with ExitStack() as stack:
        workers = tuple(
            stack.enter_context(
                Worker(
                    "bufaudit.trial.rank",
                    [path, str(folder / "rendezvous"), str(timeout)],
                    folder / f"rank-{rank}.log",
                    ENVIRONMENT | _place(rank, world_size),
                )
            )
            for rank in range(world_size)
        )
        deadline = time.monotonic() + timeout
        waiting = set(workers)
        while waiting:
            answer = first_answer(waiting, Versions, deadline)
            if answer is None:
                raise TrialError(f"{len(waiting)} of {world_size} ranks did not start within {timeout:g} s")
            worker, reply = answer
            if isinstance(reply, Death):
                raise TrialError(f"rank {workers.index(worker)} did not start: {reply.how}")
            waiting.discard(worker)
        yield workers


def attempt(
    workers: Sequence[Worker], request: LoadRequest, tensors: Sequence[ExpectedTensor], timeout: float
) -> Attempt:
    """Have all ranks load one model and compare it, in `timeout` seconds."""
    deadline = time.monotonic() + timeout
    loads = _load(workers, request, deadline, timeout)
    errors = {rank: error for rank, error in loads.items() if error is not None}
    loaded = [rank for rank, error in loads.items() if error is None]
    # Ranks that have a model tell of it also where another has used up the time.
    compared = _compare(workers, loaded, max(deadline, time.monotonic() + _GRACE), timeout, gather=not errors)
    errors |= {rank: reply.error for rank, reply in compared.items() if reply.error is not None}
    judgements = [
        compared[rank].judgements if rank in compared and compared[rank].judgements else (_RAISED,) * len(tensors)
        for rank in range(len(workers))
    ]
    return Attempt(
        tensors=tuple(map(_report, tensors, zip(*judgements, strict=True))),
        error=next(iter(errors.values()), None),
        in_step=not errors or _alike(errors, len(workers)),
    )


def _load(
    workers: Sequence[Worker], request: LoadRequest, deadline: float, timeout: float
) -> dict[int, PathError | None]:
    """How the load ended on each rank; those that only missed a rank which had raised come last."""
    for worker in workers:
        worker.send(request)
    outcome: dict[int, PathError | None] = {}
    waiting = set(range(len(workers)))
    grace, killed = deadline, False
    while waiting:
        answer = first_answer([workers[rank] for rank in waiting], LoadReply, min(grace, deadline))
        if answer is None and grace < deadline:
            for rank, error in outcome.items():
                if error is not None:
                    workers[rank].kill()
            outcome, grace, killed = dict(sorted(outcome.items())), deadline, True
        elif answer is None:
            outcome |= {rank: _hang(rank, timeout) for rank in sorted(waiting)}
            break
        else:
            rank = workers.index(answer[0])
            outcome[rank] = _death(rank, answer[1]) if isinstance(answer[1], Death) else answer[1].error
            waiting.discard(rank)
            if outcome[rank] is not None and not killed:
                grace = min(grace, time.monotonic() + _GRACE)
    return outcome if killed else dict(sorted(outcome.items()))


def _compare(
    workers: Sequence[Worker], ranks: Sequence[int], deadline: float, timeout: float, *, gather: bool
) -> dict[int, CompareReply]:
    for rank in ranks:
        workers[rank].send(CompareRequest(gather))
    replies: dict[int, CompareReply] = {}
    while waiting := [rank for rank in ranks if rank not in replies]:
        answer = first_answer([workers[rank] for rank in waiting], CompareReply, deadline)
        if answer is None:
            return replies | {rank: CompareReply((), _hang(rank, timeout)) for rank in waiting}
        rank = workers.index(answer[0])
        replies[rank] = CompareReply((), _death(rank, answer[1])) if isinstance(answer[1], Death) else answer[1]
    return replies


def _report(tensor: ExpectedTensor, judgements: Sequence[Judgement]) -> TensorReport:
    return TensorReport(
        name=tensor.name,
        kind=tensor.kind,
        shape=tensor.shape,
        dtype=tensor.dtype,
        ranks=tuple(judgement.outcome for judgement in judgements),
        partial=any(judgement.partial for judgement in judgements),
        declared_at=tensor.declared_at,
        reason=next((judgement.reason for judgement in judgements if judgement.reason is not None), None),
    )


def _alike(errors: dict[int, PathError], world_size: int) -> bool:
    """Whether all ranks have raised at the same line, so that none is in a collective without the others."""
    places = {(error.type, error.at) for error in errors.values()}
    return len(errors) == world_size and len(places) == 1 and None not in {error.at for error in errors.values()}


def _hang(rank: int, timeout: float) -> PathError:
    return PathError(rank, "TimeoutError", f"not finished within {timeout:g} s", None)


def _death(rank: int, death: Death) -> PathError:
    return PathError(rank, "ChildProcessError", f"the process of this rank has ended: {death.how}", None)


def _place(rank: int, world_size: int) -> dict[str, str]:
    """A rank's place as launchers give it. Nothing listens at the address: the ranks meet at a file."""
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    size = {"WORLD_SIZE": str(world_size), "LOCAL_WORLD_SIZE": str(world_size)}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    loopback = (
        {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" and "GLOO_SOCKET_IFNAME" not in os.environ else {}
    )
    return place | size | address | loopback
