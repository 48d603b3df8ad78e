"""Ranks as threads that take turns, over a process group that really exchanges.

One rank runs at a time and hands over where it has to wait for the others, so that code which patches modules for a
while, or sets process-wide defaults, works as it does in a process of its own: what it has changed goes and comes with
its turn. Where all ranks wait, they disagree, which is an error at once and never a hang.
"""

from __future__ import annotations

import pickle
import threading
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from unittest import mock

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d
from torch.testing._internal.distributed import multi_threaded_pg

from bufaudit.tracing.recorder import Claims
from bufaudit.tracing.turns import ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bufaudit.tracing.provenance import Ledger

T = TypeVar("T")


class RanksDisagreeError(RuntimeError):
    """A collective that not all ranks reach: real ranks would hang."""


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """How a rank's work ended: with a value, or with what it raised."""

    value: T | None = None
    raised: BaseException | None = None


@dataclass(slots=True)
class _Waiting:
    """Ranks that wait for the others of a group, each with what it brings."""

    what: str
    members: tuple[int, ...]
    brought: dict[int, Any]


def _held_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


class Ranks:
    """A number of ranks, each a thread of its own while `run` runs."""

    def __init__(self, size: int) -> None:
        self.size = size
        # Plain locks, held until a turn comes: a semaphore takes several steps of both threads to hand over.
        self._turns = [_held_lock() for _ in range(size)]
        self._over = _held_lock()
        self._current = threading.local()
        self._waiting: dict[object, _Waiting] = {}
        self._sent: dict[object, deque[Any]] = {}
        self._failed: dict[int, BaseException] = {}
        self._runnable = [False] * size
        self._alive = [False] * size
        self._state = ProcessState(size)

    @property
    def rank(self) -> int:
        """The rank of the calling thread."""
        rank: int = self._current.rank
        return rank

    @property
    def rank_or_none(self) -> int | None:
        """The rank of the calling thread, None where it works for none."""
        rank: int | None = getattr(self._current, "rank", None)
        return rank

    @contextmanager
    def helping(self, rank: int) -> Iterator[None]:
        """The calling thread works for a rank that waits for it, and has its turn."""
        self._current.rank = rank
        yield

    def run(self, work: Callable[[int], T]) -> list[Ended[T]]:
        """Do the work on every rank and tell how each ended."""
        ends: list[Ended[T]] = [Ended() for _ in range(self.size)]

        def body(rank: int) -> None:
            self._current.rank = rank
            self._turns[rank].acquire()
            try:
                ends[rank] = Ended(value=work(rank))
            except BaseException as error:
                ends[rank] = Ended(raised=error)
            self._alive[rank] = self._runnable[rank] = False
            self._hand_over(rank)

        threads = [threading.Thread(target=body, args=(rank,), name=f"rank {rank}") for rank in range(self.size)]
        self._runnable = [True] * self.size
        self._alive = [True] * self.size
        for thread in threads:
            thread.start()
        with self._state:
            self._state.switch(None, 0)
            self._turns[0].release()
            self._over.acquire()
        for thread in threads:
            thread.join()
        return ends

    def meet(
        self, group: object, members: Sequence[int], what: str, brings: T, work: Callable[[list[T]], None]
    ) -> None:
        """Wait until every member of a group has come with the same intent; the last to come does the work for all.

        Raises `RanksDisagreeError` in all that wait where that can never be.
        """
        rank = self.rank
        waiting = self._waiting.setdefault(group, _Waiting(what, tuple(members), {}))
        if waiting.what != what:
            first = min(waiting.brought)
            raise RanksDisagreeError(f"ranks disagree: rank {rank} is at {what}, rank {first} at {waiting.what}")
        waiting.brought[rank] = brings
        if len(waiting.brought) < len(waiting.members):
            self._wait(rank)
            return
        del self._waiting[group]
        try:
            work([waiting.brought[member] for member in waiting.members])
        except BaseException as error:
            self._failed.update(dict.fromkeys(waiting.brought.keys() - {rank}, error))
            raise
        finally:
            for member in waiting.members:
                self._runnable[member] = True

    def send(self, group: object, receiver: int, sent: object) -> None:
        """Leave something for another rank, and go on."""
        box = (group, self.rank, receiver)
        self._sent.setdefault(box, deque()).append(sent)
        if self._waiting.pop(box, None) is not None:
            self._runnable[receiver] = True

    def receive(self, group: object, sender: int) -> Any:
        """What another rank has left first, once it has. Raises `RanksDisagreeError` where that can never be."""
        rank = self.rank
        box = (group, sender, rank)
        if not self._sent.get(box):
            self._waiting[box] = _Waiting(f"a receive from rank {sender}", (sender, rank), {rank: None})
            self._wait(rank)
        return self._sent[box].popleft()

    def _wait(self, rank: int) -> None:
        """Let others go on until this rank can."""
        self._runnable[rank] = False
        self._hand_over(rank)
        self._turns[rank].acquire()
        failure = self._failed.pop(rank, None)
        if failure is not None:
            raise failure

    def _hand_over(self, rank: int) -> None:
        """Let the next rank go on that can."""
        following = self._next(rank)
        if following is None and any(self._alive):
            self._fail_all()
            following = self._next(rank)
        self._state.switch(rank, following)
        if following is None:
            self._over.release()
        else:
            self._turns[following].release()

    def _next(self, rank: int) -> int | None:
        order = [(rank + step) % self.size for step in range(1, self.size + 1)]
        return next((each for each in order if self._runnable[each]), None)

    def _fail_all(self) -> None:
        for waiting in self._waiting.values():
            missing = [f"rank {member}" for member in waiting.members if member not in waiting.brought]
            for rank in waiting.brought:
                self._failed[rank] = RanksDisagreeError(
                    f"ranks disagree: rank {rank} waits in {waiting.what}, which {', '.join(missing)} never reaches"
                )
                self._runnable[rank] = True
        self._waiting.clear()


