"""The default output of probe and verify: what is lost by name, where and why; what is kept in numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given

from bufaudit.baseline.losses import apply_losses, losses_of
from bufaudit.grouping import grouped
from bufaudit.outcomes import ModelReport, PathReport, ProbeResult
from bufaudit.report import render_probe
from bufaudit.report.escapes import printable

from .samples import BIAS, BIASES, MEAN, MODEL, PLAIN, RAISED, WEIGHTS, ZERO3, probe, probes

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def _text(result: ProbeResult, *, width: int = 100, color: bool = False, baseline: ProbeResult | None = None) -> str:
    known = frozenset() if baseline is None else apply_losses(losses_of(baseline), result).known
    return render_probe(result, "text", known=known, color=color, width=width).decode()


def _on(*paths: PathReport, baseline: ProbeResult | None = None) -> str:
    return _text(probe(replace(MODEL, paths=paths)), baseline=baseline)


def test_a_whole_report() -> None:
    assert _text(probe(MODEL)) == (
        """\
TinyModel (tiny) on 2 ranks, transformers 5.5.3, torch 2.13.0

zero3
  parameters              6 kept
  persistent buffers      1 dropped, 5 diverged
  non-persistent buffers  1 restored

diverged layers.{0…3,5}.gate.bias
  --> package/model.py:131
   = 5 persistent buffers of float32, shape (256); kept on rank 0, dropped on rank 1
   = copied on rank 0 only
   = note: package/loading.py:312: the loader

dropped norm.mean
   = 1 persistent buffer of int64, shape (); dropped on ranks 0…1
   = note: package/loading.py:312: the loader

from_pretrained
  parameters              6 kept
  non-persistent buffers  1 restored

