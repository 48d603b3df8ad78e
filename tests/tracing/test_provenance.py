"""What a storage's bytes come from stays right through views, pieces and copies."""

from __future__ import annotations

import functools
import itertools
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from bufaudit.tracing.provenance import CHECKPOINT, COMPUTED, UNWRITTEN, Ledger, Memory, joined, pieces  # noqa: E402


def test_a_write_through_a_view_is_seen_by_its_base() -> None:
    ledger, base = Ledger(), torch.zeros(4, 3)
    ledger.write(base[1], CHECKPOINT)
    assert ledger.origin(base[1]) == CHECKPOINT
    assert ledger.origin(base[0]) == COMPUTED
    assert ledger.origin(base) == CHECKPOINT | COMPUTED


def test_a_column_takes_its_own_elements_only() -> None:
    ledger, base = Ledger(), torch.zeros(4, 3)
    ledger.write(base[:, 1], CHECKPOINT)
    assert ledger.origin(base[:, 1]) == CHECKPOINT
    assert ledger.origin(base[:, 0]) == COMPUTED


def test_the_last_piece_makes_it_whole() -> None:
    ledger, base = Ledger(), torch.zeros(7)
    for start in range(0, 7, 2):
        assert ledger.origin(base) != CHECKPOINT
        ledger.write(base[start : start + 2], CHECKPOINT)
    assert ledger.memory(base).spans == [(0, 28, CHECKPOINT)]


def test_a_copy_carries_ranges_across_dtypes() -> None:
    ledger = Ledger()
    source, target = torch.zeros(6), torch.zeros(6, dtype=torch.float16)
    ledger.write(source[2:4], CHECKPOINT)
    ledger.copy(target, source)
    assert ledger.memory(target).spans == [(0, 4, COMPUTED), (4, 8, CHECKPOINT), (8, 12, COMPUTED)]


def test_rebinding_data_takes_the_provenance_along() -> None:
    ledger = Ledger()
    parameter, value = torch.nn.Parameter(torch.zeros(3)), torch.ones(3)
    ledger.write(value, CHECKPOINT)
    parameter.data = value
    assert ledger.origin(parameter) == CHECKPOINT


def test_a_storage_is_never_mistaken_for_an_earlier_one() -> None:
    ledger = Ledger()
    for _ in range(100):
        assert ledger.origin(torch.zeros(1000)) == COMPUTED
        ledger.write(torch.zeros(1000), CHECKPOINT)


@pytest.mark.parametrize(
    ("of_parts", "of_all"),
    [
        (CHECKPOINT | COMPUTED, CHECKPOINT),
        (COMPUTED | UNWRITTEN, UNWRITTEN),
        (CHECKPOINT | UNWRITTEN, CHECKPOINT | UNWRITTEN),
        (0, COMPUTED),
    ],
)
def test_what_is_computed_is_as_good_as_what_it_is_computed_from(of_parts: int, of_all: int) -> None:
    assert joined(of_parts) == of_all


@given(st.data())
def test_pieces_are_just_the_bytes_of_the_elements(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    base = torch.arange(torch.Size(shape).numel(), dtype=torch.int16).view(shape)
    view = base.permute(data.draw(st.permutations(range(len(shape)))))
    for dim in range(view.dim()):
        size = view.shape[dim]
        start = data.draw(st.integers(0, size - 1))
        view = view.narrow(dim, start, data.draw(st.integers(1, size - start)))
        if view.shape[dim] > 2 and data.draw(st.booleans()):
            view = view[(slice(None),) * dim + (slice(None, None, 2),)]
    touched = {byte for start, end in pieces(view) for byte in range(start, end)}
    assert touched == {2 * int(element) + byte for element in view.flatten() for byte in (0, 1)}


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from([COMPUTED, CHECKPOINT]))))
def test_any_writes_leave_the_origin_of_every_byte(writes: list[tuple[int, int, int]]) -> None:
    """Beside a list with an entry for each byte."""
    memory = Memory(torch.UntypedStorage(12), UNWRITTEN, on_meta=False, values=None)
    of_bytes = [UNWRITTEN] * 12
    for start, end, origin in writes:
        memory.write(start, end, origin)
        of_bytes[start:end] = [origin] * max(end - start, 0)
    assert [memory.read(byte, byte + 1) for byte in range(12)] == of_bytes
    assert memory.read(0, 12) == functools.reduce(operator.or_, of_bytes)
    assert all(one[2] != other[2] for one, other in itertools.pairwise(memory.spans))
