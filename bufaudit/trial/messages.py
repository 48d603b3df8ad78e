"""What the processes of a trial say to each other: frozen values that `codec` writes and reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bufaudit.outcomes import Kind, PathError

#: What construction gives a non-persistent buffer: the same each time, something else for each seed, or nothing.
Construction = Literal["fixed", "random", "unwritten"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model class to try, and its config.

    `target` is what the user named, `model_class` is `package.module:Class`. `config` is JSON text for the config class
    of the model: the options that differ from its defaults. With `shrink` the config is made as small as stays valid,
    but for the options in `pinned` (dotted names). `checkpoint` is a folder of the user's: its own config counts then.
    """

    target: str
    model_class: str
    config: str = "{}"
    shrink: bool = True
    pinned: tuple[str, ...] = ()
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedTensor:
    """A tensor of the model as its constructor leaves it.

    `persisted` says whether the checkpoint has it, under whatever name. `construction` matters for non-persistent
    buffers only.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    persisted: bool
    construction: Construction


@dataclass(frozen=True, slots=True)
class Expectations:
    """All tensors of a model, in its order: what the maker writes down for the ranks."""

    tensors: tuple[ExpectedTensor, ...]


@dataclass(frozen=True, slots=True)
class MakeRequest:
    """Make a checkpoint of a subject below `folder`."""

    subject: Subject
    folder: str


@dataclass(frozen=True, slots=True)
class MakeReply:
    """The checkpoint that was made, or in `error` the reason, in one line, why there is none."""

    checkpoint: str
    tensors: tuple[ExpectedTensor, ...]
    notes: tuple[str, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Load `checkpoint` into `model_class` on a path. `folder` is where the expected values lie."""

    model_class: str
    checkpoint: str
    folder: str
    path: str


@dataclass(frozen=True, slots=True)
class LoadReply:
    """Whether this rank has a model now."""

    error: PathError | None


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """Compare the model that was loaded last. Its parameters can be gathered only where all ranks have it."""

    gather: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome of one tensor on one rank."""

    outcome: str
    partial: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CompareReply:
    """The outcomes of all tensors, in the order of `MakeReply.tensors`; none where comparing ended in an error."""

    judgements: tuple[Judgement, ...]
    error: PathError | None = None


@dataclass(frozen=True, slots=True)
class Versions:
    """The first thing that a process says: what it imported. `error` tells why it cannot go on."""

    torch: str
    transformers: str
    error: str | None = None
