"""What the processes of a trial say to each other: frozen values that `codec` writes and reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bufaudit.errors import BufauditError
from bufaudit.outcomes import Kind, PathError
from bufaudit.tracing.configs import ConfigRecipe
from bufaudit.tracing.targets import Request

if TYPE_CHECKING:
    from bufaudit.tracing.targets import Target

#: What construction gives a non-persistent buffer: the same each time, something else for each seed, or nothing.
Construction = Literal["fixed", "random", "unwritten"]


class NoPretrainedModelError(BufauditError):
    """A plain module, which nothing saves or loads."""

    def __init__(self, model_class: str) -> None:
        super().__init__(f"{model_class} is no model of transformers: it has no from_pretrained to try; use probe")


@dataclass(frozen=True, slots=True)
class Question:
    """What a user asks for: a `bufaudit.tracing.targets.Request` in plain values, its settings as JSON text."""

    text: str
    class_name: str | None
    config: str | None
    settings: str
    trust_remote_code: bool

    @staticmethod
    def of(request: Request) -> Question:
        """The request in a form that can be sent."""
        config = None if request.config is None else str(request.config)
        settings = json.dumps(dict(request.settings))
        return Question(request.text, request.class_name, config, settings, request.trust_remote_code)

    def request(self) -> Request:
        """The request that was sent."""
        config = None if self.config is None else Path(self.config)
        return Request(self.text, self.class_name, config, json.loads(self.settings), self.trust_remote_code)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to try: a `bufaudit.tracing.targets.Target` in plain values, its mappings as JSON text."""

    text: str
    model_class: str
    config_class: str
    values: str
    settings: str
    part: str | None

    @staticmethod
    def of(target: Target) -> Subject:
        """The target in a form that can be sent. Raises `NoPretrainedModelError` for a plain module."""
        if target.config is None:
            raise NoPretrainedModelError(target.model_class)
        recipe = target.config
        values, settings = json.dumps(dict(recipe.values)), json.dumps(dict(recipe.settings))
        return Subject(target.text, target.model_class, recipe.config_class, values, settings, recipe.part)

    def recipe(self) -> ConfigRecipe:
        """How to make its config."""
        return ConfigRecipe(self.config_class, json.loads(self.values), json.loads(self.settings), self.part)


@dataclass(frozen=True, slots=True)
class Answer:
    """The subjects that a question stands for, or in `error` why there are none."""

    subjects: tuple[Subject, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedTensor:
    """A tensor of the model as its constructor leaves it.

    `persisted` says whether the checkpoint has it, under whatever name. `construction` matters for non-persistent
    buffers only. `declared_at` is the line that registers it, `package/file.py:line`.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    persisted: bool
    construction: Construction
    declared_at: str | None


@dataclass(frozen=True, slots=True)
class Expectations:
    """All tensors of a model, in its order: what the maker writes down for the ranks."""

    tensors: tuple[ExpectedTensor, ...]


@dataclass(frozen=True, slots=True)
class MakeRequest:
    """Make a checkpoint of a subject below `folder`, which is new.

    With `shrink` its config is made as small as stays valid, but for what the user has set. `checkpoint` is a folder of
    the user's to take instead.
    """

    subject: Subject
    folder: str
    shrink: bool
    checkpoint: str | None


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
