"""What follows when memory is let go of: the questions of BUF403 and BUF404."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern
from bufaudit.source import vocabulary
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bufaudit.checks.context import Subject
    from bufaudit.source.facts import DropFact, Step

#: Calls that give buffers a value, or initialise a module, which its own initialisers do for buffers too.
_RESTORING = lazy_pattern(
    r"init_(weight|state|param)|initiali[sz]e|^_?(re)?init(_|$)|reset|restor|rebuild|recompute|refresh|recreate|(^|_)(fix|repair)|"
    r"rope|rotary|freqs|sinusoid|post_init|(setup|build|set|make|precompute|update|fill)_\w*(cache|mask|table)|^apply$|"
    r"sync_module_states|broadcast_model"
)
_NO_MODULE = lazy_pattern(r"(^|\.)(cuda|xpu|npu|logger|logging|log|dist|distributed|optimizer|optim|tokenizer|mpu)\.")
#: Attributes of a module that are set for other reasons than to make a part of it anew.
_NO_TENSOR = lazy_pattern(r"(\w*config|_\w+|hf_\w+|device\w*|dtype|training|name\w*|tokenizer|weight|bias|is_\w+)\b")


def knows_of_buffers(subject: Subject, steps: Iterable[Step]) -> bool:
    """Whether one of some steps walks or handles buffers, or calls a function of the file that does."""
    walkers = {view.title for view in subject.functions() if view.buffers_are_carried()}
    return any(
        vocabulary.WALKS.get(name) == "buffers" or vocabulary.handles_buffers(name) or name in walkers
        for name in (last_name(step.callee) for step in steps)
    ) or any(step.callee == "=" and "_buffers[" in step.text for step in steps)


def brings_back_buffers(subject: Subject, drop: DropFact) -> bool:
    """Whether anything after a drop may give the buffers of its module a value again."""
    return knows_of_buffers(subject, drop.after) or any(restores(step, drop) for step in drop.after)


def restores(step: Step, drop: DropFact) -> bool:
    """Whether a step may give buffers of a dropped module a value, or initialise it."""
    if step.callee == "=":
        part = step.text.removeprefix(f"{drop.module}.")
        return part != step.text and not _NO_TENSOR.match(part)
    return _RESTORING.search(last_name(step.callee)) is not None and not _NO_MODULE.search(step.callee)
