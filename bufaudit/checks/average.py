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
#: A copy that runs beside the model in training, where BatchNorm uses the batch and updates statistics of its own; or
#: the networks of reinforcement learning, few of which have any.
_RUNS_BESIDE = lazy_pattern(
    r"teacher|student|momentum|mmt|moco|byol|dino|key_?enc|query|target|critic|actor|policy|(^|[_.])q\d?($|[_.]|_?net)|"
    r"value_?net|(soft|hard)_?(copy_?)?update",
    re.IGNORECASE,
)
#: The same where any model may be trained: methods that learn without labels, by their names.
_LEARNS_BY_ITSELF = lazy_pattern(
    r"teacher|student|mmt|moco|byol|dino|key_?enc|(?-i:[a-z_]Momentum|momentum_)", re.IGNORECASE
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
        yield from _problem(view, into, source, place, _of_unknown_models(view, into, source), mixes=mixes)


def _mixed_by_call(view: FunctionView) -> Iterator[Problem]:
    """`polyak_update(a.parameters(), b.parameters(), tau)`."""
    for call in view.function.calls:
        if not vocabulary.AVERAGERS.search(call.callee) or "adapter" in call.guards:
            continue
        walked = [view.function.walks[index] for indexes in call.walks for index in indexes]
        walked = [walk for walk in walked if walk.kind == "parameters"]
        if len({walk.receiver for walk in walked}) >= 2:
            confidence = _of_unknown_models(view, walked[0], walked[1])
            own = all(walk.receiver.startswith("self.") for walk in walked)
            if own and _is_evaluated(view) and not view.models_hold_no_state():
                confidence = "medium"
            yield from _problem(view, walked[0], walked[1], call.place, confidence)


def _of_unknown_models(view: FunctionView, one: Walk, other: Walk) -> Confidence:
    """How likely it is that the average loses something, where nothing is known of the models."""
    given_any = any(_ANY_MODEL.search(base) for base in view.bases)
    return "medium" if given_any and not _is_named(view, one, other, _LEARNS_BY_ITSELF) else "low"


def _is_named(view: FunctionView, one: Walk, other: Walk, pattern: re.Pattern[str]) -> bool:
    given = [argument.text for walk in (one, other) for argument in view.given(walk)]
    names = (view.function.name, view.function.class_name or "", one.receiver, other.receiver, *given)
    return any(map(pattern.search, names))


def _has_own_statistics(view: FunctionView, one: Walk, other: Walk) -> bool:
    """Whether one model runs beside the other in training, so that it updates its buffers by itself."""
    beside = vocabulary.FOLLOWERS & view.subject.facts.words or _is_named(view, one, other, _RUNS_BESIDE)
    return bool(beside) and not _is_evaluated(view)


def _is_evaluated(view: FunctionView) -> bool:
    """Whether the code around, of the same file or beside it, puts the copy into evaluation mode."""
    project, path = view.subject.project, view.subject.path
    if vocabulary.EVALUATED_COPY in view.subject.facts.words:
        return True
    near = {file for word in ("eval", "set_training_mode") for file in project.files_with(word, path, beside=True)}
    return any(facts and vocabulary.EVALUATED_COPY in facts.words for facts in map(project.facts, sorted(near)))


def _problem(
    view: FunctionView, one: Walk, other: Walk, place: Place, sure: Confidence, *, mixes: bool = True
) -> Iterator[Problem]:
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
    confidence = view.confidence(walk, reach, sure)
    if not mixes or (confidence == "high" and _has_own_statistics(view, one, other)):
        confidence = "low"
    yield view.problem("BUF302", confidence, place, text, registered_here(reach))


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
        sure = _of_unknown_models(view, walk, walk)
        yield view.problem("BUF302", view.confidence(walk, reach, sure), walk.place, text, registered_here(reach))


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
