"""One model's state mixed into another's: BUF302."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from bufaudit.checks.context import Problem, registered_here, what_is_lost
from bufaudit.patterns import lazy_pattern
from bufaudit.source import vocabulary

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from bufaudit.checks.context import FunctionView, Subject
    from bufaudit.project import Reach
    from bufaudit.results import Confidence
    from bufaudit.source.facts import Place, Walk

_AVERAGE_NAME = lazy_pattern(
    r"(^|[_.])ema|ema($|[_.])|EMA|[Pp]olyak|[Aa]verag|[Tt]arget|[Mm]omentum|[Tt]eacher|shadow|swa($|_)|SWA|running_model|"
    r"[Ss]oft_?[Uu]pdate|fed",
)
#: A copy that is kept to be used in the end: nothing trains it, so nothing but the average gives it statistics.
_KEPT_FOR_USE = lazy_pattern(
    r"(^|[_.])ema|ema($|[_.])|EMA|[Aa]verag|shadow|swa($|_)|SWA|running_model|server|client|aggregat|fed"
)
#: A copy that runs beside the model in training, where BatchNorm uses the batch and updates statistics of its own; or
#: the networks of reinforcement learning, few of which have any.
_RUNS_BESIDE = lazy_pattern(
    r"teacher|student|momentum|mmt|moco|byol|dino|key_?enc|query|target|critic|actor|policy|(^|[_.])q\d?($|[_.]|_?net)|"
    r"value_?net|(soft|hard)_?(copy_?)?update",
    re.IGNORECASE,
)
#: Base classes of what is handed whatever model is trained.
_ANY_MODEL = lazy_pattern(r"(Callback|Trainer|Strategy|Plugin)(Mixin|Base)?$")
#: Values of a buffer that training is to fill.
_TO_BE_FILLED = lazy_pattern(r"zeros|ones|empty|full|rand|clone|copy")
#: Where two models are built, one starts as the other: their buffers are as fresh.
_BUILDING = lazy_pattern(r"^__init__$|^_?(init|build|setup|configure|create|make)(_|$)")
_BUFFER_NAME = lazy_pattern(r"buffer", re.IGNORECASE)
_OTHER_PURPOSE = lazy_pattern(
    r"test|check|assert|compare|equal|distance|diff|grad|penalty|regulari|loss|meta_?(update|learn)|maml|inner",
    re.IGNORECASE,
)


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    carrying = {view.function.class_name for view in subject.functions() if view.buffers_are_carried()} - {None}
    for view in subject.functions():
        yield from _named_for_buffers(view)
        if _is_carried(view, carrying) or _OTHER_PURPOSE.search(view.title):
            continue
        yield from _mixed_in_loop(view)
        yield from _mixed_by_call(view)
        yield from _written_from_averages(view)


def _is_carried(view: FunctionView, carrying: Collection[str | None]) -> bool:
    """Whether buffers follow: in this function, in another of its class, or by a BatchNorm pass in the file."""
    if view.buffers_are_carried():
        return True
    if view.function.class_name in carrying:
        return True
    return any(vocabulary.speaks_of_statistics(word) for word in view.subject.facts.words)


def _mixed_in_loop(view: FunctionView) -> Iterator[Problem]:
    """`zip(a.parameters(), b.parameters())` in whose body one is written from the other."""
    reported: list[set[str]] = []
    for effect in view.effects("write", on="parameters"):
        written = set(effect.walks)
        others = [w for i, w in enumerate(view.function.walks) if i in effect.sources and i not in written]
        if "adapter" in effect.guards or "gradient" in effect.origins:
            continue
        into = view.first_walk(effect, "parameters")
        source = next((w for w in others if w.kind == "parameters" and w.receiver != into.receiver), None)
        if source is None or {into.receiver, source.receiver} in reported:
            continue
        if _BUILDING.search(view.title) and "arithmetic" not in effect.origins:
            continue
        reported.append({into.receiver, source.receiver})
        place = min(into.place, source.place, key=lambda p: (-p.line, p.column))
        mixes = "arithmetic" in effect.origins
        yield from _problem(view, into, source, place, _by_names(view, into, source) if mixes else "low")


def _mixed_by_call(view: FunctionView) -> Iterator[Problem]:
    """`polyak_update(a.parameters(), b.parameters(), tau)`."""
    for call in view.function.calls:
        if not vocabulary.AVERAGERS.search(call.callee) or "adapter" in call.guards:
            continue
        walked = [view.function.walks[index] for indexes in call.walks for index in indexes]
        walked = [walk for walk in walked if walk.kind == "parameters"]
        if len({walk.receiver for walk in walked}) >= 2:
            confidence = _by_names(view, walked[0], walked[1])
            if all(walk.receiver.startswith("self.") for walk in walked):
                confidence = "medium"
            yield from _problem(view, walked[0], walked[1], call.place, confidence)


def _by_names(view: FunctionView, one: Walk, other: Walk) -> Confidence:
    """How likely it is that the average loses something, by what it is for, where nothing is known of the models."""
    if any(_ANY_MODEL.search(base) for base in view.bases):
        return "medium"
    given = [argument.text for walk in (one, other) for argument in view.given(walk)]
    names = (view.function.name, view.function.class_name or "", one.receiver, other.receiver, *given)
    if vocabulary.FOLLOWERS & view.subject.facts.words or any(map(_RUNS_BESIDE.search, names)):
        return "medium" if vocabulary.EVALUATED_COPY in view.subject.facts.words else "low"
    if _is_of_language_models(view):
        return "low"
    return "medium" if any(map(_KEPT_FOR_USE.search, names)) else "low"


def _is_of_language_models(view: FunctionView) -> bool:
    """Whether the file works with transformers' models: few have a buffer that training changes."""
    imports = view.subject.facts.imports
    return any(binding.target.partition(".")[0] in ("transformers", "peft") for binding in imports)


