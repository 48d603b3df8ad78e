"""Findings, registrations, outcomes and rules to render: plain ones, and the worst that names and source can hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from hypothesis import strategies as st

from bufaudit.catalogue import HEADINGS, Rule
from bufaudit.outcomes import (
    KINDS,
    PROBE_OUTCOMES,
    ModelReport,
    PathError,
    PathReport,
    ProbeResult,
    TensorReport,
)
from bufaudit.results import (
    CONFIDENCES,
    Finding,
    Fix,
    InventoryResult,
    Registration,
    Related,
    ScanResult,
    Severity,
)

if TYPE_CHECKING:
    from typing import Any

RULE = Rule(
    code="BUF101",
    name="params-only-load",
    family="load",
    severity="error",
    confidence="medium",
    fix="none",
    since="0.1.0",
    retired=False,
    sections={
        **dict.fromkeys(HEADINGS, "Words."),
        "What it finds": "Checkpoint values that reach parameters\nonly. Buffers | are lost.\n\nMore.",
        "Example": "```python\nfor name, param in model.named_parameters():  # expect: BUF101\n    pass\n```",
    },
)
SYNC = replace(RULE, code="BUF301", name="params-only-sync", family="sync", severity="warning", fix="safe")
RETIRED = replace(RULE, code="BUF109", name="old-rule", retired=True)
RULES = {rule.code: rule for rule in (RULE, RETIRED, SYNC)}

FINDING = Finding(
    code="BUF101",
    name="params-only-load",
    severity="error",
    confidence="high",
    path="src/model.py",
    line=12,
    column=24,
    end_line=12,
    end_column=48,
    message="checkpoint values reach parameters only; buffers keep their initial value",
    symbol="Loader.load",
    fingerprint="5d41402abc4b2a76",
    excerpt="    for name, param in model.named_parameters():",
)
RELATED = replace(FINDING, related=(Related("src/norm.py", 3, "`scale` is registered here"),))
FIXABLE = replace(
    FINDING,
    code="BUF301",
    name="params-only-sync",
    severity="warning",
    confidence="medium",
    line=7,
    end_line=9,
    end_column=6,
    fix=Fix("safe", "walk `state_dict()`"),
)
NOTICE = replace(FINDING, severity="info", confidence="low", fix=Fix("unsafe", "register a buffer"))

REGISTRATION = Registration(
    path="src/norm.py",
    line=3,
    column=9,
    module="src.norm",
    class_name="Outer.Norm",
    name="{}_inv_freq",
    persistent=False,
    value="torch.ones(\n    dim)",
    how="nn.Buffer",
)


def scan(*findings: Finding, files: int = 12, **others: Any) -> ScanResult:
    return ScanResult(findings=findings, files=files, **others)


_NASTY = "\n\r\t\x00\x1b\x7f\x85\u2028\u202e\u3000\xa0\ufffe\udc80\udcff\ud800:,%&<>[](){}\"'\\ é界e\u0301😀"
# Not `st.text`, which hardly ever draws what is rare in an alphabet.
_nasty_texts = st.lists(st.sampled_from(_NASTY), max_size=8).map("".join)
texts = _nasty_texts | st.text(st.characters(), max_size=12)
paths = texts.filter(bool)
plain_texts = st.text(max_size=12)
places = st.builds(Related, path=paths, line=st.integers(1, 10**6), message=texts)
fixes = st.builds(Fix, safety=st.sampled_from(("safe", "unsafe")), message=texts)


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    line = draw(st.integers(1, 10**6))
    column = draw(st.integers(1, 30))
    return Finding(
        code=draw(st.sampled_from(("BUF101", "BUF301", "BUF999"))),
        name=draw(st.sampled_from(("params-only-load", "params-only-sync"))),
        severity=draw(st.sampled_from(get_args(Severity))),
        confidence=draw(st.sampled_from(CONFIDENCES)),
        path=draw(paths),
        line=line,
        column=column,
        end_line=line + draw(st.integers(0, 2)),
        end_column=column + draw(st.integers(0, 9)),
        message=draw(texts),
        symbol=draw(texts),
        fingerprint=draw(st.sampled_from(("5d41402abc4b2a76", "7d793037a0760186"))),
        related=tuple(draw(st.lists(places, max_size=2))),
        fix=draw(st.none() | fixes),
        excerpt=draw(texts),
    )


scans = st.builds(
    ScanResult,
    findings=st.lists(findings(), max_size=4).map(tuple),
    files=st.integers(0, 99),
    suppressed=st.integers(0, 2),
    baselined=st.integers(0, 2),
    warnings=st.lists(texts, max_size=2).map(tuple),
)

registrations = st.builds(
    Registration,
    path=paths,
    line=st.integers(1, 999),
    column=st.integers(1, 99),
    module=texts,
    class_name=st.none() | texts,
    name=texts,
    persistent=st.booleans() | texts,
    value=texts,
    how=st.sampled_from(("register_buffer", "nn.Buffer", "setattr", "_buffers")),
    restored_by=st.none() | texts,
    inherited_from=st.none() | texts,
    condition=st.none() | texts,
)
inventories = st.builds(
    InventoryResult,
    registrations=st.lists(registrations, max_size=4).map(tuple),
    files=st.integers(0, 99),
)

BIAS = TensorReport(
    name="layers.0.gate.bias",
    kind="persistent_buffer",
    shape=(256,),
    dtype="float32",
    ranks=("kept", "dropped"),
    declared_at="package/model.py:131",
    reason="copied on rank 0 only",
)
BIASES = tuple(replace(BIAS, name=f"layers.{number}.gate.bias") for number in (0, 1, 2, 3, 5))
MEAN = TensorReport(name="norm.mean", kind="persistent_buffer", shape=(), dtype="int64", ranks=("dropped", "dropped"))
FREQUENCIES = TensorReport(
    name="rotary.inv_freq", kind="non_persistent_buffer", shape=(64,), dtype="float32", ranks=("restored", "restored")
)
WEIGHTS = tuple(
    TensorReport(
        name=f"layers.{number}.weight", kind="parameter", shape=(8, 4), dtype="bfloat16", ranks=("kept", "kept")
    )
    for number in range(6)
)
ZERO3 = PathReport("zero3", (*WEIGHTS, *BIASES, MEAN, FREQUENCIES), loader="package/loading.py:312")
RAISED = PathReport(
    "zero3",
    tuple(replace(weight, ranks=("raised", "raised")) for weight in WEIGHTS),
    error=PathError(1, "ValueError", "no fan in", "torch/nn/init.py:345"),
)
PLAIN = PathReport("from_pretrained", (*WEIGHTS, FREQUENCIES))
MODEL = ModelReport("tiny", "TinyModel", "5.5.3", "2.13.0", 2, (ZERO3, PLAIN))


def probe(*models: ModelReport, **others: Any) -> ProbeResult:
    return ProbeResult(models, **others)


#: Names that fold, names that look like folded ones, and nasty ones.
tensor_names = st.lists(
    st.sampled_from(("layers", "0", "1", "2", "10", "01", "{}", "{0…1}", "{{0}", "{", "w")) | texts,
    min_size=1,
    max_size=4,
).map(".".join)


def _tensors(world_size: int) -> st.SearchStrategy[TensorReport]:
    outcomes = st.lists(st.sampled_from(PROBE_OUTCOMES), min_size=world_size, max_size=world_size)
    return st.builds(
        TensorReport,
        name=tensor_names,
        kind=st.sampled_from(KINDS),
        shape=st.lists(st.integers(0, 9), max_size=2).map(tuple),
        dtype=st.sampled_from(("float32", "bool")),
        ranks=outcomes.map(tuple),
        partial=st.booleans(),
        declared_at=st.none() | st.just("package/model.py:131"),
        reason=st.none() | texts,
    )


def _paths(world_size: int) -> st.SearchStrategy[PathReport]:
    tensors = st.lists(_tensors(world_size), max_size=8, unique_by=lambda tensor: tensor.name)
    return st.builds(
        PathReport,
        path=st.sampled_from(("zero3", "from_pretrained", "params-only")) | texts.filter(bool),
        tensors=tensors.map(tuple),
        error=st.none() | st.builds(PathError, st.integers(0, world_size - 1), texts, texts, st.none() | texts),
        untraced=st.none() | texts,
        loader=st.none() | texts,
    )


def _models(world_size: int) -> st.SearchStrategy[ModelReport]:
    return st.builds(
        ModelReport,
        target=texts,
        class_name=st.none() | texts,
        transformers=st.none() | st.just("5.5.3"),
        torch=st.just("2.13.0"),
        world_size=st.just(world_size),
        paths=st.lists(_paths(world_size), max_size=3, unique_by=lambda path: path.path).map(tuple),
        error=st.none() | texts,
        notes=st.lists(texts, max_size=1).map(tuple),
    )


models = st.integers(1, 3).flatmap(_models)
probes = st.builds(ProbeResult, models=st.lists(models, max_size=2).map(tuple))
