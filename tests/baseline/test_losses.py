"""A known loss stays known by its name; whatever else gets lost is new."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from bufaudit.baseline.file import BaselineError
from bufaudit.baseline.losses import (
    KnownLosses,
    Loss,
    apply_losses,
    exception_loss,
    losses_of,
    read_losses,
    tensor_loss,
    write_losses,
)
from tests.report.samples import BIASES, MEAN, MODEL, PLAIN, RAISED, WEIGHTS, ZERO3, probe, probes

if TYPE_CHECKING:
    from pathlib import Path

    from bufaudit.outcomes import ModelReport, PathReport, ProbeResult, TensorReport

ENTRY = (
    '{"class": "A", "path": "zero3", "kind": "persistent_buffer", "pattern": "layers.{0…3}.b", "verdict": "dropped"}'
)


def on(path: PathReport, **changes: object) -> ProbeResult:
    """The sample model on one path."""
    model: ModelReport = replace(MODEL, paths=(path,), **changes)  # type: ignore[arg-type]
    return probe(model)


def zero3(*tensors: TensorReport) -> ProbeResult:
    """The sample model with these tensors."""
    return on(replace(ZERO3, tensors=tensors))


def new(known: KnownLosses, result: ProbeResult) -> list[str]:
    """The names of new losses."""
    return [loss.name for loss in apply_losses(known, result).new]


class TestApply:
    """What is known and what is new."""

    @given(probes)
    def test_what_a_baseline_was_made_of_is_known(self, result: ProbeResult) -> None:
        applied = apply_losses(losses_of(result), result)
        assert (applied.new, applied.stale) == ((), ())

    @given(probes)
    def test_without_a_baseline_all_is_new(self, result: ProbeResult) -> None:
        applied = apply_losses(KnownLosses(), result)
        assert bool(applied.new) == any(model.lossy for model in result.models)
        assert not applied.known

    def test_lost_tensors_are_told_apart_from_kept_ones(self) -> None:
        applied = apply_losses(losses_of(zero3(*BIASES)), probe(MODEL))
        assert applied.known == {tensor_loss(MODEL, ZERO3, tensor) for tensor in BIASES}
        assert applied.new == (tensor_loss(MODEL, ZERO3, MEAN),)

    def test_one_more_layer_is_new_though_its_pattern_is_known(self) -> None:
        assert new(losses_of(zero3(*BIASES[:3])), zero3(*BIASES)) == ["layers.3.gate.bias", "layers.5.gate.bias"]

    @pytest.mark.parametrize(
        "change", [{"ranks": ("dropped", "dropped")}, {"kind": "parameter"}, {"name": "layers.7.gate.bias"}]
    )
    def test_other_verdict_kind_or_name_is_new(self, change: dict[str, object]) -> None:
        changed = replace(BIASES[0], **change)  # type: ignore[arg-type]
        assert new(losses_of(zero3(BIASES[0])), zero3(changed)) == [changed.name]

    @pytest.mark.parametrize("change", [{"class_name": "Other"}, {"class_name": None, "target": "other"}])
    def test_other_class_is_new(self, change: dict[str, object]) -> None:
        assert new(losses_of(on(ZERO3)), on(ZERO3, **change)) != []

    def test_other_path_is_new(self) -> None:
        assert new(losses_of(on(ZERO3)), on(replace(ZERO3, path="from_pretrained"))) != []

    def test_shape_reason_and_number_of_ranks_may_change(self) -> None:
        changed = replace(MEAN, shape=(9,), dtype="bool", ranks=("dropped",) * 4, reason="x", declared_at="a.py:9")
        assert new(losses_of(zero3(MEAN)), zero3(changed)) == []

    def test_exception_stands_for_the_tensors_that_it_takes_with_it(self) -> None:
        known = losses_of(on(RAISED))
        (entry,) = known.losses
        assert (entry.kind, str(entry.pattern), entry.verdict) == ("exception", "ValueError", "raised")
        assert new(known, on(replace(RAISED, tensors=()))) == []
        assert RAISED.error is not None
        other = replace(RAISED, error=replace(RAISED.error, type="KeyError"))
        assert apply_losses(known, on(other)).new == (exception_loss(MODEL, other),)

    def test_tensor_that_raises_without_an_exception_of_the_path_is_a_loss(self) -> None:
        assert len(new(KnownLosses(), on(replace(RAISED, error=None)))) == len(WEIGHTS)

    def test_the_reference_loader_has_no_losses_that_count(self) -> None:
        assert losses_of(on(replace(ZERO3, path="params-only"))) == KnownLosses()


class TestStale:
    """An entry that knows more than there is would hide what comes next."""

    def test_sentence_says_what_is_known_and_found(self) -> None:
        known = losses_of(zero3(*BIASES, MEAN))
        assert apply_losses(known, zero3(*BIASES[:2])).stale == (
            "TinyModel on zero3: layers.{0…3,5}.gate.bias diverged: 5 known, 2 found; "
            "write the baseline again so that it hides nothing new",
            "TinyModel on zero3: norm.mean dropped: 1 known, 0 found; "
            "write the baseline again so that it hides nothing new",
        )

    def test_nothing_is_said_of_what_the_run_did_not_follow(self) -> None:
        known = losses_of(on(ZERO3))
        for result in (
            probe(),
            on(PLAIN),
            on(ZERO3, class_name="Other"),
            on(replace(ZERO3, tensors=(), untraced="an unknown release")),
        ):
            assert apply_losses(known, result).stale == ()

    def test_sentence_is_one_printable_line(self) -> None:
        known = losses_of(zero3(replace(MEAN, name="a\nb\x1b.c")))
        (sentence,) = apply_losses(known, zero3()).stale
        assert sentence.isprintable()


class TestFile:
    """A baseline lives in version control, among people who read and merge."""

    def test_text_has_a_readable_line_for_each_entry_in_a_stable_order(self, tmp_path: Path) -> None:
        path = tmp_path / "known.json"
        write_losses(path, losses_of(probe(replace(MODEL, class_name="B"), replace(MODEL, paths=(RAISED,)))))
        assert path.read_text("utf-8") == (
            "{\n"
            '  "version": 1,\n'
            '  "losses": [\n'
            '    {"class": "B", "path": "zero3", "kind": "persistent_buffer", '
            '"pattern": "layers.{0…3,5}.gate.bias", "verdict": "diverged"},\n'
            '    {"class": "B", "path": "zero3", "kind": "persistent_buffer", '
            '"pattern": "norm.mean", "verdict": "dropped"},\n'
            '    {"class": "TinyModel", "path": "zero3", "kind": "exception", '
            '"pattern": "ValueError", "verdict": "raised"}\n'
            "  ]\n"
            "}\n"
        )

    def test_order_of_the_run_does_not_matter(self) -> None:
        assert losses_of(zero3(*BIASES, MEAN)) == losses_of(zero3(MEAN, *reversed(BIASES)))

    @given(probes)
    def test_what_is_written_is_read(self, tmp_path_factory: pytest.TempPathFactory, result: ProbeResult) -> None:
        path = tmp_path_factory.getbasetemp() / "losses.json"
        write_losses(path, losses_of(result))
        assert read_losses(path) == losses_of(result)

    def test_empty_baseline_is_a_file_too(self, tmp_path: Path) -> None:
        path = tmp_path / "known.json"
        write_losses(path, KnownLosses())
        assert json.loads(path.read_bytes()) == {"version": 1, "losses": []}
        assert read_losses(path) == KnownLosses()

    def test_file_of_known_findings_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "known.json"
        path.write_text('{"version": 1, "findings": []}')
        with pytest.raises(BaselineError, match="must have just a version and a list of losses"):
            read_losses(path)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ('"A"', "3", "class of loss 1 must be text"),
            ('"class"', '"classes"', "loss 1 must have just class, path, kind, pattern, verdict"),
            ("persistent_buffer", "buffer", "kind of loss 1 must be one of parameter, persistent_buffer, "),
            ("dropped", "kept", "verdict of loss 1 must be one of diverged, dropped, "),
            ("{0…3}", "{0-3}", "pattern of loss 1: {0-3} is no run of numbers"),
            (ENTRY, f"{ENTRY}, {ENTRY}", "A on zero3: layers.{0…3}.b dropped is there twice"),
            (ENTRY, f"{ENTRY}, []", "loss 2 must have just"),
        ],
    )
    def test_wrong_entry(self, tmp_path: Path, old: str, new: str, message: str) -> None:
        path = tmp_path / "known.json"
        text = f'{{"version": 1, "losses": [{ENTRY}]}}'
        path.write_text(text, "utf-8")
        assert len(read_losses(path).losses) == 1
        path.write_text(text.replace(old, new), "utf-8")
        with pytest.raises(BaselineError) as caught:
            read_losses(path)
        assert message in str(caught.value)

    def test_loss_of_a_class_without_a_name_is_known_by_its_target(self) -> None:
        model = replace(MODEL, class_name=None)
        assert tensor_loss(model, ZERO3, MEAN) == Loss("tiny", "zero3", "persistent_buffer", "norm.mean", "dropped")
