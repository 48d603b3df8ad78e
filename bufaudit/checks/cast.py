"""Whole modules cast to half precision, their float32 buffers with them: BUF402."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit import torch_state
from bufaudit.checks.context import Note, Problem
from bufaudit.patterns import lazy_pattern
from bufaudit.project import FoundClass, FoundRegistration
from bufaudit.source import vocabulary
from bufaudit.source.casts import MODULE_NAME, PRECISE, is_float32, is_precise
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bufaudit.checks.context import FunctionView, Subject
    from bufaudit.project import Project
    from bufaudit.results import Confidence
    from bufaudit.source.facts import Cast, DtypeUse, FileFacts, RegistrationFact

_CODE = "BUF402"
_MOST = 3
#: Classes that take any user's model and go on to train it or to generate with it.
_FRAMEWORK = lazy_pattern(r"Engine|Trainer|Worker|Learner")
#: Functions that do what they are told, and no more: the caller asks for the cast.
_ASKED_FOR = lazy_pattern(r"^(to|half|bfloat16|float16|bf16|fp16|type|_apply)$")
#: Functions, or classes, whose model is not the one that is trained.
_NOT_TRAINED = lazy_pattern(
    r"quanti[sz]e|infer|export|convert|merge|copy|clone|predict|eval|serve|deploy|profil|bench|estimat|dry_?run"
)
_FP16 = lazy_pattern(r"(?<!b)float16|half|fp16")
_FREQUENCY = lazy_pattern(r"inv_freq|inverse_freq")


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    for view in subject.functions():
        yield from _blanket_casts(view)
    yield from _rounded_in_forward(subject)
    yield from _positions_in_its_dtype(subject)
    yield from _rounded_by_wrapper(subject)


@dataclass(frozen=True, slots=True)
class _Precise:
    """The float32 buffers that a module tree is known to hold: registered in the project, or by a library's classes."""

    registrations: tuple[FoundRegistration, ...]
    libraries: tuple[str, ...]

    @property
    def words(self) -> str:
        names = [f"`{found.fact.name}`" for found in self.registrations]
        names += [f"the rotary frequencies of `{last_name(name)}`" for name in self.libraries]
        names = list(dict.fromkeys(names))
        rest = len(names) - _MOST
        return ", ".join(names[:_MOST]) + (f" and {rest} more" if rest > 0 else "")

    @property
    def notes(self) -> tuple[Note, ...]:
        return tuple(
            Note(found.path, found.fact.place.line, f"float32 buffer `{found.fact.name}` is registered here")
            for found in self.registrations[:_MOST]
        )


def _blanket_casts(view: FunctionView) -> Iterator[Problem]:
    if _ASKED_FOR.match(view.title) or _keeps_precision(view):
        return
    for cast in view.function.casts:
        if cast.one_of_many or cast.handed_on:
            continue
        precise = _precise_tree(view.subject.project, view.subject.path, cast.receiver_type)
        confidence = _confidence(view, cast, precise)
        if confidence is None:
            continue
        known = bool(precise.registrations or precise.libraries)
        what = precise.words if known else "rotary frequencies, expert biases, whatever of it is float32"
        text = (
            f"`{cast.receiver}` is cast to {cast.dtype} as a whole, which casts its floating point buffers too: {what} "
            + ("is" if known and len(precise.registrations) + len(precise.libraries) == 1 else "are")
            + " rounded, and nothing restores the float32 values"
        )
        yield view.problem(_CODE, confidence, cast.place, text, precise.notes)


def _keeps_precision(view: FunctionView) -> bool:
    """Whether the function itself does anything about buffers, or about what must stay in float32."""
    return view.buffers_are_carried() or any(vocabulary.speaks_of_precision(word) for word in view.function.words)


def _precise_tree(project: Project, path: str, name: str | None) -> _Precise:
    registrations: list[FoundRegistration] = []
    libraries: list[str] = []
    for member in project.tree(path, name) if name else ():
        if isinstance(member, FoundClass):
            registrations += [found for found in project.registrations(member) if _can_lose(project, found)]
        elif torch_state.ROTARY_MODELS.match(member):
            libraries.append(member)
    return _Precise(tuple(registrations), tuple(libraries))


