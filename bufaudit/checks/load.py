"""Checkpoint values on their way into a module: BUF101, BUF102, BUF104, BUF105."""

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
    from bufaudit.source.facts import Call, Effect, Place, Walk

_INITIALISER_NAME = lazy_pattern(r"init_weights|reset_parameters|_init_")
_OPTIMIZER = lazy_pattern(
    r"optim|sched|scaler|sampler|loader|tokenizer|processor|ema\b|rng|metric|callback", re.IGNORECASE
)
_WHOLE_LOAD = lazy_pattern(
    r"consolidat|zero_checkpoint|full_(model|state|checkpoint|weights)|entire|complete|whole|exact", re.IGNORECASE
)
_READ_FROM_FILE = lazy_pattern(r"load|state_dict|checkpoint|ckpt|read", re.IGNORECASE)
_PARTIAL_LOAD = lazy_pattern(
    r"partial|pre-?trained|backbone|encoder|(?<![a-z])lora|adapter|peft|skip|ignor|mismatch|missing|unexpected|head|"
    r"vision|tower|projector|finetun|fine-tun|transfer|subset|prefix|shape|compatib|optional|strict|filter|teacher|"
    r"student|extra|delta|quant|legacy",
    re.IGNORECASE,
)
_WRITER = lazy_pattern(r"load|copy|set|assign|update|write|replace", re.IGNORECASE)
_NO_WRITER = lazy_pattern(r"attrs?$|offset|settings|dataset|subset|reset|upload|offload")
_LOADING_STATE = lazy_pattern(r"(?<!off)(?<!un)load|restor|resum|missing|checkpoint|ckpt|import", re.IGNORECASE)
_MISSING = lazy_pattern(r"missing|not_(loaded|found|in)|un(loaded|matched|initiali[sz]ed)|absent", re.IGNORECASE)
#: Loaders of what has no buffers, and of models whose every name is known to who wrote them.
_OF_A_PART = lazy_pattern(
    r"expert|embed|(^|_)(head|layer|block)|convert|(text|vision|audio)_model|projection|quant_?state", re.IGNORECASE
)
_CONVERTED = lazy_pattern(r"^(hf|our|new|converted)_")
_SETTER = lazy_pattern(r"set_\w*(tensor|param|attr|module|weight)|assign|replace_\w*(tensor|param)|register_parameter")
_LOADING = lazy_pattern(r"(?<!off)(?<!un)load|restor|resum|recover", re.IGNORECASE)
_PROMISES_PARAMETERS = lazy_pattern(r"(^|_)param", re.IGNORECASE)
_SAVING = lazy_pattern(r"save|state_dict|checkpoint|ckpt|snapshot|export|backup", re.IGNORECASE)
_SHARING = lazy_pattern(r"broadcast|scatter|sync", re.IGNORECASE)


def check(subject: Subject) -> Iterator[Problem]:
    """All problems of this family in one file."""
    for view in subject.functions():
        yield from _params_only_load(view)
        yield from _gathered_parameters_only(view)
        yield from _missing_keys_of_parameters(view)
        yield from _every_entry_sharded(view)
        yield from _one_rank_write(view)
        yield from _one_rank_load_state_dict(view)
        yield from _discarded_result(view)
        yield from _wrapped_in_parameter(view)


def _params_only_load(view: FunctionView) -> Iterator[Problem]:
    """A walk over parameters into which checkpoint entries go, by writing or by a lookup under their names."""
    if view.buffers_are_carried() or vocabulary.ADAPTER.search(view.title):
        return
    reported: set[str] = set()
    for effect in view.effects("write", "pass", on="parameters"):
        if _is_put_aside(view, effect) or "saved" not in view.source_kinds(effect) or effect.guards & PARTIAL:
            continue
        walk = view.first_walk(effect, "parameters")
        if "parameters" in {other.kind for other in view.walks(set(effect.sources) - set(effect.walks))}:
            continue  # a model's own tensors are no checkpoint, whatever they are weighed with
        if view.loads_state_of(walk) or (effect.kind == "pass" and not _writes_argument(effect, walk)):
            continue
        looked_up = _looked_up(view, effect)
        reach = view.reach(walk)
        if reach.none:
            continue
        if looked_up:
            text = (
                f"checkpoint entries are looked up among the parameters of `{walk.receiver}` only, "
                f"never among its buffers: the checkpoint cannot restore {what_is_lost(reach)}"
            )
        else:
            text = (
                f"checkpoint values are copied into the parameters of `{walk.receiver}` only, "
                f"never into {what_is_lost(reach)}: what is left out keeps the value that it has"
            )
        doubtful = _is_doubtful(view, effect, walk, looked_up=looked_up)
        confidence = "low" if doubtful else view.confidence(walk, reach, _of_unknown_models(view, walk))
        if walk.receiver not in reported:
            yield view.problem("BUF101", confidence, walk.place, text, registered_here(reach))
        if confidence != "low":
            reported.add(walk.receiver)  # what else the function does is for models that are asked in another way


