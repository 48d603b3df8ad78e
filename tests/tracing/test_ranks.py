"""Ranks exchange provenance as real ones exchange values, and never wait for ever."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402

from bufaudit.tracing.provenance import CHECKPOINT, COMPUTED, Ledger  # noqa: E402
from bufaudit.tracing.ranks import Ended, Ranks, RanksDisagreeError, process_group  # noqa: E402
from bufaudit.tracing.recorder import Recorder, fresh  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


def run(work: Callable[[int, Ledger], Any], size: int = 2) -> list[Ended[Any]]:
    ranks, ledger = Ranks(size), Ledger()
    with process_group(ranks, ledger) as join:

        def on_rank(rank: int) -> Any:
            with join(rank), Recorder(ledger):
                return work(rank, ledger)

        return ranks.run(on_rank)


def values(ends: list[Ended[Any]]) -> list[Any]:
    assert [end.raised for end in ends] == [None] * len(ends)
    return [end.value for end in ends]


def loaded(ledger: Ledger, *shape: int) -> torch.Tensor:
    return fresh(ledger, shape, torch.float32, CHECKPOINT)


def own(rank: int, ledger: Ledger) -> torch.Tensor:
    """The checkpoint's value on rank 0, zeros elsewhere."""
    return loaded(ledger, 4) if rank == 0 else torch.zeros(4)


def broadcast(rank: int, ledger: Ledger) -> torch.Tensor:
    tensor = own(rank, ledger)
    dist.broadcast(tensor, src=0)
    return tensor


def all_reduce(rank: int, ledger: Ledger) -> torch.Tensor:
    tensor = own(rank, ledger)
    dist.all_reduce(tensor)
    return tensor


def scatter(rank: int, ledger: Ledger) -> torch.Tensor:
    tensor = torch.empty(4)
    dist.scatter(tensor, [loaded(ledger, 4) for _ in range(dist.get_world_size())] if rank == 0 else None, src=0)
    return tensor


def objects(rank: int, ledger: Ledger) -> torch.Tensor:
    sent = [{"weight": own(rank, ledger), "names": ["a"]} if rank == 0 else None]
    dist.broadcast_object_list(sent, src=0)
    assert sent[0] is not None
    assert sent[0]["names"] == ["a"]
    return sent[0]["weight"]


def of_a_group(rank: int, ledger: Ledger) -> torch.Tensor:
    group = dist.new_group(list(range(dist.get_world_size())))
    tensor = own(rank, ledger)
    dist.broadcast(tensor, src=0, group=group)
    return tensor


@pytest.mark.parametrize("exchange", [broadcast, all_reduce, scatter, objects, of_a_group])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_collective_carries_the_checkpoint_to_all(exchange: Callable[..., torch.Tensor], size: int) -> None:
    assert values(run(lambda rank, ledger: ledger.origin(exchange(rank, ledger)), size)) == [CHECKPOINT] * size


def test_a_gather_keeps_ranks_apart() -> None:
    def gather(rank: int, ledger: Ledger) -> list[int]:
        parts = [torch.empty(4) for _ in range(2)]
        dist.all_gather(parts, own(rank, ledger))
        return [ledger.origin(part) for part in parts]

    assert values(run(gather)) == [[CHECKPOINT, COMPUTED]] * 2


def test_small_values_really_travel() -> None:
    def total(rank: int, ledger: Ledger) -> tuple[float, list[int]]:
        number = torch.tensor([float(rank + 1)])
        dist.all_reduce(number)
        seen: list[Any] = [None] * 3
        dist.all_gather_object(seen, rank)
        return number.item(), seen

    assert values(run(total, 3)) == [(6.0, [0, 1, 2])] * 3


@pytest.mark.parametrize(
    "work",
    [
        lambda rank, _: dist.barrier() if rank == 0 else None,
        lambda rank, _: dist.broadcast(torch.ones(1), 0) if rank == 0 else dist.all_reduce(torch.ones(1)),
        lambda rank, _: dist.broadcast(torch.ones(1), src=rank),
        lambda rank, _: [dist.barrier() for _ in range(rank + 1)],
    ],
)
def test_ranks_that_disagree_raise_and_never_hang(work: Callable[..., Any]) -> None:
    assert any(isinstance(end.raised, RanksDisagreeError) for end in run(work))


def test_what_one_rank_raises_is_its_own() -> None:
    def work(rank: int, _: Ledger) -> None:
        if rank == 1:
            raise ValueError("mine")
        dist.barrier()

    ends = run(work, 3)
    assert [type(end.raised) for end in ends] == [RanksDisagreeError, ValueError, RanksDisagreeError]


def test_each_rank_has_the_process_to_itself() -> None:
    original = torch.nn.init.zeros_

    def work(rank: int, _: Ledger) -> tuple[Any, Any, Any]:
        mine = object()
        torch.nn.init.zeros_ = mine
        torch.set_default_dtype(torch.float64 if rank else torch.float32)
        dist.barrier()
        kept = torch.nn.init.zeros_ is mine
        torch.nn.init.zeros_ = original
        return kept, torch.get_default_dtype(), (os.environ["RANK"], dist.get_rank())

    before = dict(os.environ), torch.get_default_dtype()
    assert values(run(work)) == [(True, torch.float32, ("0", 0)), (True, torch.float64, ("1", 1))]
    assert (dict(os.environ), torch.get_default_dtype()) == before
    assert torch.nn.init.zeros_ is original
    assert not dist.is_initialized()


@pytest.mark.parametrize("value", [{}, None], ids=["equal", "new"])
def test_a_rank_keeps_what_it_has_put_in_place_of_an_attribute(value: dict[str, int] | None) -> None:
    """Also where it cannot be told from the old value by comparing: what the rank writes into it later is its own."""
    name = "_of_a_test"
    shared: dict[str, int] = {}

    def work(rank: int, _: Ledger) -> bool:
        mine = dict(value) if value is not None else {"rank": rank}
        setattr(torch.nn.init, name, mine)
        dist.barrier()
        return getattr(torch.nn.init, name) is mine

    with mock.patch.object(torch.nn.init, name, shared, create=True):
        assert values(run(work)) == [True, True]