def _can_lose(project: Project, found: FoundRegistration) -> bool:
    """Whether a buffer loses what matters by a cast: its class reads it later and never looks after it."""
    if not PRECISE.search(found.fact.name) or not is_precise(found.fact):
        return False
    how = {use.how for use in _uses(project.facts(found.path), found.fact)}
    return bool(how) and how.isdisjoint({"asked", "renewed"})


def _uses(facts: FileFacts | None, registered: RegistrationFact) -> list[DtypeUse]:
    """What a class makes of the dtype of a buffer of its own once its objects are built."""
    return [
        use
        for use in (facts.dtype_uses if facts else ())
        if (use.class_name, use.attribute) == (registered.class_name, registered.name)
    ]


def _is_looked_after(uses: Iterable[DtypeUse]) -> bool:
    """Whether a class brings a buffer back to float32, asks for its dtype or computes it again."""
    return any(use.how in ("raised", "asked", "renewed") for use in uses)


def _confidence(view: FunctionView, cast: Cast, precise: _Precise) -> Confidence | None:
    if not _casts_trained_model(view, cast):
        return _unless_layer(cast, precise)
    if precise.registrations or precise.libraries:
        return "medium" if _FP16.search(cast.dtype) else "high"
    put_back = any("cast" in effect.origins for effect in view.effects("write", on="parameters"))
    if not put_back and _unless_layer(cast, precise) is None:
        return None
    if (_FP16.search(cast.dtype) and not put_back) or not _may_have_frequencies(view):
        return "low"
    whole = cast.half and cast.receiver.removeprefix("self.").isidentifier()
    framework = _FRAMEWORK.search(view.function.class_name or "") and cast.receiver.startswith("self.")
    return "medium" if whole and (put_back or cast.goes_on or framework) else "low"


def _may_have_frequencies(view: FunctionView) -> bool:
    """Whether the models that a file handles are of a library, or a package, that has rotary frequencies as buffers."""
    if any(binding.target.startswith(("transformers", "peft")) for binding in view.subject.facts.imports):
        return True
    return bool(view.subject.project.files_with("inv_freq", view.subject.path))


def _unless_layer(cast: Cast, precise: _Precise) -> Confidence | None:
    """Low where a cast is one of a model, by what it holds or by its name."""
    if precise.registrations or precise.libraries:
        return "low"
    return "low" if cast.receiver_type is None and MODULE_NAME.search(last_name(cast.receiver)) else None


def _casts_trained_model(view: FunctionView, cast: Cast) -> bool:
    """Whether a cast lowers, for certain, the model that the code around it goes on to train.

    It does not where that is a copy or has no values yet, where its dtype may be the full one, where frequencies are
    made anew, or where nothing calls the function.
    """
    words = view.subject.facts.words
    return (
        _trains(view)
        and vocabulary.RENEWS_FREQUENCIES not in words
        and not vocabulary.NOT_LIVE & view.function.words
        and not _NOT_TRAINED.search(view.function.name.lower())
        and "float32" not in cast.dtype
        and not cast.meant
        and _is_called(view)
    )


def _trains(view: FunctionView) -> bool:
    """Whether a file trains a model, or freezes a part of one in a package that takes optimizer steps."""
    subject = view.subject
    if vocabulary.TRAINS in subject.facts.words:
        return True
    return vocabulary.FREEZES in subject.facts.words and bool(
        subject.project.files_with("optimizer.step", subject.path)
    )


def _is_called(view: FunctionView) -> bool:
    """Whether the package speaks of a function of a file beyond its definition; methods are for others to call."""
    if view.function.class_name is not None or "." in view.function.name or view.title == "<module>":
        return True
    project, path = view.subject.project, view.subject.path
    if any(view.title in mention.used for mention in project.mentions(path).definitions):
        return True
    return any(other != path for other in project.files_with(view.title, path))