def _of_unknown_models(view: FunctionView, walk: Walk) -> Confidence:
    """How likely it is that a model of which nothing is known has state besides parameters."""
    return "medium" if view.is_given(walk) and view.models_may_hold_state() else "low"


def _is_doubtful(view: FunctionView, effect: Effect, walk: Walk, *, looked_up: bool) -> bool:
    """Whether what is loaded may be meant to be a part of the state, or none, or be completed elsewhere."""
    if (
        not _LOADING.search(view.title)
        or _PROMISES_PARAMETERS.search(view.title)
        or _knows_names(view, walk)
        or "name" in effect.guards
    ):
        return True
    if "arithmetic" in effect.origins or _speaks_of_adapters(view) or _handed_on(view, effect) or _saves_a_part(view):
        return True
    # A model that loads itself knows its checkpoint: its parts with buffers are often loaded by other code.
    return looked_up and (walk.receiver.partition(".")[0] == "self" or _is_method_of_module(view))


def _saves_a_part(view: FunctionView) -> bool:
    """Whether the code beside it that saves chooses among the parameters: the checkpoint is no model's whole state."""
    return any(
        effect.guards & PARTIAL
        for sibling in view.subject.functions()
        if sibling.function.class_name == view.function.class_name and _SAVING.search(sibling.title)
        for effect in sibling.effects("store", on="parameters")
    )


def _speaks_of_adapters(view: FunctionView) -> bool:
    return any(vocabulary.ADAPTER.search(word) for word in view.function.words)


def _handed_on(view: FunctionView, effect: Effect) -> bool:
    """Whether the mapping of parameters is given to other code, which may put buffers into it."""
    return any(
        other is not effect and "whole" in other.origins and set(other.walks) & set(effect.walks)
        for other in view.effects("pass", on="parameters")
    )


def _is_put_aside(view: FunctionView, effect: Effect) -> bool:
    """Whether the values are a model's own, which another method took away, and their buffers never left."""
    kept = {walk.receiver for walk in view.walks(effect.sources) if walk.receiver.startswith("self.")}
    return bool(kept) and any(
        stored.target.removesuffix("[]") in kept
        for sibling in view.subject.functions()
        if sibling.function.class_name == view.function.class_name
        for stored in sibling.effects("store", on="parameters")
    )


def _is_method_of_module(view: FunctionView) -> bool:
    found = view.subject.project.find_class(view.subject.path, view.function.class_name or "")
    return found is not None and any(
        base.startswith(("torch.nn.", "nn.")) for base in view.subject.project.foreign_bases(found)
    )


def _knows_names(view: FunctionView, walk: Walk) -> bool:
    """Whether the function is for a part, or converts the checkpoint of one known model."""
    return _OF_A_PART.search(view.function.name) is not None or _CONVERTED.search(walk.receiver) is not None


def _writes_argument(effect: Effect, walk: Walk) -> bool:
    """Whether a call that gets a parameter and a checkpoint entry is one that puts the second into the first."""
    name = last_name(effect.target)
    if "whole" in effect.origins and not _lies_in(walk.place, effect.place):
        return False
    return bool(_WRITER.search(name)) and not _NO_WRITER.search(name)


def _lies_in(inner: Place, outer: Place) -> bool:
    starts_after = (outer.line, outer.column) <= (inner.line, inner.column)
    return starts_after and (inner.end_line, inner.end_column) <= (outer.end_line, outer.end_column)


def _looked_up(view: FunctionView, effect: Effect) -> bool:
    return any(other.kind == "lookup" and set(other.walks) & set(effect.walks) for other in view.function.effects)


