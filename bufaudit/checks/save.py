"""State on its way out of a module: BUF201."""

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
    from bufaudit.source.facts import Effect, Walk

_STRONG_CONTAINER = lazy_pattern(
    r"(state_?dict|(^|_)sd|checkpoint|ckpt|snapshot|cpu_state|model_state|sharded_state|full_state|state)s?$",
    re.IGNORECASE,
)
_SAVED_STATE = lazy_pattern(r"state_?dict|checkpoint|ckpt|snapshot", re.IGNORECASE)
_SAVING = lazy_pattern(
    r"save|state_?dict|snapshot|export|checkpoint|ckpt|consolidated|backup|dump|to_cpu|copy_model|gather_(full|model|state)|"
    r"store_(model|weights|state)|serializ",
    re.IGNORECASE,
)
_OTHER_PURPOSE = lazy_pattern(
    r"grad|optim|(^|[._])ema($|[._])|shadow|momentum|fisher|importance|mask|(^|_)ids?$|shape|dtype|group|norms?$|stats$|hessian|"
    r"attr|scale|delta|prev|last_|init_|original|to_gather|decay|update|param_state|opt_state|_hooks?",
    re.IGNORECASE,
)
#: A function that only promises parameters keeps its word.
_PROMISES_PARAMETERS = lazy_pattern(r"_param(eter)?s?(_|$)", re.IGNORECASE)
#: What is put together for another engine is laid over a model that it has.
_FOR_AN_ENGINE = lazy_pattern(r"vllm|sglang|rollout|engine|sync|broadcast|infer", re.IGNORECASE)
_COPIES = frozenset({"copied", "moved", "cast", "arithmetic"})


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    for view in subject.functions():
        if not view.buffers_are_carried():
            yield from _stored_parameters(view)
        yield from _state_dict_from_shapes(view)


def _stored_parameters(view: FunctionView) -> Iterator[Problem]:
    for effect, walk, reach in view.losing_walks(
        "store",
        lambda effect: _is_saved_state(view, effect) and not _is_partial(view, effect) and not _is_moved(view, effect),
    ):
        text = (
            f"the saved state is written from the parameters of `{walk.receiver}` only, without {what_is_lost(reach)}: "
            "whoever loads it does not get the rest back"
        )
        confidence = view.confidence(walk, reach, _of_unknown_models(view))
        if _is_saved_whole(effect, walk):
            confidence = "medium"
        elif effect.guards & {"name", "membership"} or not _promises_state(view, effect):
            confidence = "low"
        yield view.problem("BUF201", confidence, walk.place, text, registered_here(reach))


def _is_saved_whole(effect: Effect, walk: Walk) -> bool:
    """Whether a state dict gets modules that adapters name to be saved whole, beside what is chosen of the others."""
    return "modules_to_save" in walk.receiver and _STRONG_CONTAINER.search(last_name(effect.target)) is not None


def _promises_state(view: FunctionView, effect: Effect) -> bool:
    """Whether the name of the function, or of what it fills, is that of a model's saved state."""
    if _PROMISES_PARAMETERS.search(view.title) or _FOR_AN_ENGINE.search(view.title):
        return False
    return bool(_SAVING.search(view.title) or _SAVED_STATE.search(last_name(effect.target)))


def _of_unknown_models(view: FunctionView) -> Confidence:
    """How likely it is that something is lost, where nothing is known of the model."""
    return "medium" if _promises_buffers(view) and not view.models_hold_no_state() else "low"


def _promises_buffers(view: FunctionView) -> bool:
    """Whether the function says that it saves buffers, or code beside it, for the same models, does save them."""
    if "buffers" in view.function.doc:
        return True
    return any(
        walk.kind in ("buffers", "state_dict")
        for sibling in view.subject.facts.functions
        if sibling.class_name == view.function.class_name
        for walk in sibling.walks
    )


def _is_saved_state(view: FunctionView, effect: Effect) -> bool:
    """Whether what is stored is a state dict, a snapshot or an export, by its container's or the function's word."""
    if "gradient" in effect.origins or "keyed" not in effect.origins or "saved" in view.kinds(effect):
        return False
    container = last_name(effect.target)
    if _OTHER_PURPOSE.search(container) or _OTHER_PURPOSE.search(view.title):
        return False
    if container in ("return", "yield"):
        return bool(_SAVING.search(view.title)) and bool(_COPIES & effect.origins)
    if _STRONG_CONTAINER.search(container):
        return True
    if container in vocabulary.SAVERS:
        return True
    if effect.target.startswith("self.") and not _SAVING.search(view.title):
        return False
    named = vocabulary.STATE_CONTAINER.search(container) or _SAVING.search(view.title)
    return bool(named) and bool(_COPIES & effect.origins) and bool(_SAVING.search(view.promise))


def _is_moved(view: FunctionView, effect: Effect) -> bool:
    """Whether the parameters get other memory here: what is stored is where they lie, not a copy of the state."""
    return any(
        other.kind == "write" and other.target == "data" and set(other.walks) & set(effect.walks)
        for other in view.function.effects
    )


def _is_partial(view: FunctionView, effect: Effect) -> bool:
    """Whether what is stored is meant to be a part of the state: trainable or adapter weights."""
    container = last_name(effect.target)
    if _is_saved_whole(effect, view.first_walk(effect, "parameters")):
        return False
    if effect.guards & PARTIAL:
        return True
    speaks_of_adapters = any(vocabulary.ADAPTER.search(word) for word in (view.promise, *view.function.words))
    return speaks_of_adapters and not _STRONG_CONTAINER.search(container)


def _state_dict_from_shapes(view: FunctionView) -> Iterator[Problem]:
    """A state dict is put together from the names of parameters that were written down, and then saved."""
    if "buffers" in view.subject.facts.words:
        return
    for effect in view.function.effects:
        if effect.kind != "store" or view.kinds(effect) != {"shapes"}:
            continue
        if not _STRONG_CONTAINER.search(last_name(effect.target)):
            continue
        walk = view.walks(effect.walks)[0]
        text = (
            f"the state dict is put together from `{walk.receiver}`, which names parameters only: "
            "every buffer of the model is missing from it"
        )
        yield view.problem("BUF201", "medium", walk.place, text)
        return
