"""`json`: the versioned form of `probe` and `verify`, for programs. It is plain ASCII; keys are only ever added.

It stands on one line, since a large model has tens of thousands of tensors.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bufaudit.baseline.losses import exception_loss, tensor_loss
from bufaudit.report.escapes import encodable

if TYPE_CHECKING:
    from collections.abc import Sequence, Set
    from typing import Any

    from bufaudit.baseline.losses import Loss
    from bufaudit.outcomes import ModelReport, PathReport, TensorReport


def render(models: Sequence[ModelReport], *, known: Set[Loss]) -> str:
    """All models with all of their tensors as one object; `known` losses are marked."""
    return json.dumps({"version": 1, "models": [model_record(model, known) for model in models]}) + "\n"


def model_record(model: ModelReport, known: Set[Loss]) -> dict[str, Any]:
    """A model as JSON objects, in text that can be encoded."""
    return {
        "target": encodable(model.target),
        "class": _text(model.class_name),
        "transformers": _text(model.transformers),
        "torch": encodable(model.torch),
        "world_size": model.world_size,
        "error": _text(model.error),
        "paths": {encodable(path.path): _path_record(model, path, known) for path in model.paths},
        "notes": list(map(encodable, model.notes)),
    }


def _path_record(model: ModelReport, path: PathReport, known: Set[Loss]) -> dict[str, Any]:
    return {
        "error": _error_record(model, path, known),
        "verdicts": path.verdicts,
        "tensors": [_tensor_record(tensor, tensor_loss(model, path, tensor) in known) for tensor in path.tensors],
        "untraced": _text(path.untraced),
        "loader": _text(path.loader),
    }


def _error_record(model: ModelReport, path: PathReport, known: Set[Loss]) -> dict[str, Any] | None:
    error = path.error
    if error is None:
        return None
    return {
        "rank": error.rank,
        "type": encodable(error.type),
        "message": encodable(error.message),
        "at": _text(error.at),
        "known": exception_loss(model, path) in known,
    }


def _tensor_record(tensor: TensorReport, known: bool) -> dict[str, Any]:
    return {
        "name": encodable(tensor.name),
        "kind": tensor.kind,
        "shape": list(tensor.shape),
        "dtype": encodable(tensor.dtype),
        "verdict": tensor.verdict,
        "ranks": list(tensor.ranks),
        "partial": tensor.partial,
        "declared_at": _text(tensor.declared_at),
        "reason": _text(tensor.reason),
        "known": known,
    }


def _text(text: str | None) -> str | None:
    return None if text is None else encodable(text)
