"""Where a probe and a real load say different things of a tensor.

A path of a real load is a record as `probe_vs_verify.py` writes it, a path of the probe a `PathReport`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bufaudit.outcomes import PathReport, TensorReport

#: What values alone cannot tell apart.
_IN_VALUES = {"dropped": "lost", "overwritten": "lost"}


def in_values(outcomes: Iterable[str]) -> tuple[str, ...]:
    """The probe's outcomes as somebody sees them who has only the values."""
    return tuple(_IN_VALUES.get(outcome, outcome) for outcome in outcomes)


def disagreements(seen: Mapping[str, Any], traced: PathReport) -> list[str]:
    """A sentence for each difference between a real load and its probe: the end of the path, then its tensors."""
    return [*_of_ends(seen["error"], traced), *_of_tensors(seen["tensors"], traced.tensors)]


def _of_ends(seen: Mapping[str, Any] | None, traced: PathReport) -> Iterator[str]:
    if traced.untraced is not None:
        yield f"the probe could not follow it: {traced.untraced}"
    real = None if seen is None else seen["type"]
    found = None if traced.error is None else traced.error.type
    if real != found:
        yield f"verify ends in {real}, the probe in {found}"


def _of_tensors(seen: Mapping[str, Any], traced: Iterable[TensorReport]) -> Iterator[str]:
    found = {tensor.name: tensor for tensor in traced}
    for name in found.keys() - seen.keys():
        yield f"{name}: only the probe has it"
    for name, real in seen.items():
        tensor = found.get(name)
        if tensor is None:
            yield f"{name}: the probe does not have it"
        elif (real["kind"], list(real["shape"])) != (tensor.kind, list(tensor.shape)):
            yield f"{name}: {_what(**real)} to verify, {_what(tensor.kind, tensor.shape)} to the probe"
        elif tuple(real["ranks"]) != in_values(tensor.ranks):
            yield f"{name}: {' '.join(real['ranks'])} to verify, {' '.join(tensor.ranks)} to the probe"
        elif "lost" in real["ranks"] and real["partial"] != tensor.partial:
            yield f"{name}: lost in part only {'to verify' if real['partial'] else 'to the probe'}"


def _what(kind: str, shape: Iterable[int], **_: Any) -> str:
    return f"{kind.replace('_', ' ')} of shape {tuple(shape)}"