def _gathered_parameters_only(view: FunctionView) -> Iterator[Problem]:
    """Parameters are found in the checkpoint, gathered and taken off the missing keys; buffers are not."""
    if view.buffers_are_carried() or _speaks_of_adapters(view):
        return
    for effect in view.effects("settle", "mark", on="parameters"):
        marks_loaded = effect.kind == "settle" or ("initialized" in effect.target and "membership" in effect.guards)
        if not marks_loaded or not _loads_saved(view):
            continue
        if effect.kind == "settle" and "missing" not in effect.target:
            continue
        walk = view.first_walk(effect, "parameters")
        reach = view.reach(walk)
        if reach.none:
            continue
        text = (
            f"only the parameters of `{walk.receiver}` are looked for in the checkpoint, never {what_is_lost(reach)}: "
            "what is left out stays missing and keeps its initial value"
        )
        yield view.problem("BUF101", "high", walk.place, text, registered_here(reach))
        return


def _loads_saved(view: FunctionView) -> bool:
    """Whether the function loads a checkpoint, and does not only trim what a load found missing."""
    return any(walk.kind == "saved" for walk in view.function.walks) and (
        any(last_name(call.callee) in ("_load_from_state_dict", "load_state_dict") for call in view.function.calls)
        or any("saved" in view.source_kinds(effect) for effect in view.function.effects if effect.kind == "write")
    )


def _missing_keys_of_parameters(view: FunctionView) -> Iterator[Problem]:
    if view.buffers_are_carried():
        return
    for effect in view.effects("missing", on="parameters"):
        if effect.guards & PARTIAL or not _computes_missing(view, effect):
            continue
        walk = view.first_walk(effect, "parameters")
        reach = view.reach(walk)
        if reach.none or any(other.kind == "state_dict" for other in view.function.walks):
            continue
        text = (
            f"missing keys are computed from the parameters of `{walk.receiver}` only: "
            f"a checkpoint without {what_is_lost(reach)} passes for complete"
        )
        # What is found missing is often only told, and told wrongly of buffers that no checkpoint is to have.
        yield view.problem("BUF101", "low", walk.place, text, registered_here(reach))


def _computes_missing(view: FunctionView, effect: Effect) -> bool:
    return bool(_MISSING.search(effect.target)) and bool(_LOADING_STATE.search(view.title))


def _taken_for_shards(view: FunctionView) -> Iterator[Effect]:
    """Where a state dict's entry is asked, unguarded, for what only a sharded parameter has, in order to be spread."""
    distributes = any(
        effect.kind == "pass" and last_name(effect.target) in ("distribute_tensor", "broadcast", "scatter")
        for effect in view.function.effects
    )
    for effect in view.function.effects if distributes else ():
        if effect.kind != "attribute" or effect.target not in ("device_mesh", "placements"):
            continue
        if "state_dict" in view.kinds(effect) and not effect.guards & {"sharded", "parameter", "buffer"}:
            yield effect


def _every_entry_sharded(view: FunctionView) -> Iterator[Problem]:
    """Every entry of a state dict is taken for a sharded parameter: a plain buffer raises."""
    seen = set()
    for effect in _taken_for_shards(view):
        if effect.walks in seen:
            continue
        seen.add(effect.walks)
        walk = view.first_walk(effect, "state_dict")
        text = (
            f"every entry of `{walk.receiver}.state_dict()` is taken for a sharded parameter: "
            f"a persistent buffer is a plain tensor without `{effect.target}`, and the load raises"
        )
        sure: Confidence = "medium" if view.models_may_hold_state() else "low"
        yield view.problem("BUF101", sure, effect.place, text)


def _shares_among_ranks(view: FunctionView) -> bool:
    """Whether the function sends anything from rank to rank, or the file wraps models in something that does."""
    if any(last_name(call.callee) in vocabulary.COLLECTIVES for call in view.function.calls):
        return True
    return bool((view.subject.facts.words | view.function.words) & (vocabulary.RANK_SYNC - {"deepspeed"}))


def _one_rank_write(view: FunctionView) -> Iterator[Problem]:
    if _shares_among_ranks(view):
        return
    for effect in view.function.effects:
        if "rank" not in effect.guards or effect.kind not in ("write", "assign"):
            continue
        kinds = view.kinds(effect)
        into_buffers = "buffers" in kinds or ("state_dict" in kinds and "saved" in view.source_kinds(effect))
        if into_buffers and "checkpoint" in effect.origins:
            walk = view.walks(effect.walks)[0]
            text = (
                f"the buffers of `{walk.receiver}` are written on one rank only and never broadcast: "
                "every other rank keeps their initial values"
            )
            yield view.problem("BUF102", "high", effect.place, text)


