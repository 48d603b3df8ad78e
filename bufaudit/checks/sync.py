"""State on its way to other ranks, processes and engines: BUF301."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bufaudit.checks.context import PARTIAL, Problem, registered_here, what_is_lost
from bufaudit.patterns import lazy_pattern
from bufaudit.source import vocabulary
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.checks.context import FunctionView, Subject
    from bufaudit.results import Confidence
    from bufaudit.source.facts import Effect

_PROMISES_MODEL = lazy_pattern(
    r"model|weight|state|module|engine|rollout|vllm|sglang|replica|sync_?from|ranks?\b", re.IGNORECASE
)
_NAMED_FOR_PARAMETERS = lazy_pattern(r"(^|_)param(eter)?s?$", re.IGNORECASE)
_PROMISES_PARAMETERS = lazy_pattern(r"param", re.IGNORECASE)
#: Collectives that bring shards together rather than make ranks equal.
_GATHERING = frozenset(
    {"gather", "all_gather", "all_gather_into_tensor", "all_gather_object", "reduce_scatter", "reduce", "scatter"}
)
#: Collectives that average, by algorithms most of which are defined on parameters.
_AVERAGING = frozenset({"all_reduce", "all_reduce_", "allreduce", "allreduce_"})
_OTHER_PURPOSE = lazy_pattern(
    r"grad|optim|norm|register|reduce_loss|clip|check|assert|verify|validate|is_same|equal|hash|test|debug|log",
    re.IGNORECASE,
)


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    for view in subject.functions():
        if not (view.buffers_are_carried() or _OTHER_PURPOSE.search(view.title) or _speaks_of_adapters(view)):
            yield from _sent_parameters(view)


def _sent_parameters(view: FunctionView) -> Iterator[Problem]:
    for effect, walk, reach in view.losing_walks("pass", lambda effect: _is_sent(effect) and _is_state(view, effect)):
        text = (
            f"`{last_name(effect.target)}` gets the parameters of `{walk.receiver}`, never {what_is_lost(reach)}: "
            "the other end keeps its own"
        )
        # Buffers that construction makes alike on both ends may stay apart or not: even known ones are not certain.
        unknown = not reach.any and (not _carries_elsewhere(view) or view.models_hold_no_state())
        unsure = last_name(effect.target) in _AVERAGING or unknown or view.confidence(walk, reach) == "low"
        confidence = "low" if unsure else _by_promise(view)
        yield view.problem("BUF301", confidence, walk.place, text, registered_here(reach))


def _is_state(view: FunctionView, effect: Effect) -> bool:
    """Whether what is sent is the walked module's state: all of it, and neither gradients nor a checkpoint."""
    if effect.guards & PARTIAL or "sharded" in effect.guards:
        return False
    return "saved" not in view.kinds(effect) and "gradient" not in effect.origins


def _is_sent(effect: Effect) -> bool:
    name = last_name(effect.target)
    if name in _GATHERING or not effect.sources:
        return False
    return name in vocabulary.COLLECTIVES or bool(vocabulary.ENGINE_SYNC.search(effect.target))


def _by_promise(view: FunctionView) -> Confidence:
    """A function that only promises parameters keeps its word."""
    if _NAMED_FOR_PARAMETERS.search(view.title):
        return "low"
    if _PROMISES_MODEL.search(view.title):
        return "medium"
    if _PROMISES_PARAMETERS.search(view.title):
        return "low"
    return "medium" if _PROMISES_MODEL.search(view.promise) else "low"


def _carries_elsewhere(view: FunctionView) -> bool:
    """Whether other code of the file, for the same models, does walk buffers."""
    return any(walk.kind == "buffers" for sibling in view.subject.facts.functions for walk in sibling.walks)


def _speaks_of_adapters(view: FunctionView) -> bool:
    return bool(vocabulary.ADAPTER.search(view.promise))