def _problem(view: FunctionView, one: Walk, other: Walk, place: Place, sure: Confidence) -> Iterator[Problem]:
    if view.loads_state_of(one) or view.loads_state_of(other):
        return
    reaches = (_what_changes(view.reach(one)), _what_changes(view.reach(other)))
    if any(reach.none for reach in reaches):
        return
    walk, reach = next(((w, r) for w, r in zip((one, other), reaches, strict=True) if r.any), (one, reaches[0]))
    text = (
        f"`{one.receiver}` and `{other.receiver}` are mixed parameter by parameter, without {what_is_lost(reach)}: "
        "one model ends up with the parameters of both and the buffers of one"
    )
    yield view.problem("BUF302", view.confidence(walk, reach, sure), place, text, registered_here(reach))


def _what_changes(reach: Reach) -> Reach:
    """A tree without the buffers that construction fills for good, which are the same in both models."""
    return replace(
        reach, registrations=tuple(found for found in reach.registrations if _TO_BE_FILLED.search(found.fact.made_from))
    )


def _written_from_averages(view: FunctionView) -> Iterator[Problem]:
    """A model's parameters are overwritten with averages kept elsewhere, and it is the model that is used or saved."""
    for effect in view.effects("write", on="parameters"):
        walk = view.first_walk(effect, "parameters")
        if effect.target != "copy_" or effect.sources or not _AVERAGE_NAME.search(walk.receiver):
            continue
        if "adapter" in effect.guards or not _AVERAGE_NAME.search(view.function.name):
            continue
        reach = view.reach(walk)
        if reach.none:
            continue
        text = (
            f"`{walk.receiver}` gets averaged parameters, but never {what_is_lost(reach)}: "
            "it is used with buffers as old as its first copy"
        )
        yield view.problem("BUF302", view.confidence(walk, reach), walk.place, text, registered_here(reach))


def _named_for_buffers(view: FunctionView) -> Iterator[Problem]:
    """In code that averages: a function named for buffers that walks parameters, which never yield one."""
    if not _BUFFER_NAME.search(view.title) or not _AVERAGE_NAME.search(f"{view.function.class_name} {view.title}"):
        return
    if any(walk.kind != "parameters" for walk in view.function.walks):
        return
    for effect in view.effects("store", on="parameters"):
        if effect.target in ("yield", "return"):
            walk = view.first_walk(effect, "parameters")
            text = (
                f"`{view.title}` walks the parameters of `{walk.receiver}`, which holds no buffer: "
                "buffers are never averaged or copied"
            )
            yield view.problem("BUF302", "high", walk.place, text)
            return
