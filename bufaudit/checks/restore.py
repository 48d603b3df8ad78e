"""Buffers that nothing computes again after a load through the meta device: BUF501."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit import torch_state
from bufaudit.checks.context import Note, Problem
from bufaudit.patterns import lazy_pattern
from bufaudit.project import is_source_of_generated, same_name
from bufaudit.restoring import Restorers, built_by, methods_of, rebuilt_in_use, writer_among
from bufaudit.source import vocabulary
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.checks.context import Subject
    from bufaudit.project import FoundClass
    from bufaudit.restoring import Methods, Restored
    from bufaudit.results import Confidence
    from bufaudit.source.facts import RegistrationFact

#: Values that hold nothing which could be lost: none, no elements, or memory that was never written.
_NOTHING = lazy_pattern(
    r"^(None|)$|^(torch\.|np\.)?(empty|empty_like|Tensor|FloatTensor|LongTensor)\(|\.new_empty\(|"
    r"^torch\.(tensor|as_tensor|zeros|ones)\((\[\]|0,|0\)$|\(0,|\[0\]\)?$)|^torch\.(zeros|ones|tensor)\(\s*size=\(0"
)
_EMPTY = lazy_pattern(r"^(torch\.)?(tensor|as_tensor)\(\[\]|^(torch\.)?(zeros|ones|rand|randn)\((size=)?[\[(]?0\b")
#: What says nothing if nobody reads it: a few written-down numbers, kept for their device, or a copy of another buffer.
_IDLE = lazy_pattern(
    r"^(torch\.)?(zeros|ones|tensor|full|rand|randn|as_tensor)\([\d\s.,()\[\]-]*(, \w+=[\w.]+)*\)$|\.clone\(\)$"
)
_FEW_ZEROS = lazy_pattern(r"^(torch\.)?zeros(_like)?\(")


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    yield from _idle_restores(subject)
    if is_source_of_generated(subject.path):
        return
    seen = set()
    restorers = Restorers(subject.project)
    methods: dict[str, Methods] = {}
    for fact in subject.facts.registrations:
        key = fact.class_name, fact.name
        if fact.persistent is True or fact.receiver != "self" or fact.class_name is None or key in seen:
            continue
        if _holds_nothing(fact) or fact.name == "{}":
            continue
        if _IDLE.search(fact.made_from) and not subject.reads(fact.name):
            continue
        owner = subject.project.find_class(subject.path, fact.class_name)
        if owner is None or restorers.restored_nearby(owner, fact.name):
            continue
        if owner.fact.name not in methods:
            methods[owner.fact.name] = methods_of(subject.project, owner)
        problem = _problem(subject, restorers, owner, fact, methods[owner.fact.name])
        if problem is not None:
            seen.add(key)
            yield problem


def _idle_restores(subject: Subject) -> Iterator[Problem]:
    """Loops that compute rotary frequencies again, but only of modules with an attribute that none has any more."""
    if not any(binding.target.startswith("transformers") for binding in subject.facts.imports):
        return
    for fact in subject.facts.restores:
        for attribute in sorted(fact.needs & torch_state.ROTARY_ATTRIBUTES_GONE):
            if fact.how != "mark" and fact.attribute.endswith("inv_freq"):
                text = (
                    f"`{fact.attribute}` is computed again only where a module has `{attribute}`, which no rotary "
                    "embedding of transformers has since release 5: what was built on the meta device keeps "
                    "uninitialised frequencies"
                )
                yield Problem("BUF501", "medium", fact.place, text, fact.initialiser)


def _holds_nothing(fact: RegistrationFact) -> bool:
    return any(_NOTHING.search(value) or _EMPTY.search(value) for value in (fact.value, fact.made_from))


def _problem(
    subject: Subject, restorers: Restorers, owner: FoundClass, fact: RegistrationFact, methods: Methods
) -> Problem | None:
    if not _is_built(methods, fact) or rebuilt_in_use(methods, fact.name):
        return None
    if restorers.restored_beside(owner, fact.name):
        return None
    # Few buffers come as far as this, and what asks about users takes its time to load.
    from bufaudit.checks.restore_plain import forgotten
    from bufaudit.users import is_in_use, users_of

    near = users_of(subject.project, owner, abroad=False)
    if near.models and all(restorers.under(owner, fact.name, each).answer == "restored" for each in near.models):
        return None
    users = users_of(subject.project, owner)
    if not users.models:
        return forgotten(subject, restorers, owner, fact, methods, users)
    answers = [(model, restorers.under(owner, fact.name, model)) for model in users.models]
    losing = [(model, answer) for model, answer in answers if answer.answer != "restored"]
    if not losing:
        return None
    model, answer = min(losing, key=lambda each: each[1].answer == "unknown")
    confidence = _confidence(subject, fact, methods, model, answer, mixed=len(losing) < len(answers))
    if users.loads_itself or not any(is_in_use(subject.project, each) for each, _ in losing):
        confidence = "low"
    text = _text(fact, model, answer)
    return Problem("BUF501", confidence, fact.place, text, fact.symbol, _notes(model, answer))


def _is_built(methods: Methods, fact: RegistrationFact) -> bool:
    """Whether a registration runs while its object is built."""
    names = {
        name
        for name, found in methods.items()
        if any(
            each.class_name == fact.class_name and each.line <= fact.place.line <= each.end_line for _, each in found
        )
    }
    return not names.isdisjoint(built_by(methods))


def _confidence(
    subject: Subject, fact: RegistrationFact, methods: Methods, model: FoundClass, answer: Restored, *, mixed: bool
) -> Confidence:
    from bufaudit.users import release_needed

    restored = {restore.place.line for restore in subject.facts.restores}
    elsewhere = any(same_name(touch.name, fact.name) and touch.line not in restored for touch in subject.facts.touches)
    release = release_needed(subject.project, subject.path, model)
    if fact.persistent is not False or elsewhere or release == "old":
        return "low"
    resets = [name for name in methods if name.startswith(vocabulary.INITIALISERS) and name not in built_by(methods)]
    if writer_among(methods, resets, fact.name):
        return "low" if _FEW_ZEROS.search(fact.made_from) else "medium"
    unsure = answer.answer == "unknown" or mixed or not subject.reads(fact.name)
    return "medium" if unsure or release == "unknown" else "high"


def _text(fact: RegistrationFact, model: FoundClass, answer: Restored) -> str:
    who = last_name(model.fact.name)
    end = (
        f"no `_init_weights` computes it again, unless `{answer.by}` does"
        if answer.answer == "unknown"
        else "no `_init_weights` computes it again"
    )
    return (
        f"non-persistent buffer `{fact.name}` is uninitialised memory after `{who}.from_pretrained`, which builds the "
        f"model on the meta device: {end}"
    )


def _notes(model: FoundClass, answer: Restored) -> tuple[Note, ...]:
    notes = [Note(model.path, model.fact.line, f"it is part of `{last_name(model.fact.name)}`, loaded by transformers")]
    if answer.initialiser is not None:
        path, line = answer.initialiser
        notes.append(Note(path, line, "this `_init_weights` runs after the load and leaves it as it is"))
    return tuple(notes)