def _one_rank_load_state_dict(view: FunctionView) -> Iterator[Problem]:
    if _shares_among_ranks(view) or "deepspeed" in view.function.words:
        return
    if any(effect.kind == "pass" and _SHARING.search(effect.target) for effect in view.function.effects):
        return
    for call in view.function.calls:
        if "rank" not in call.guards or last_name(call.callee) != "load_state_dict" or _OPTIMIZER.search(call.callee):
            continue
        if "rank" in call.receiver_guards:
            continue
        receiver = call.callee.removesuffix(".load_state_dict")
        waits = any(last_name(other.callee) in vocabulary.BARRIERS for other in view.function.calls)
        text = f"`{receiver}` is loaded on one rank only and never broadcast: every other rank keeps its initial values"
        yield view.problem("BUF102", "medium" if waits else "low", call.place, text)


def _discarded_result(view: FunctionView) -> Iterator[Problem]:
    for call in view.function.calls:
        if last_name(call.callee) != "load_state_dict" or call.used or not _is_lenient(call):
            continue
        receiver = call.callee.removesuffix(".load_state_dict")
        if _OPTIMIZER.search(receiver):
            continue
        around = f"{view.promise} {receiver} {call.origin} {' '.join(call.arguments)}"
        promises = _WHOLE_LOAD.search(view.title) is not None
        if _is_filtered(view, call) or "adapter" in call.guards or vocabulary.ADAPTER.search(around):
            continue
        partial = _PARTIAL_LOAD.search(around) is not None or not _READ_FROM_FILE.search(call.origin)
        text = (
            f"`{receiver}.load_state_dict(strict=False)` throws its result away: "
            "a checkpoint that misses entries, or whose names do not match, loads without a word"
        )
        yield view.problem("BUF104", "medium" if promises and not partial else "low", call.place, text)


def _is_lenient(call: Call) -> bool:
    return ("strict", "False") in call.keywords or (len(call.arguments) > 1 and call.arguments[1] == "False")


def _is_filtered(view: FunctionView, call: Call) -> bool:
    """Whether the loaded dict was built from chosen entries."""
    text = call.origin
    if " for " in text and " if " in text:
        return True
    name = call.arguments[0] if call.arguments else ""
    return any(
        effect.kind == "store" and effect.target == name and effect.guards & {"name", "membership", "adapter"}
        for effect in view.function.effects
    )


def _wrapped_in_parameter(view: FunctionView) -> Iterator[Problem]:
    if view.buffers_are_carried() or _INITIALISER_NAME.search(view.title) or any(_taken_for_shards(view)):
        return
    for effect in view.function.effects:
        if effect.kind not in ("assign", "pass", "store") or not {"parameter", "checkpoint", "keyed"} <= effect.origins:
            continue
        if effect.kind == "pass" and not _SETTER.search(effect.target):
            continue
        if effect.kind == "store" and not _is_assigned(view, effect):
            continue
        if effect.guards & {"buffer", "parameter", "membership", "name", "adapter"}:
            continue
        saved: tuple[Walk, ...] = tuple(w for w in view.walks(effect.walks) if w.kind in ("saved", "state_dict"))
        if not saved or {"parameters"} & view.kinds(effect):
            continue
        source = saved[0].receiver if saved[0].kind == "saved" else f"{saved[0].receiver}.state_dict()"
        text = (
            f"every entry of `{source}` becomes an nn.Parameter: buffers turn into parameters, which "
            "optimizers update and `.buffers()` does not yield"
        )
        sure: Confidence = "medium" if view.models_may_hold_state() else "low"
        yield view.problem("BUF105", sure, effect.place, text)


def _is_assigned(view: FunctionView, effect: Effect) -> bool:
    """Whether a dict that is filled here replaces a module's tensors: `load_state_dict(…, assign=True)`."""
    return any(
        last_name(call.callee) == "load_state_dict"
        and ("assign", "True") in call.keywords
        and effect.target in call.arguments
        for call in view.function.calls
    )
