"""Tensors that a module keeps as plain attributes: BUF502."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit import torch_state
from bufaudit.checks.context import Note, Problem
from bufaudit.project import same_name
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.checks.context import Subject
    from bufaudit.project import FoundClass
    from bufaudit.results import Confidence
    from bufaudit.source.facts import RegistrationFact, TensorAttribute


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    for fact in subject.facts.attributes:
        judged = _judged(subject, fact)
        found = subject.project.find_class(subject.path, fact.class_name) if judged else None
        if judged is None or found is None or not subject.project.is_module(found):
            continue
        if _is_registered(subject, found, fact.name):
            continue
        confidence, text = judged
        # Few tensors come as far as this, and what asks about users takes its time to load.
        from bufaudit.users import is_spoken_of

        argument = fact.made == "argument"
        if _is_registered_by_maker(subject, found, fact) if argument else not is_spoken_of(subject.project, found):
            confidence = "low"
        note = Note(subject.path, fact.use_line, f"`{fact.name}` is used here")
        yield Problem("BUF502", confidence, fact.place, f"`self.{fact.name}` {text}", fact.symbol, (note,))


def _judged(subject: Subject, fact: TensorAttribute) -> tuple[Confidence, str] | None:
    """How sure it is that a plain tensor does harm, and which; None where it does none."""
    if fact.use == "average" and not fact.saved:
        return "high", (
            "is an average that `forward` updates, and no buffer: the state dict never has it, "
            "so it starts anew after each load"
        )
    if fact.made == "random" and not fact.saved:
        return "high", (
            "is drawn at random and is no buffer: the state dict never has it, "
            "so a model that is loaded computes with other values than the one that was saved"
        )
    if fact.use != "operation" or fact.placed or fact.moved:
        return None
    if fact.made == "argument":
        # Where a file registers such tensors, one that it does not register was forgotten. Losses are seldom moved.
        forgotten = any(map(_is_variable, subject.facts.registrations)) and "loss" not in fact.class_name.lower()
        return "medium" if forgotten else "low", (
            "is a tensor that the constructor is given, kept as a plain attribute: "
            "`.to()` and the state dict pass it by, and `forward` combines it with its inputs"
        )
    # What may come from outside is moved by who brings it, and the code that has a number for it is told by its use.
    return "low" if fact.optional else "medium", (
        "is a plain tensor, not a buffer: `.to()` and `.cuda()` leave it where it was made, "
        "and `forward` combines it with its inputs"
    )


def _is_variable(fact: RegistrationFact) -> bool:
    """Whether a constructor registers what a variable, such as an argument, stands for."""
    return fact.when == "construction" and fact.value.isidentifier() and fact.value != "None"


def _is_registered_by_maker(subject: Subject, found: FoundClass, fact: TensorAttribute) -> bool:
    """Whether a file that speaks of a class registers a buffer of the name under which the class keeps its argument."""
    paths = dict.fromkeys((found.path, *subject.project.files_with(last_name(found.fact.name), found.path)))
    files = (subject.project.facts(path) for path in paths)
    return any(same_name(each.name, fact.name) for facts in files if facts for each in facts.registrations)


def _is_registered(subject: Subject, found: FoundClass, name: str) -> bool:
    """Whether a class, one of its bases, or a base class of torch's, registers a buffer of that name."""
    bases = (last_name(base) for base in subject.project.foreign_bases(found))
    if any(buffer.name == name for base in bases for buffer in torch_state.BUFFERS.get(base, ())):
        return True
    return any(same_name(registration.fact.name, name) for registration in subject.project.all_registrations(found))
