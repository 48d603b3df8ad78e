"""Programs read these keys: they may grow, never change."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
from hypothesis import given

from bufaudit.baseline.losses import apply_losses, losses_of
from bufaudit.outcomes import KINDS, LOSSES, PROBE_OUTCOMES, VERIFY_OUTCOMES, ProbeResult, VerifyResult
from bufaudit.report import render_probe, render_verify

from .samples import BIASES, MEAN, MODEL, RAISED, ZERO3, probe, probes


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False
    }  # fmt: skip


_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_VERDICT = {"enum": sorted({*PROBE_OUTCOMES, *VERIFY_OUTCOMES, *LOSSES})}
_TENSOR = _object(
    name=_TEXT,
    kind={"enum": list(KINDS)},
    shape={"type": "array", "items": _COUNT},
    dtype=_TEXT,
    verdict=_VERDICT,
    ranks={"type": "array", "items": _VERDICT, "minItems": 1},
    partial={"type": "boolean"},
    declared_at=_TEXT_OR_NULL,
    reason=_TEXT_OR_NULL,
    known={"type": "boolean"},
)
_ERROR = _object(rank=_COUNT, type=_TEXT, message=_TEXT, at=_TEXT_OR_NULL, known={"type": "boolean"})
_COUNTS = {"type": "object", "propertyNames": _VERDICT, "additionalProperties": {"type": "integer", "minimum": 1}}
_PATH = _object(
    error={"anyOf": [{"type": "null"}, _ERROR]},
    verdicts=_object(**dict.fromkeys(KINDS, _COUNTS)),
    tensors={"type": "array", "items": _TENSOR},
    untraced=_TEXT_OR_NULL,
    loader=_TEXT_OR_NULL,
)
_MODEL = _object(
    **{"target": _TEXT, "class": _TEXT_OR_NULL},
    transformers=_TEXT_OR_NULL,
    torch=_TEXT,
    world_size={"type": "integer", "minimum": 1},
    error=_TEXT_OR_NULL,
    paths={"type": "object", "additionalProperties": _PATH},
    notes={"type": "array", "items": _TEXT},
)
SCHEMA = _object(version={"const": 1}, models={"type": "array", "items": _MODEL})


def _document(result: ProbeResult, **others: Any) -> Any:
    return json.loads(render_probe(result, "json", **others))


def test_the_whole_document() -> None:
    path = replace(ZERO3, tensors=(BIASES[0], MEAN))
    assert _document(probe(replace(MODEL, paths=(path,), notes=("a note",)))) == {
        "version": 1,
        "models": [
            {
                "target": "tiny",
                "class": "TinyModel",
                "transformers": "5.5.3",
                "torch": "2.13.0",
                "world_size": 2,
                "error": None,
                "paths": {
                    "zero3": {
                        "error": None,
                        "verdicts": {
                            "parameter": {},
                            "persistent_buffer": {"diverged": 1, "dropped": 1},
                            "non_persistent_buffer": {},
                        },
                        "tensors": [
                            {
                                "name": "layers.0.gate.bias",
                                "kind": "persistent_buffer",
                                "shape": [256],
                                "dtype": "float32",
                                "verdict": "diverged",
                                "ranks": ["kept", "dropped"],
                                "partial": False,
                                "declared_at": "package/model.py:131",
                                "reason": "copied on rank 0 only",
                                "known": False,
                            },
                            {
                                "name": "norm.mean",
                                "kind": "persistent_buffer",
                                "shape": [],
                                "dtype": "int64",
                                "verdict": "dropped",
                                "ranks": ["dropped", "dropped"],
                                "partial": False,
                                "declared_at": None,
                                "reason": None,
                                "known": False,
                            },
                        ],
                        "untraced": None,
                        "loader": "package/loading.py:312",
                    }
                },
                "notes": ["a note"],
            }
        ],
    }


def test_an_exception() -> None:
    (path,) = _document(probe(replace(MODEL, paths=(RAISED,))))["models"][0]["paths"].values()
    assert path["error"] == {
        "rank": 1,
        "type": "ValueError",
        "message": "no fan in",
        "at": "torch/nn/init.py:345",
        "known": False,
    }


def test_known_losses_are_marked() -> None:
    result = probe(replace(MODEL, paths=(replace(RAISED, tensors=(*BIASES, MEAN)),)))
    before = probe(replace(MODEL, paths=(replace(RAISED, tensors=BIASES),)))
    known = apply_losses(losses_of(before), result).known
    path = _document(result, known=known)["models"][0]["paths"]["zero3"]
    assert path["error"]["known"]
    assert {tensor["name"] for tensor in path["tensors"] if tensor["known"]} == {tensor.name for tensor in BIASES}


@given(probes)
def test_any_result_has_the_form_of_the_schema(result: ProbeResult) -> None:
    jsonschema.validate(_document(result), SCHEMA)


@given(probes)
def test_counts_are_those_of_the_tensors(result: ProbeResult) -> None:
    for model in _document(result)["models"]:
        for path in model["paths"].values():
            assert sum(sum(counts.values()) for counts in path["verdicts"].values()) == len(path["tensors"])


def test_verify_has_the_same_form_with_outcomes_of_its_own() -> None:
    lost = replace(MEAN, ranks=("kept", "lost"))
    path = replace(ZERO3, tensors=(lost, replace(lost, name="other", ranks=("lost", "lost"))))
    document = json.loads(render_verify(VerifyResult((replace(MODEL, paths=(path,)),)), "json"))
    jsonschema.validate(document, SCHEMA)
    verdicts = [tensor["verdict"] for tensor in document["models"][0]["paths"]["zero3"]["tensors"]]
    assert verdicts == ["diverged", "lost"]
