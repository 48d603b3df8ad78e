"""Modules that get fresh memory and only a part of their values back: BUF403."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bufaudit.checks.context import Note, Problem, unsaved_here
from bufaudit.checks.drops import brings_back_buffers, knows_of_buffers
from bufaudit.patterns import lazy_pattern
from bufaudit.source import vocabulary
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.checks.context import Subject
    from bufaudit.project import Reach
    from bufaudit.results import Confidence
    from bufaudit.source.facts import DropFact, Step

#: What brings back a state dict and nothing else, by the definition of its own library.
_STATE_DICT = frozenset(
    {"load_state_dict", "set_model_state_dict", "load_checkpoint_and_dispatch", "load_checkpoint_in_model"}
)
_LOAD = lazy_pattern(r"^_?(load|set)_\w*(state_dict|weight|checkpoint|ckpt)|^_?load_model|^load_from_")
_MODULE = r"model|module|net|network"
#: Libraries whose users handle models of whatever class.
_ANY_MODEL = ("transformers", "accelerate", "peft")
#: Parts of a model that are one layer, as their names have it.
_LAYER = lazy_pattern(r"(^|[._])(linear|proj\w*|head|score|embed\w*|classifier|lora\w*|expert\w*)$", re.IGNORECASE)
_ZEROS = lazy_pattern(r"(torch\.)?zeros\(")
_FSDP_SYNC = lazy_pattern(r"sync_module_states=(?!False)")
#: Functions that look at a model rather than run it.
_LOOKS = lazy_pattern(r"estimat|size|count|memory|flops|skeleton|shape|inspect|plan|meta", re.IGNORECASE)
#: Calls that initialise what a load has left.
_INITIALISES = lazy_pattern(r"init_(weight|param)|initiali[sz]e")


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    for drop in subject.facts.drops:
        match drop.how:
            case "to_empty" | "empty_like":
                yield from _only_the_state_dict(subject, drop)
            case "meta":
                yield from _built_empty(subject, drop)
            case "unsaved":
                yield from _left_to_models(subject, drop)


def _only_the_state_dict(subject: Subject, drop: DropFact) -> Iterator[Problem]:
    load = next((step for step in drop.after if _loads(step, drop)), None)
    if load is None or knows_of_buffers(subject, drop.before) or brings_back_buffers(subject, drop):
        return
    if _is_converted(drop) or any(_FSDP_SYNC.search(step.text) for step in (*drop.before, *drop.after)):
        return
    tree = subject.project.unsaved(subject.path, drop.module_type) if drop.module_type else None
    if tree is not None and tree.none:
        return
    loader = last_name(load.callee)
    names = dict.fromkeys(found.fact.name for found in (tree.registrations[:3] if tree else ()))
    lost = ", ".join(f"`{name}`" for name in names) or "non-persistent buffers"
    taken = f"`{drop.module}.to_empty()` takes" if drop.how == "to_empty" else f"the buffers of `{drop.module}` get"
    text = (
        f"{taken} uninitialised memory, and `{loader}` fills only what a state dict holds: "
        f"{lost} {'keeps' if len(names) == 1 else 'keep'} what that memory held"
    )
    notes = (Note(subject.path, load.line, "parameters and persistent buffers come back here"), *unsaved_here(tree))
    yield Problem("BUF403", _confidence(subject, drop, tree, loader), drop.place, text, drop.function, notes)


def _confidence(subject: Subject, drop: DropFact, tree: Reach | None, loader: str) -> Confidence:
    """High where the model is known to lose something, or where it may be of any class that users have.

    Low where it is one of the package's own, and nothing tells which.
    """
    if tree is not None and tree.any:
        # Zeros are often a cache that is written before it is read.
        return "high" if any(not _ZEROS.match(found.fact.made_from) for found in tree.registrations) else "medium"
    if last_name(drop.function).startswith("test") or (tree is None and _LAYER.search(drop.module)):
        return "low"
    if not drop.given or loader not in _STATE_DICT:
        return "low"
    for_any_model = any(binding.target.startswith(_ANY_MODEL) for binding in subject.facts.imports)
    return "high" if for_any_model else "medium"


def _is_converted(drop: DropFact) -> bool:
    """Whether the module is saved and neither kept nor handed out: it is never run."""
    root = drop.module.partition(".")[0].partition("[")[0]
    saved = any(last_name(step.callee) in vocabulary.SAVERS for step in drop.after)
    return saved and not (drop.given or _is_returned(root, drop) or root == "self")


def _is_returned(name: str, drop: DropFact) -> bool:
    """Whether a variable leaves the function afterwards."""
    return any(step.callee == "return" and re.search(rf"\b{re.escape(name)}\b", step.text) for step in drop.after)


def _loads(step: Step, drop: DropFact) -> bool:
    """Whether a step loads values into the module, or into the model that it is a part of."""
    if not _LOAD.search(last_name(step.callee)):
        return False
    root = re.escape(drop.module.removeprefix("self.").partition(".")[0])
    return re.search(rf"\b({root}|{_MODULE})\b", f"{step.callee} {step.text}") is not None


def _built_empty(subject: Subject, drop: DropFact) -> Iterator[Problem]:
    """A model whose buffers were built on the meta device leaves the function, in a file that loads checkpoints."""
    if not _is_returned(drop.module, drop) or _LOOKS.search(f"{last_name(drop.function)} {drop.doc}"):
        return
    if brings_back_buffers(subject, drop) or not _reads_checkpoints(subject):
        return
    text = (
        f"`{drop.module}` is built with its buffers on the meta device too, and only what a checkpoint holds comes "
        "back: non-persistent buffers, which construction would have computed, have no value"
    )
    yield Problem("BUF403", "medium", drop.place, text, drop.function)


def _reads_checkpoints(subject: Subject) -> bool:
    """Whether anything in the file takes entries of a checkpoint, whole ones rather than adapters."""
    return any(walk.kind == "saved" for view in subject.functions() for walk in view.function.walks)


def _left_to_models(subject: Subject, drop: DropFact) -> Iterator[Problem]:
    """Non-persistent buffers get new memory by a loader that leaves their values to whatever model it loads."""
    if _is_converted(drop):
        return
    initialiser = next((step for step in drop.after if _INITIALISES.search(last_name(step.callee))), None)
    end = (
        f"only `{last_name(initialiser.callee)}` may compute them again, and nothing checks that a model's does"
        if initialiser is not None
        else "nothing computes them again"
    )
    text = (
        f"each non-persistent buffer of `{drop.module}`, which no checkpoint holds, becomes uninitialised memory: {end}"
    )
    notes = (Note(subject.path, initialiser.line, "this runs afterwards"),) if initialiser is not None else ()
    # A part of a loader may leave it to another part to initialise.
    confidence: Confidence = "medium" if initialiser is not None else "low"
    yield Problem("BUF403", confidence, drop.place, text, drop.function, notes)
