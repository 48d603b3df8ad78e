"""Buffers as they are registered: too late for a load (BUF503), or out of the meta device's reach (BUF504)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.checks.context import Note, Problem
from bufaudit.patterns import lazy_pattern
from bufaudit.project import is_constant, same_name
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.checks.context import Subject
    from bufaudit.project import FoundClass
    from bufaudit.results import Confidence
    from bufaudit.source.facts import FillFact, MetaEffect, Phase, RegistrationFact

#: Base classes that make no module of what inherits from them.
_NO_MODULE = frozenset({"object", "ABC", "Generic", "Protocol"})
_NONE = "None"
_UNEXPECTED = (
    "a checkpoint saved after that cannot be loaded into a fresh model: "
    "load_state_dict finds an unexpected key, and raises or, not strict, drops the value"
)

#: Memory that is only filled with one number.
_SCRATCH = lazy_pattern(r"^(\w+\.)*(new_)?(zeros|ones|full|empty)(_like)?\(")
#: How sure it is that a value which a method sets is one that a checkpoint must give back, by when the method runs.
_CONFIDENCES: dict[Phase, Confidence] = {"training": "high", "forward": "medium"}
#: What happens to a value that is made so, the worst first.
_CONSEQUENCES: dict[MetaEffect, str] = {
    "raises": (
        "which raises when the model is built on the meta device: "
        "it needs the values of a meta tensor, or mixes one with a tensor on the CPU"
    ),
    "sizes": (
        "which takes its values for sizes under DeepSpeed's zero.Init: floats and booleans raise, integers give "
        "uninitialised memory of that shape; under the meta device it stays on the CPU"
    ),
    "escapes": "which stays on the CPU when the model is built on the meta device",
}


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    yield from _late(subject)
    for fact in subject.facts.registrations:
        if fact.hazards and fact.when == "construction":
            yield _meta_unsafe(subject, fact)


# BUF503


def _late(subject: Subject) -> Iterator[Problem]:
    seen = set()
    for fact in subject.facts.registrations:
        key = fact.class_name, fact.name
        if key in seen or not _may_be_late(fact):
            continue
        found = subject.project.find_class(subject.path, fact.class_name or "")
        late = _first_late(subject, found, fact.name) if found else None
        if found and late and _leaves_it_to_torch(subject, found):
            seen.add(key)
            yield _late_problem(subject, fact, late)


def _may_be_late(fact: RegistrationFact) -> bool:
    late = fact.made_from == _NONE or fact.when != "construction"
    return late and fact.persistent is True and fact.receiver == "self" and fact.name != "{}"


def _first_late(subject: Subject, found: FoundClass, name: str) -> RegistrationFact | FillFact | None:
    """The first statement that makes a buffer of a class persistent, none where construction or a load does."""
    own = [each.fact for each in subject.project.registrations(found)]
    # Most of these are the class's own, which spares a look at what it inherits.
    if any(
        same_name(each.fact.name, name) and each.fact.made_from != _NONE and each.fact.when in ("construction", "load")
        for each in subject.project.all_registrations(found)
    ):
        return None
    fills = [each for each in subject.facts.fills if each.class_name == found.fact.name and each.name == name]
    if any(each.when in ("construction", "load") for each in fills):
        return None
    late = [each for each in own if each.name == name and each.made_from != _NONE and each.persistent is True]
    every: list[RegistrationFact | FillFact] = [*late, *fills]
    return min(every, key=lambda each: (each.when == "later", each.each_time, each.place.line), default=None)


def _leaves_it_to_torch(subject: Subject, found: FoundClass) -> bool:
    """Whether a class is a module that leaves its state dict to torch."""
    bases = {last_name(base) for base in subject.project.foreign_bases(found)}
    if bases <= _NO_MODULE or any("Lazy" in base for base in bases):
        return False
    return not any(member.fact.handles_state_dict for member in subject.project.lineage(found))


def _late_problem(subject: Subject, fact: RegistrationFact, late: RegistrationFact | FillFact) -> Problem:
    confidence = "low" if _loses_nothing(fact, late) else _CONFIDENCES.get(late.when, "low")
    if fact.made_from == _NONE:
        text = (
            f"`{fact.name}` is registered as None, and so no part of the state dict before `{late.method}` fills it: "
        )
        note = Note(subject.path, late.place.line, f"`{fact.name}` gets a value here")
        return Problem("BUF503", confidence, fact.place, text + _UNEXPECTED, fact.symbol, (note,))
    text = f"`{fact.name}` becomes a persistent buffer only in `{fact.method}`: "
    return Problem("BUF503", confidence, fact.place, text + _UNEXPECTED, fact.symbol)


def _loses_nothing(fact: RegistrationFact, late: RegistrationFact | FillFact) -> bool:
    """Whether a late value may be made again, belongs to an option that is seldom asked for, or is saved otherwise."""
    if late.when != "forward":
        return late.in_fit_of_more
    optional = fact.made_from == _NONE and fact.condition is not None
    made_again = late.each_time or is_constant(late.made_from) or _SCRATCH.search(late.made_from) is not None
    return optional or made_again or "cache" in fact.name


# BUF504


def _meta_unsafe(subject: Subject, fact: RegistrationFact) -> Problem:
    worst = min(fact.hazards, key=lambda hazard: list(_CONSEQUENCES).index(hazard.effect))
    text = f"`{fact.name}` is made from `{worst.text}`, {_CONSEQUENCES[worst.effect]}"
    confidence: Confidence = "medium" if _is_built_so(subject, fact, worst.effect) else "low"
    return Problem("BUF504", confidence, fact.place, text, fact.symbol)


def _is_built_so(subject: Subject, fact: RegistrationFact, effect: MetaEffect) -> bool:
    """Whether a class is likely to be built in the way that its value does not suit."""
    # Few values are made so, and what asks about users takes its time to load.
    from bufaudit.users import release_needed, users_of

    owner = subject.project.find_class(subject.path, fact.class_name or "")
    if owner is None or effect == "escapes":
        return False
    # Models of transformers itself have no other loader, which no look at other files could tell better.
    if subject.project.module_name(subject.path).startswith("transformers."):
        near = users_of(subject.project, owner, abroad=False)
        if near.models:
            return near.by_transformers
    # Only training shards parameters, and only a package that speaks of DeepSpeed is known to train so.
    if effect == "sizes" and not subject.project.files_with("deepspeed", subject.path):
        return False
    users = users_of(subject.project, owner)
    return users.by_transformers and not any(
        release_needed(subject.project, subject.path, model) == "old" for model in users.models
    )
