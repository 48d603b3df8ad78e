"""A checkpoint without data: keys, shapes and dtypes, written and read in place of safetensors files."""

from __future__ import annotations

import copy
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from bufaudit.tracing.provenance import CHECKPOINT, Ledger
from bufaudit.tracing.recorder import Recorder, fresh

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from torch import nn

#: How safetensors spells dtypes in its headers.
_SPELLINGS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What a checkpoint says of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint's entries by key, in their order, and the names of the model's tensors whose values it holds.

    Keys and names differ where a release converts weights as it saves; tied tensors are held under one key.
    `companions` are the small files that lie beside it, by name; `extras` what a state dict has besides tensors.
    """

    entries: Mapping[str, Entry]
    holds: frozenset[str]
    companions: Mapping[str, bytes] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)


def plain(model: nn.Module) -> Checkpoint:
    """The checkpoint of a model whose state dict is saved as it is."""
    entries = {key: Entry(tuple(value.shape), value.dtype) for key, value in _state(model).items()}
    return Checkpoint(entries, frozenset(entries), extras=_extras(model))


def saved_by_transformers(model: Any, without: Collection[str] = ()) -> Checkpoint:
    """What the installed `save_pretrained` writes of a model on the meta device.

    That is with weight conversion reverted, and without tied duplicates and keys that are ignored on saving. `without`
    are names in the model that are left out of it.
    """
    from transformers import modeling_utils

    state = {name: value for name, value in _state(model).items() if name not in without}
    ignored = set(model._keys_to_ignore_on_save or ())
    held = frozenset(state.keys() - ignored)
    written: dict[str, Entry] = {}

    def write(tensors: Mapping[str, torch.Tensor], *_: Any, **__: Any) -> None:
        written.update({key: Entry(tuple(value.shape), value.dtype) for key, value in tensors.items()})

    ledger = Ledger()
    for value in state.values():
        if value.is_meta:
            ledger.enter(value, CHECKPOINT)
    with (
        mock.patch.object(modeling_utils, "safe_save_file", write),
        mock.patch.object(torch.UntypedStorage, "data_ptr", _address),
        tempfile.TemporaryDirectory(prefix="bufaudit-") as folder,
        Recorder(ledger),
    ):
        model.save_pretrained(folder, state_dict=dict(state), max_shard_size="1000000TB")
        companions = {path.name: path.read_bytes() for path in Path(folder).glob("*.json")}
    return Checkpoint(written, held, companions)


def by_name(model: nn.Module, checkpoint: Checkpoint) -> Checkpoint:
    """What a checkpoint holds of a model, under the names of the model's own state dict."""
    state = _state(model)
    entries = {key: Entry(tuple(state[key].shape), state[key].dtype) for key in state if key in checkpoint.holds}
    return Checkpoint(entries, checkpoint.holds, extras=_extras(model))


def without_keys(checkpoint: Checkpoint, keys: Collection[str]) -> Checkpoint:
    """The checkpoint of a plain state dict with some keys taken out."""
    entries = {key: entry for key, entry in checkpoint.entries.items() if key not in keys}
    return replace(checkpoint, entries=entries, holds=checkpoint.holds - set(keys))


def state_dict(checkpoint: Checkpoint, ledger: Ledger) -> dict[str, Any]:
    """The checkpoint as a loader gets it that reads it all at once."""
    tensors = {key: fresh(ledger, entry.shape, entry.dtype, CHECKPOINT) for key, entry in checkpoint.entries.items()}
    return {**tensors, **copy.deepcopy(dict(checkpoint.extras))}


@contextmanager
def in_place_of_files(checkpoint: Checkpoint, ledger: Ledger) -> Iterator[Folder]:
    """A folder whose `model.safetensors` transformers reads as the checkpoint, whatever rank reads it."""
    from transformers import modeling_utils

    def opened(*_: Any, **__: Any) -> _File:
        given.read = True
        return _File(checkpoint, ledger)

    with tempfile.TemporaryDirectory(prefix="bufaudit-") as name:
        folder = Path(name)
        given = Folder(folder)
        # Its name is what counts; nothing of it is read.
        (folder / "model.safetensors").touch()
        for companion, content in checkpoint.companions.items():
            (folder / companion).write_bytes(content)
        with mock.patch.object(modeling_utils, "safe_open", opened):
            yield given


@dataclass(slots=True)
class Folder:
    """Where the checkpoint seems to lie; `read` tells whether anybody has opened it."""

    path: Path
    read: bool = False


class _File:
    """An open safetensors file."""

    def __init__(self, checkpoint: Checkpoint, ledger: Ledger) -> None:
        self._checkpoint = checkpoint
        self._ledger = ledger

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *exception: object) -> None:
        """There is nothing to close."""

    def keys(self) -> list[str]:
        return list(self._checkpoint.entries)

    def offset_keys(self) -> list[str]:
        return list(self._checkpoint.entries)

    def metadata(self) -> dict[str, str]:
        return {"format": "pt"}

    def get_tensor(self, key: str) -> torch.Tensor:
        entry = self._checkpoint.entries[key]
        return fresh(self._ledger, entry.shape, entry.dtype, CHECKPOINT)

    def get_slice(self, key: str) -> _Slice:
        return _Slice(self._checkpoint.entries[key], self._ledger)


class _Slice:
    """A tensor of a file, not read yet."""

    def __init__(self, entry: Entry, ledger: Ledger) -> None:
        self._entry = entry
        self._ledger = ledger

    def get_shape(self) -> list[int]:
        return list(self._entry.shape)

    def get_dtype(self) -> str:
        return _SPELLINGS[self._entry.dtype]

    @property
    def shape(self) -> tuple[int, ...]:
        return self._entry.shape

    @property
    def dtype(self) -> str:
        return self.get_dtype()

    def __getitem__(self, index: Any) -> torch.Tensor:
        return fresh(self._ledger, self._entry.shape, self._entry.dtype, CHECKPOINT)[index]


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value for key, value in model.state_dict().items() if isinstance(value, torch.Tensor)}


def _extras(model: nn.Module) -> dict[str, Any]:
    return {key: value for key, value in model.state_dict().items() if not isinstance(value, torch.Tensor)}


def _address(storage: torch.UntypedStorage) -> int:
    """Tensors that share memory are told by it; on meta all have none."""
    return int(storage._cdata)
