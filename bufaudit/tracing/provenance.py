"""Where the bytes of every storage come from.

Provenance belongs to the storage, in byte ranges: `.data =`, rebinding of attributes and `swap_tensors` tell nobody,
and views share what they see. Storages are held alive, so that none is mistaken for an earlier one at its place.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import product
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

#: What a value comes from; a union of them where it has several sources.
UNWRITTEN = 1
COMPUTED = 2
CHECKPOINT = 4

#: A view in more pieces than this is taken to touch all between its first byte and its last.
_MOST_PIECES = 4096

Span = tuple[int, int, int]
"""First byte, byte after the last, origin."""
_FIRST, _LAST = itemgetter(0), itemgetter(1)


class Memory:
    """One storage. `spans` cover it in order and without gaps, neighbours of one origin merged.

    `on_meta` tells that it has no data where the path runs, not only here. `values` is a real storage of the same
    layout that holds what it would hold there, None where that is not known. `loaded` tells that a checkpoint's value
    has been written to it at some time, `overwritten_at` the line that wrote something else over it.
    """

    __slots__ = ("loaded", "on_meta", "overwritten_at", "size", "spans", "storage", "values")

    def __init__(
        self, storage: torch.UntypedStorage, origin: int, on_meta: bool, values: torch.UntypedStorage | None
    ) -> None:
        self.storage = storage
        self.size = storage.nbytes()
        self.spans: list[Span] = [(0, self.size, origin)]
        self.on_meta = on_meta
        self.values = values
        self.loaded = bool(origin & CHECKPOINT)
        self.overwritten_at: str | None = None

    def write(self, start: int, end: int, origin: int) -> None:
        """Give a range of bytes an origin; what is on meta holds nothing, whatever is written to it."""
        if self.on_meta:
            return
        if origin & CHECKPOINT:
            self.loaded = True
        if start <= 0 and end >= self.size:
            self.spans = [(0, self.size, origin)]
        elif start < end:
            low, high = self._met(start, end)
            # With a neighbour on each side, which may have the same origin.
            near = slice(max(low - 1, 0), high + 1)
            spans = self.spans[near]
            self.spans[near] = _merged(
                [
                    *((first, min(last, start), old) for first, last, old in spans if first < start),
                    (start, end, origin),
                    *((max(first, end), last, old) for first, last, old in spans if last > end),
                ]
            )

    def read(self, start: int, end: int) -> int:
        """The union of the origins in a range of bytes; nothing where the range is empty."""
        if start >= end:
            return 0
        low, high = self._met(start, end)
        origin = 0
        for _, _, of_span in self.spans[low:high]:
            origin |= of_span
        return origin

    def _met(self, start: int, end: int) -> tuple[int, int]:
        """The indices between which spans share bytes with a range; a tensor may be written in thousands of pieces."""
        return bisect_right(self.spans, start, key=_LAST), bisect_left(self.spans, end, key=_FIRST)


class Ledger:
    """What is known of every storage that a trace has met."""

    def __init__(self) -> None:
        self._memories: dict[int, Memory] = {}

    def memory(self, tensor: torch.Tensor) -> Memory:
        """The memory of a tensor; what was there before the trace, or came from outside torch, counts as computed."""
        storage = tensor.untyped_storage()
        known = self._memories.get(storage._cdata)
        if known is None:
            on_meta = tensor.is_meta
            known = Memory(storage, UNWRITTEN if on_meta else COMPUTED, on_meta, None if on_meta else storage)
            self._memories[storage._cdata] = known
        return known

    def knows(self, tensor: torch.Tensor) -> bool:
        """Whether the storage of a tensor has been met before."""
        return tensor.untyped_storage()._cdata in self._memories

    def enter(
        self,
        tensor: torch.Tensor,
        origin: int,
        *,
        on_meta: bool = False,
        values: torch.UntypedStorage | None = None,
    ) -> Memory:
        """Note a new storage."""
        storage = tensor.untyped_storage()
        memory = Memory(storage, origin, on_meta, values)
        self._memories[storage._cdata] = memory
        return memory

    def origin(self, tensor: torch.Tensor) -> int:
        """The union of the origins of a tensor's elements."""
        memory = self.memory(tensor)
        if len(memory.spans) == 1:
            return memory.spans[0][2]
        origin = 0
        for start, end in pieces(tensor):
            origin |= memory.read(start, end)
        return origin

    def write(self, tensor: torch.Tensor, origin: int) -> None:
        """All elements of a tensor have a new origin."""
        memory = self.memory(tensor)
        for start, end in pieces(tensor):
            memory.write(start, end, origin)

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """All elements of `target` come from `source`, range by range where the two lie alike in memory."""
        memory = self.memory(source)
        if len(memory.spans) == 1:
            self.write(target, memory.spans[0][2])
            return
        alike = target.is_contiguous() and source.is_contiguous() and target.numel() == source.numel()
        if not alike:
            self.write(target, self.origin(source))
            return
        to, wide, narrow = self.memory(target), target.element_size(), source.element_size()
        begin, base = int(target.storage_offset()) * wide, int(source.storage_offset()) * narrow
        for start, end, origin in list(memory.spans):
            first = max(start - base, 0) // narrow
            last = min(end - base, source.numel() * narrow) // narrow
            if first < last:
                to.write(begin + first * wide, begin + last * wide, origin)


def pieces(tensor: torch.Tensor) -> Iterator[tuple[int, int]]:
    """The ranges of bytes that a tensor's elements take in its storage."""
    if tensor.numel() == 0:
        return
    size = tensor.element_size()
    start = int(tensor.storage_offset()) * size
    if tensor.is_contiguous():
        yield start, start + tensor.numel() * size
        return
    run = 1
    steps: list[range] = []
    for stride, length in sorted(
        (stride, length) for stride, length in zip(tensor.stride(), tensor.shape, strict=True)
    ):
        if stride == 0 or length == 1:
            continue
        if stride == run and not steps:
            run *= length
        else:
            steps.append(range(0, stride * length, stride))
    count = 1
    for step in steps:
        count *= len(step)
    if count > _MOST_PIECES:
        reach = sum(step[-1] for step in steps) + run
        yield start, start + reach * size
        return
    for offsets in product(*reversed(steps)):
        begin = start + sum(offsets) * size
        yield begin, begin + run * size


def joined(origin: int) -> int:
    """The origin of a value computed from values of these origins.

    What is computed from the checkpoint and constants is still the checkpoint's; what is computed from memory that
    nobody wrote is no better than that.
    """
    if origin & CHECKPOINT:
        return origin & ~COMPUTED
    return UNWRITTEN if origin & UNWRITTEN else COMPUTED


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end, origin in spans:
        if start >= end:
            continue
        if merged and merged[-1][2] == origin:
            merged[-1] = (merged[-1][0], end, origin)
        else:
            merged.append((start, end, origin))
    return merged