@contextmanager
def process_group(ranks: Ranks, ledger: Ledger) -> Iterator[Callable[[int], Any]]:
    """`torch.distributed` among the ranks; what is given joins it on a rank's thread, as a context."""
    store = torch._C._distributed_c10d.HashStore()

    def start(collective: Any, group: Any) -> _Meeting:
        return _Meeting(ranks, ledger, group, collective)

    @contextmanager
    def joined(rank: int) -> Iterator[None]:
        dist.init_process_group("threaded", store=store, rank=rank, world_size=ranks.size)
        try:
            yield
        finally:
            dist.destroy_process_group()

    def send(group: Any, tensors: list[torch.Tensor], receiver: int, tag: int = 0) -> Any:
        ranks.send((group.pg_name, tag), _global_rank(group, receiver), [tensor.clone() for tensor in tensors])
        return multi_threaded_pg.ret_work(tensors)

    def receive(group: Any, tensors: list[torch.Tensor], sender: int, tag: int = 0) -> Any:
        sent = ranks.receive((group.pg_name, tag), _global_rank(group, sender))
        with Claims(ledger), torch.no_grad():
            for tensor, value in zip(tensors, sent, strict=True):
                tensor.detach().copy_(value)
        return multi_threaded_pg.ret_work(tensors)

    parcels = _Parcels(ledger)
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(c10d, "_world", multi_threaded_pg.ThreadLocalWorld()))
        group = multi_threaded_pg.ProcessLocalGroup
        patches.enter_context(mock.patch.object(group, "_start_coll", staticmethod(start)))
        patches.enter_context(mock.patch.object(group, "_end_coll", staticmethod(lambda *_: None)))
        patches.enter_context(mock.patch.object(group, "send", send, create=True))
        patches.enter_context(mock.patch.object(group, "recv", receive, create=True))
        patches.enter_context(mock.patch.object(multi_threaded_pg, "_store_based_barrier", _no_barrier))
        patches.enter_context(mock.patch.object(c10d, "_store_based_barrier", _no_barrier))
        patches.enter_context(mock.patch.object(c10d, "_pickler", parcels.pickler))
        patches.enter_context(mock.patch.object(c10d, "_unpickler", parcels.unpickler))
        # Groups are registered by name, and each rank has one of the same name.
        isolate: Any = vars(torch._C._distributed_c10d)["_set_thread_isolation_mode"]
        isolate(True)
        patches.callback(isolate, False)
        yield joined


def _global_rank(group: Any, rank: int) -> int:
    """The rank in the world of a rank in a group."""
    of_group = c10d._world.pg_group_ranks[group]
    return next(each for each, inside in of_group.items() if inside == rank)


def _no_barrier(*_: Any, **__: Any) -> None:
    """Ranks take turns: a group is there as soon as each of them makes it."""


class _Meeting:
    """A collective of torch's threaded group, whose waiting is a turn given up."""

    def __init__(self, ranks: Ranks, ledger: Ledger, group: Any, collective: Any) -> None:
        self._ranks = ranks
        self._ledger = ledger
        self._group = group
        self._collective = collective

    def join(self, rank: int, data: Any) -> Any:
        """Bring this rank's tensors and wait for the others."""
        name = self._group.pg_name
        members = sorted(c10d._world.pg_group_ranks[self._group])
        what = _name_of(self._collective)
        self._ranks.meet(("group", name), members, what, data, self._exchange)
        return multi_threaded_pg.ret_work(data)

    def _exchange(self, data: list[Any]) -> None:
        # Torch's own functions run with the mode off.
        with Claims(self._ledger):
            self._collective.work(data)


def _name_of(collective: Any) -> str:
    """`Broadcast` with `src` 0 as `broadcast from 0`."""
    name = type(collective).__name__.lower()
    for word in ("src", "dst"):
        if hasattr(collective, word):
            return f"{name} {'from' if word == 'src' else 'to'} {getattr(collective, word)}"
    return name


class _Parcels:
    """Objects sent between ranks: their tensors travel with what is known of them, beside the bytes."""

    def __init__(self, ledger: Ledger) -> None:
        parcels: dict[int, torch.Tensor] = {}

        class Pickler(pickle.Pickler):
            def persistent_id(self, sent: Any) -> int | None:
                if not isinstance(sent, torch.Tensor):
                    return None
                parcels[len(parcels)] = sent.clone() if type(sent) is torch.Tensor else sent
                return len(parcels) - 1

        class Unpickler(pickle.Unpickler):
            def persistent_load(self, number: int) -> torch.Tensor:
                sent = parcels[number]
                received = sent.detach().clone()
                if isinstance(sent, torch.nn.Parameter):
                    return torch.nn.Parameter(received, requires_grad=sent.requires_grad)
                return received

        self.pickler = Pickler
        self.unpickler = Unpickler
