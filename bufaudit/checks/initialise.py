"""Loaded state that is initialised again: BUF103."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.checks.context import Problem
from bufaudit.patterns import lazy_pattern
from bufaudit.project import same_name
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.checks.context import FunctionView, Subject
    from bufaudit.results import Confidence
    from bufaudit.source.facts import RestoreFact, SparingFact

#: Names of flags by which an initialiser may spare a tensor; those of optimizers are no business of it.
_SPARES = lazy_pattern(r"init|keep|skip|load")

#: Names of options that are true of every model that the library does not have itself.
_FOR_ALL_OUTSIDE = lazy_pattern(r"custom|foreign|outside|external")


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    for fact in subject.facts.restores:
        if last_name(fact.initialiser) == "_init_weights" and "initialized" not in fact.guards:
            yield from _unguarded_write(subject, fact)
            yield from _unread_mark(subject, fact)
            yield from _statistics_of_pretrained(subject, fact)
    for sparing in subject.facts.sparings:
        if not _FOR_ALL_OUTSIDE.search(sparing.option):
            yield _spared_by_option(sparing)
    for view in subject.functions():
        yield from _unguarded_walk(subject, view)
        yield from _unmarked_buffers(view)


def _spared_by_option(fact: SparingFact) -> Problem:
    text = (
        f"modules whose tensors were all loaded are left alone only where `{fact.option}` is true: of any other model, "
        "an `_init_weights` that writes in place writes over what was loaded"
    )
    return Problem("BUF103", "medium", fact.place, text, fact.initialiser)


def _initialisers(subject: Subject) -> Iterator[str]:
    """What the file imports of transformers' initialisers, which leave alone what is marked as loaded."""
    for binding in subject.facts.imports:
        if binding.target.endswith("initialization") or ".initialization." in binding.target:
            yield binding.target


def _sure(subject: Subject) -> Confidence:
    """Medium within transformers: of other models, 5.13 and later leave alone every module that was loaded whole."""
    return "medium" if any(target.startswith(".") for target in _initialisers(subject)) else "low"


def _unguarded_write(subject: Subject, fact: RestoreFact) -> Iterator[Problem]:
    if fact.how != "in-place" or fact.target is None or _is_never_loaded(subject, fact):
        return
    confidence = "low" if fact.partial else _sure(subject)
    text = (
        f"`_init_weights` writes `{fact.attribute}` in place, whether or not it was loaded: "
        "the initialisers of transformers.initialization leave loaded tensors alone"
    )
    yield Problem("BUF103", confidence, fact.place, text, fact.initialiser)


def _is_never_loaded(subject: Subject, fact: RestoreFact) -> bool:
    """Whether the initialiser writes a non-persistent buffer, which no checkpoint holds."""
    found = subject.project.find_class(subject.path, fact.target or "")
    if found is None:
        return False
    return any(
        registration.fact.persistent is False and same_name(registration.fact.name, fact.attribute)
        for registration in subject.project.all_registrations(found)
    )


def _unread_mark(subject: Subject, fact: RestoreFact) -> Iterator[Problem]:
    tensor, _, flag = fact.attribute.rpartition(".")
    if fact.how != "mark" or not tensor:
        return
    written = any(
        other.initialiser == fact.initialiser
        and other.attribute == tensor
        and other.how == "function"
        and "initialized" not in other.guards
        for other in subject.facts.restores
    )
    if written and _SPARES.search(flag):
        text = (
            f"`_init_weights` writes `{tensor}` and marks it with `{flag}`, but never asks it for that mark: "
            "the next pass writes it again, over what was loaded"
        )
        yield Problem("BUF103", _sure(subject), fact.place, text, fact.initialiser)


def _statistics_of_pretrained(subject: Subject, fact: RestoreFact) -> Iterator[Problem]:
    class_name = fact.initialiser.rpartition(".")[0]
    wraps = any(found.name == class_name and found.wraps_pretrained for found in subject.facts.classes)
    if wraps and fact.attribute == "running_mean" and fact.how in ("function", "in-place"):
        text = (
            "`_init_weights` resets BatchNorm statistics of a backbone that another library may have loaded: "
            "nothing marks those as loaded"
        )
        yield Problem("BUF103", "medium", fact.place, text, fact.initialiser)


def _unguarded_walk(subject: Subject, view: FunctionView) -> Iterator[Problem]:
    """`for name, p in module.named_parameters(): p *= …` within `_init_weights`."""
    if view.title != "_init_weights" or not any(_initialisers(subject)):
        return
    for effect in view.effects("write", on="parameters"):
        if "initialized" not in effect.guards:
            walk = view.first_walk(effect, "parameters")
            text = (
                f"`_init_weights` writes the parameters of `{walk.receiver}` in place, whether or not they were loaded"
            )
            yield view.problem("BUF103", _sure(subject), effect.place, text)


def _unmarked_buffers(view: FunctionView) -> Iterator[Problem]:
    """A loader that marks parameters as loaded copies buffers and does not mark them."""
    marks = [
        effect for effect in view.function.effects if effect.kind == "mark" and "is_hf_initialized" in effect.target
    ]
    if not any("parameters" in view.kinds(effect) for effect in marks):
        return
    if any(view.kinds(effect) & {"buffers", "state_dict"} for effect in marks):
        return
    for effect in view.effects("write", on="buffers"):
        if "checkpoint" in effect.origins:
            walk = view.first_walk(effect, "buffers")
            text = (
                f"the buffers of `{walk.receiver}` are loaded but not marked `_is_hf_initialized` as parameters are: "
                "the initialiser writes over them afterwards"
            )
            yield view.problem("BUF103", "high", effect.place, text)
