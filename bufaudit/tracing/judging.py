"""What the names of a model hold in the end, and what is to be said of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit.tracing.provenance import CHECKPOINT, UNWRITTEN
from bufaudit.tracing.stand_in import whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from torch import nn

    from bufaudit.outcomes import Kind
    from bufaudit.tracing.provenance import Ledger


@dataclass(frozen=True, slots=True)
class Final:
    """What a tensor holds in the end: the origins of its elements, and whether its memory ever held the checkpoint's.

    `kind` is what it is in the end. Without elements it has no origin, 0. `overwritten_at` is the line that wrote
    something else over the checkpoint's value.
    """

    kind: Kind
    origin: int
    loaded: bool
    overwritten_at: str | None = None

    @property
    def partial(self) -> bool:
        """Whether only a part of it is the checkpoint's."""
        return bool(self.origin & CHECKPOINT) and self.origin != CHECKPOINT


def describe(model: nn.Module) -> Mapping[str, tuple[Kind, tuple[int, ...], str]]:
    """Every tensor of a model by name: its kind, shape and dtype."""
    return {
        name: (kind, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, kind, tensor in _tensors(model)
    }


def final(model: nn.Module, ledger: Ledger) -> dict[str, Final]:
    """What each name of a loaded model holds."""
    ends = {}
    for name, kind, tensor in _tensors(model):
        shown = whole(tensor)
        memory = ledger.memory(shown)
        origin = UNWRITTEN if memory.on_meta else ledger.origin(shown)
        ends[name] = Final(kind, origin if shown.numel() else 0, memory.loaded, memory.overwritten_at)
    return ends


def held(model: nn.Module, ledger: Ledger) -> Iterator[str]:
    """The names that hold the checkpoint's value."""
    for name, _, tensor in _tensors(model):
        if ledger.origin(whole(tensor)) & CHECKPOINT:
            yield name


def outcome(kind: Kind, in_checkpoint: bool, end: Final | None, *, was_loaded: bool, empty: bool) -> str:
    """What became of a tensor on one rank.

    `was_loaded` tells that it held the checkpoint's value at some time, `empty` that it has no elements by design.
    """
    if end is None:
        return "untraced"
    if end.origin == 0:
        if not empty:
            return "dropped"
        return "kept" if in_checkpoint else "restored" if kind == "non_persistent_buffer" else "absent"
    if end.origin == CHECKPOINT:
        return "kept"
    if end.origin == UNWRITTEN:
        return "uninitialised"
    if end.origin & UNWRITTEN:
        return "uninitialised"
    if in_checkpoint:
        again = end.overwritten_at is not None if end.partial else end.loaded
        return "overwritten" if again or was_loaded else "dropped"
    return "restored" if kind == "non_persistent_buffer" else "absent"


def reason(kind: Kind, outcome: str, end: Final | None) -> str | None:
    """What the outcome alone does not say of a tensor that construction makes one of `kind`."""
    if end is None and outcome == "untraced":
        return "the loaded model has no tensor of this name"
    if outcome == "dropped" and end is not None and end.origin == 0:
        return "it is left without elements"
    if outcome == "overwritten" and end is not None and end.overwritten_at is not None:
        return f"initialised again at {end.overwritten_at}"
    if end is not None and end.kind != kind:
        return f"the load makes it a {end.kind.replace('_', ' ')}"
    return None


def _tensors(model: nn.Module) -> Iterator[tuple[str, Kind, torch.Tensor]]:
    """Every parameter, then every buffer, under each of its names."""
    for name, parameter in model.named_parameters(remove_duplicate=False):
        yield name, "parameter", parameter
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, buffer in module._buffers.items():
            if buffer is not None:
                persistent = name not in module._non_persistent_buffers_set
                kind: Kind = "persistent_buffer" if persistent else "non_persistent_buffer"
                yield (f"{prefix}.{name}" if prefix else name), kind, buffer
