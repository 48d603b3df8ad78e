"""One model's state mixed into another's: BUF302."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bufaudit.checks.context import Problem, confidence_of, registered_here, what_is_lost
from bufaudit.patterns import lazy_pattern
from bufaudit.source import vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.checks.context import FunctionView, Subject
    from bufaudit.source.facts import Place, Walk

_AVERAGE_NAME = lazy_pattern(
    r"(^|[_.])ema|ema($|[_.])|EMA|[Pp]olyak|[Aa]verag|[Tt]arget|[Mm]omentum|[Tt]eacher|shadow|swa($|_)|SWA|running_model|"
    r"[Ss]oft_?[Uu]pdate|fed",
)
#: Where two models are built, one starts as the other: their buffers are as fresh.
_BUILDING = lazy_pattern(r"^__init__$|^_?(init|build|setup|configure|create|make)(_|$)")
_BUFFER_NAME = lazy_pattern(r"buffer", re.IGNORECASE)
_OTHER_PURPOSE = lazy_pattern(
    r"test|check|assert|compare|equal|distance|diff|grad|penalty|regulari|loss|meta_?(update|learn)|maml|inner",
    re.IGNORECASE,
)


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    for view in subject.functions():
        yield from _named_for_buffers(view)
        if _is_carried(view) or _OTHER_PURPOSE.search(view.title):
            continue
        yield from _mixed_in_loop(view)
        yield from _mixed_by_call(view)
        yield from _written_from_averages(view)


def _is_carried(view: FunctionView) -> bool:
    """Whether buffers follow: in this function, in another of its class, or by a BatchNorm pass in the file."""
    if view.buffers_are_carried():
        return True
    if view.function.class_name is not None and any(sibling.buffers_are_carried() for sibling in view.siblings()):
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
        yield from _problem(view, into, source, min(into.place, source.place, key=lambda p: (-p.line, p.column)))


def _mixed_by_call(view: FunctionView) -> Iterator[Problem]:
    """`polyak_update(a.parameters(), b.parameters(), tau)`."""
    for call in view.function.calls:
        if not vocabulary.AVERAGERS.search(call.callee) or "adapter" in call.guards:
            continue
        walked = [view.function.walks[index] for indexes in call.walks for index in indexes]
        walked = [walk for walk in walked if walk.kind == "parameters"]
        if len({walk.receiver for walk in walked}) >= 2:
            yield from _problem(view, walked[0], walked[1], call.place)


def _problem(view: FunctionView, one: Walk, other: Walk, place: Place) -> Iterator[Problem]:
    if view.loads_state_of(one) or view.loads_state_of(other):
        return
    reaches = (view.reach(one), view.reach(other))
    if any(reach.none for reach in reaches):
        return
    walk, reach = next(((w, r) for w, r in zip((one, other), reaches, strict=True) if r.any), (one, reaches[0]))
    text = (
        f"`{one.receiver}` and `{other.receiver}` are mixed parameter by parameter, without {what_is_lost(reach)}: "
        "one model ends up with the parameters of both and the buffers of one"
    )
    yield view.problem("BUF302", confidence_of(walk, reach), place, text, registered_here(reach))


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
        yield view.problem("BUF302", confidence_of(walk, reach), walk.place, text, registered_here(reach))


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