def _rounded_in_forward(subject: Subject) -> Iterator[Problem]:
    for use in subject.facts.dtype_uses:
        if use.how == "rounded" and _FREQUENCY.search(use.attribute):
            text = (
                f"`{use.attribute}` is rounded to the dtype of the activations before it is multiplied by positions: "
                "at long positions the angles are wrong by whole turns"
            )
            yield Problem(_CODE, "low", use.place, text, use.method, _registered(subject, use))


def _positions_in_its_dtype(subject: Subject) -> Iterator[Problem]:
    """A rotary frequency that a cast of the model rounds, and from which tables are made again in its own dtype."""
    for fact in subject.facts.registrations:
        if not _FREQUENCY.search(fact.name) or fact.receiver != "self" or fact.condition is not None:
            continue
        uses = _uses(subject.facts, fact)
        made = next((use for use in uses if use.how == "positions"), None)
        if made is None or _is_looked_after(uses):
            continue
        method = last_name(made.method)
        text = (
            f"`{fact.name}` is float32 only until the model is cast: `.to(torch.bfloat16)` or `.half()` rounds it, and "
            f"`{method}` then makes positions and angles in its dtype"
        )
        note = Note(subject.path, made.place.line, f"positions take the dtype of `{fact.name}` here")
        confidence: Confidence = "medium" if _is_decoder(subject, fact) else "low"
        yield Problem(_CODE, confidence, fact.place, text, _symbol(subject, fact), (note,))


def _is_decoder(subject: Subject, fact: RegistrationFact) -> bool:
    """Whether a class keeps tables of cosines beside models whose loader, which casts them, is of the same project."""
    tables = any(
        other.class_name == fact.class_name and other.name.startswith("cos") for other in subject.facts.registrations
    )
    # Attention that sees the last tokens only is for texts which outgrow the tables.
    if not tables or subject.path not in subject.project.files_with("sliding_window", subject.path):
        return False
    classes = (subject.project.find_class(subject.path, each.name) for each in subject.facts.classes)
    bases = (member for found in classes if found for member in subject.project.lineage(found))
    return any(member.fact.name == "PreTrainedModel" for member in bases)


def _rounded_by_wrapper(subject: Subject) -> Iterator[Problem]:
    """A persistent buffer that says that it is float32, beside a wrapper that casts any module of its kind."""
    for fact in subject.facts.registrations:
        if fact.persistent is not True or fact.receiver != "self" or not is_float32(fact) or not is_precise(fact):
            continue
        found = subject.project.find_class(subject.path, fact.class_name or "")
        if found is None or _is_looked_after(_uses(subject.facts, fact)):
            continue
        wrapper = _wrapper(subject.project, found)
        if wrapper is not None:
            path, name, cast = wrapper
            text = (
                f"`{fact.name}` is registered as float32, and `{name}` casts the whole module to {cast.dtype}: "
                "steps smaller than its rounding are lost"
            )
            note = Note(path, cast.place.line, f"`{cast.receiver}` is cast as a whole here")
            yield Problem(_CODE, "medium", fact.place, text, _symbol(subject, fact), (note,))


def _wrapper(project: Project, found: FoundClass) -> tuple[str, str, Cast] | None:
    """A class that casts the module it is given, in the files that define a class's bases."""
    for member in project.lineage(found):
        facts = project.facts(member.path)
        for function in facts.functions if facts else ():
            for cast in function.casts:
                if cast.receiver in function.parameters and function.class_name and cast.handed_on:
                    return member.path, function.class_name, cast
    return None


def _registered(subject: Subject, use: DtypeUse) -> tuple[Note, ...]:
    return tuple(
        Note(subject.path, fact.place.line, f"float32 buffer `{fact.name}` is registered here")
        for fact in subject.facts.registrations
        if (fact.class_name, fact.name) == (use.class_name, use.attribute)
    )[:1]


def _symbol(subject: Subject, fact: RegistrationFact) -> str:
    inside = [
        function.name
        for function in subject.facts.functions
        if function.class_name == fact.class_name and function.line <= fact.place.line <= function.end_line
    ]
    return inside[0] if inside else fact.class_name or "<module>"
