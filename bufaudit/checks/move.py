"""State on its way between devices: BUF401."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bufaudit.checks.context import PARTIAL, Problem, registered_here, what_is_lost
from bufaudit.patterns import lazy_pattern
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.checks.context import FunctionView, Subject
    from bufaudit.results import Confidence
    from bufaudit.source.facts import Effect

_MOVING = lazy_pattern(
    r"(off|on|up|re)_?load|to_(cpu|gpu|cuda|device|meta|disk|host)|(^|_)move|evict|swap_(in|out)|release|unload|sleep|wake|"
    r"park|stash|load_\w*to_|(^|_)(cpu|cuda)(_|$)",
    re.IGNORECASE,
)
#: The halves of a pair that takes parameters away and brings them back.
_AWAY = lazy_pattern(r"off_?load|to_(cpu|disk|host)|evict|swap_out|unload|sleep|park|stash", re.IGNORECASE)
_BACK = lazy_pattern(
    r"(?<!off)(?<!off_)(?<!un)(on|up|re)?_?load|to_(gpu|cuda|device)|swap_in|wake|resume|restore", re.IGNORECASE
)
_NOT_STATE = lazy_pattern(r"optim|grad", re.IGNORECASE)


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    for view in subject.functions():
        if not view.buffers_are_carried():
            yield from _moved_parameters(view)
            yield from _entries_put_on_meta(view)


def _moved_parameters(view: FunctionView) -> Iterator[Problem]:
    if _NOT_STATE.search(view.title) or _moves_module(view):
        return
    # Buffers that stay where the parameters leave are still there when those come back.
    stays = _is_half_of_pair(view) or not _MOVING.search(view.title) or _AWAY.search(view.title)
    for _, walk, reach in view.losing_walks("write", _moves):
        text = (
            f"`{walk.receiver}` is moved parameter by parameter, without {what_is_lost(reach)}: "
            "what stays behind is on another device, or lost with the memory that is freed"
        )
        confidence: Confidence = "medium" if reach.any and not stays else "low"
        yield view.problem("BUF401", confidence, walk.place, text, registered_here(reach))


def _is_half_of_pair(view: FunctionView) -> bool:
    """Whether another function of the file brings back what this one takes away: buffers can have stayed on purpose.

    What stays while the parameters are away is where it was when they come back.
    """
    away = _AWAY.search(view.title) is not None
    opposite = _BACK if away else _AWAY
    return (away or _BACK.search(view.title) is not None) and any(
        opposite.search(other.title) and (other.title != view.title) and any(other.effects("write", on="parameters"))
        for other in view.subject.functions()
        if not (opposite is _BACK and _AWAY.search(other.title))
    )


def _moves(effect: Effect) -> bool:
    if effect.guards & PARTIAL:
        return False
    return effect.target in ("resize_", "freed") or _is_own_value_moved(effect)


def _is_own_value_moved(effect: Effect) -> bool:
    if effect.target != "data" or "moved" not in effect.origins or "arithmetic" in effect.origins:
        return False
    return set(effect.sources) <= set(effect.walks)


def _moves_module(view: FunctionView) -> bool:
    return any(last_name(call.callee) in ("to_empty", "load_state_dict") for call in view.function.calls)


def _entries_put_on_meta(view: FunctionView) -> Iterator[Problem]:
    """Offloading: each entry of a checkpoint goes to disk and leaves a meta tensor, buffers like parameters."""
    offloads = any(
        effect.kind == "pass" and "offload" in effect.target.lower() and "saved" in view.kinds(effect)
        for effect in view.function.effects
    )
    if not offloads:
        return
    for effect in view.function.effects:
        if effect.kind != "pass" or "meta" not in effect.origins or view.kinds(effect) != {"saved"}:
            continue
        if effect.guards & {"buffer", "parameter", "membership"}:
            continue
        text = (
            "every entry of the checkpoint is offloaded and leaves a meta tensor in the model, buffers too: "
            "hooks that bring parameters back leave them on meta"
        )
        yield view.problem("BUF401", "medium", effect.place, text)
        return
