"""Code runs without data as it does with it, and what it makes of where is written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from bufaudit.tracing.provenance import CHECKPOINT, COMPUTED, UNWRITTEN, Ledger  # noqa: E402
from bufaudit.tracing.recorder import Recorder, UntraceableError, fresh  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """A ledger under whose modes the test runs."""
    kept = Ledger()
    with Recorder(kept):
        yield kept


def loaded(ledger: Ledger, *shape: int) -> torch.Tensor:
    return fresh(ledger, shape, torch.float32, CHECKPOINT)


def test_large_tensors_take_no_memory_and_claim_to_be_on_the_cpu(ledger: Ledger) -> None:
    weight = nn.Linear(300_000, 100_000, bias=False).weight
    assert weight.device.type == "cpu"
    assert not weight.is_meta
    assert weight.is_cpu


def test_a_tensor_put_on_meta_says_so_until_it_gets_memory(ledger: Ledger) -> None:
    with torch.device("meta"):
        module = nn.BatchNorm1d(3)
    assert module.running_mean.device.type == "meta"
    assert ledger.origin(module.running_mean) == UNWRITTEN
    module.to_empty(device="cpu")
    assert module.running_mean.device.type == "cpu"
    assert ledger.origin(module.running_mean) == UNWRITTEN
    module.reset_running_stats()
    assert ledger.origin(module.running_mean) == COMPUTED


def test_moving_data_off_meta_raises_as_it_does_there(ledger: Ledger) -> None:
    with torch.device("meta"):
        value = torch.ones(3)
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        value.to("cpu")
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        torch.zeros(3).copy_(value)


@pytest.mark.parametrize(
    "read",
    [
        lambda: torch.linspace(0, 1, 5)[2].item(),
        lambda: float(torch.tensor([0.5])),
        lambda: torch.arange(4).to(torch.float32).div(4)[2].tolist(),
        lambda: torch.full((2,), 0.5).numpy()[1],
        lambda: torch.zeros(3).add_(0.5)[0].item(),
        lambda: torch.cat([torch.ones(1), torch.zeros(1)]).mean().item(),
        lambda: torch.tensor([1, 2]).sum().item() / 6,
    ],
)
def test_small_constants_have_values(ledger: Ledger, read: Callable[[], float]) -> None:
    assert read() == 0.5


def test_numbers_written_to_parts_are_values_too(ledger: Ledger) -> None:
    table = torch.arange(9, dtype=torch.int32).reshape(9, 1)
    table[-1, -1] = -2
    assert table[-1].item() == -2


@pytest.mark.parametrize("read", ["item", "tolist", "numpy"])
def test_a_value_of_the_checkpoint_cannot_be_read(ledger: Ledger, read: str) -> None:
    value = loaded(ledger)
    with pytest.raises(UntraceableError):
        getattr(value, read)()


def test_what_is_overwritten_with_the_checkpoint_has_no_value_any_more(ledger: Ledger) -> None:
    buffer = torch.zeros(2)
    buffer.copy_(loaded(ledger, 2))
    with pytest.raises(UntraceableError):
        buffer.tolist()


@pytest.mark.parametrize(
    "move",
    [
        lambda tensor: tensor.to("cpu"),
        lambda tensor: tensor.to(torch.device("cpu")),
        lambda tensor: tensor.to(device="cpu", non_blocking=True),
        lambda tensor: tensor.to(torch.zeros(1)),
        lambda tensor: tensor.cpu(),
    ],
)
def test_a_move_to_where_it_is_gives_the_tensor_itself(ledger: Ledger, move: Callable[..., torch.Tensor]) -> None:
    value = loaded(ledger, 3)
    assert move(value) is value


@pytest.mark.parametrize(
    ("make", "origin"),
    [
        (lambda value: value.clone(), CHECKPOINT),
        (lambda value: value.to(torch.bfloat16), CHECKPOINT),
        (lambda value: value * 2 + 1, CHECKPOINT),
        (lambda value: torch.stack([value, value]).sum(0), CHECKPOINT),
        (lambda value: torch.cat([value, torch.zeros(2)]), CHECKPOINT | COMPUTED),
        (lambda value: torch.zeros_like(value), COMPUTED),
        (lambda value: torch.empty_like(value), UNWRITTEN),
        (lambda value: value.new_full((2,), 3.0), COMPUTED),
        (lambda value: torch.nn.init.normal_(value), COMPUTED),
        (lambda value: value.fill_(0), COMPUTED),
        (lambda value: value.mul_(0.5), CHECKPOINT),
        (lambda value: torch.zeros(3).copy_(value), CHECKPOINT),
        (lambda value: torch.add(value, 1, out=torch.empty(3)), CHECKPOINT),
        (lambda value: torch.zeros(3).lerp_(value, 0.5), CHECKPOINT),
        (lambda value: value.index_fill_(0, torch.tensor([1]), 0.0), CHECKPOINT | COMPUTED),
        (lambda value: torch.nn.Parameter(value), CHECKPOINT),
    ],
)
def test_origins_follow_what_operators_do(
    ledger: Ledger, make: Callable[[torch.Tensor], torch.Tensor], origin: int
) -> None:
    with torch.no_grad():
        assert ledger.origin(make(loaded(ledger, 3))) == origin


def test_a_checkpoint_value_written_over_names_the_line(ledger: Ledger) -> None:
    value = loaded(ledger, 3)
    value.zero_()
    assert (ledger.memory(value).overwritten_at or "").partition(":")[0].endswith("test_recorder.py")


def test_nothing_stays_behind(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), Recorder(Ledger()):
        raise RuntimeError("on purpose")
    assert ledger.origin(torch.ones(2)) == COMPUTED