Found 6 lost tensors (1 dropped, 5 diverged), on zero3.
"""
    )


def test_a_clean_report() -> None:
    assert _on(PLAIN).splitlines()[-1] == "No losses on from_pretrained, in 1 model."


def test_an_exception_is_shown_once_and_not_for_each_tensor() -> None:
    lines = _on(RAISED).splitlines()
    assert lines[2:] == [
        "zero3",
        "  parameters  6 raised",
        "",
        "raised ValueError: no fan in",
        "  --> torch/nn/init.py:345",
        "   = the path ends here, on rank 1",
        "",
        "Found 1 path that ends in an exception, on zero3.",
    ]


def test_what_was_lost_before_an_exception_is_still_named() -> None:
    text = _on(replace(RAISED, tensors=(*RAISED.tensors, MEAN)))
    assert "\ndropped norm.mean\n" in text
    assert text.endswith("Found 1 lost tensor (1 dropped) and 1 path that ends in an exception, on zero3.\n")


def test_a_path_that_could_not_be_followed_never_reads_as_clean() -> None:
    reason = "transformers 9 loads in another way"
    tensors = tuple(replace(weight, ranks=("untraced", "untraced"), reason=reason) for weight in WEIGHTS)
    path = PathReport("zero3", tensors, untraced=reason)
    assert _on(path).splitlines()[2:] == [
        "zero3",
        "  parameters  6 untraced",
        "  untraced: transformers 9 loads in another way",
        "",
        "No path could be followed.",
    ]
    assert _on(path, PLAIN).splitlines()[-2:] == [
        "No losses on from_pretrained, in 1 model.",
        "1 path could not be followed: zero3.",
    ]


def test_untraced_tensors_are_named_with_the_reason() -> None:
    untraced = replace(BIAS, ranks=("untraced", "kept"), reason="written by a kernel of its own")
    text = _on(replace(ZERO3, tensors=(untraced,)))
    assert "untraced layers.0.gate.bias\n" in text
    assert "   = written by a kernel of its own\n" in text
    assert text.splitlines()[-2:] == ["No losses on zero3, in 1 model.", "1 tensor could not be followed."]


def test_the_reference_loader_does_not_count() -> None:
    text = _on(replace(ZERO3, path="params-only"), PLAIN)
    assert "params-only (a reference loader, whose losses do not count)\n" in text
    assert "dropped norm.mean" in text
    assert text.splitlines()[-2:] == [
        "No losses on from_pretrained, in 1 model.",
        "Not counted: 6 lost on params-only.",
    ]
    assert "No losses that count.\n" in _on(replace(ZERO3, path="params-only"))


def test_known_losses_are_only_counted() -> None:
    before = probe(replace(MODEL, paths=(replace(ZERO3, tensors=BIASES),)))
    text = _on(ZERO3, baseline=before)
    assert "gate.bias" not in text
    assert text.splitlines()[-2:] == ["Found 1 lost tensor (1 dropped), on zero3.", "Not shown: 5 in the baseline."]
    everything = probe(replace(MODEL, paths=(RAISED,)))
    assert "on rank 1; the baseline knows of it\n" in _on(RAISED, baseline=everything)
    assert _on(RAISED, baseline=everything).splitlines()[-2:] == [
        "No losses but known ones on zero3, in 1 model.",
        "Not shown: 1 in the baseline.",
    ]


def test_a_model_that_cannot_be_built_says_why() -> None:
    model = ModelReport("tiny", None, None, "2.13.0", 1, error="there is no default for hidden_size")
    assert _text(probe(model)).splitlines() == [
        "tiny on 1 rank, torch 2.13.0",
        "  not built: there is no default for hidden_size",
        "",
        "No path could be followed.",
        "1 model could not be built.",
    ]


def test_notes_and_partial_writes_are_said() -> None:
    partial = replace(MEAN, partial=True)
    model = replace(MODEL, paths=(replace(ZERO3, tensors=(partial,)),), notes=("norm.mean escaped the meta device",))
    text = _text(probe(model))
    assert "\n  note: norm.mean escaped the meta device\n" in text
    assert "   = partial: the right value reaches a part of it only\n" in text


def test_shapes_do_not_split_a_group() -> None:
    """The layers of a convolutional network all have a width of their own."""
    text = _on(replace(ZERO3, tensors=tuple(replace(bias, shape=(8 << n,)) for n, bias in enumerate(BIASES))))
    assert "   = 5 persistent buffers of float32, 5 shapes from (8) to (128); " in text


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        (("dropped",), "dropped on rank 0"),
        (("dropped",) * 8, "dropped on ranks 0…7"),
        (("kept", *("dropped",) * 7), "kept on rank 0, dropped on ranks 1…7"),
        (("dropped", "kept", "dropped"), "dropped on ranks 0,2, kept on rank 1"),
    ],
)
def test_ranks_in_words(ranks: tuple[str, ...], words: str) -> None:
    assert f"shape (256); {words}\n" in _on(replace(ZERO3, tensors=(replace(BIAS, ranks=ranks),)))


def test_color_adds_only_ansi_codes() -> None:
    result = probe(MODEL, replace(MODEL, paths=(RAISED, PathReport("x", (), untraced="long words " * 20))))
    colored = _text(result, color=True, width=60)
    assert colored != _text(result, width=60)
    assert _ANSI.sub("", colored) == _text(result, width=60)


def test_losses_that_do_not_count_are_painted_otherwise() -> None:
    one, other = (_text(probe(replace(MODEL, paths=(replace(ZERO3, path=path),))), color=True).partition("dropped\x1b")
                  for path in ("zero3", "params-only"))  # fmt: skip
    assert one[0][-7:] != other[0][-7:]


def test_the_narrowest_terminal_still_gets_a_report() -> None:
    assert _text(probe(MODEL), width=1) == _text(probe(MODEL), width=40)


@given(probes)
def test_every_group_of_lost_tensors_has_its_whole_name(result: ProbeResult) -> None:
    lines = set(_text(result, width=40).splitlines())
    for model in result.models:
        for path in model.paths:
            lost = [t for t in path.tensors if t.lost and not (path.error and t.verdict == "raised")]
            for group in grouped(lost, by_shape=False):
                assert f"{group.sample.verdict} {printable(str(group.pattern))}" in lines


@given(probes)
def test_color_never_changes_the_text(result: ProbeResult) -> None:
    assert _ANSI.sub("", _text(result, color=True, width=60)) == _text(result, width=60)


def test_thousands_of_kept_tensors_take_a_line() -> None:
    many = tuple(replace(WEIGHTS[0], name=f"layers.{number}.weight") for number in range(5000))
    assert len(_on(replace(PLAIN, tensors=many)).splitlines()) < 8
