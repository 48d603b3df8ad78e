"""The probe says what real DeepSpeed and real ranks do, and a difference between the two would be noticed.

Here are the models that bufaudit began with; all of benchmarks/families.py takes ten minutes a release:

    python -m pytest -m agreement tests/tracing/test_agreement.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from agreement import disagreements
from agreement_table import page
from families import FAMILIES, FIGURES
from probe_vs_verify import path_record

from bufaudit.outcomes import PathError, PathReport, TensorReport, verdict_of
from tests.tracing.releases import ROOT, run
from tests.tracing.test_releases import PERSISTENT, VERDICTS

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = ROOT / "benchmarks" / "probe_vs_verify.py"
RELEASES = (None, "5.5.3")


def compared(release: str | None, folder: Path, *options: str, timeout: float) -> dict[str, Any]:
    """The result of the comparison, in which the two must agree everywhere."""
    for package in ("deepspeed", "accelerate"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'bufaudit[verify]'")
    output = folder / "result.json"
    done = run(release, SCRIPT, "--output", output, *options, timeout=timeout)
    assert done.returncode == 0, "\n".join(line for line in done.stderr.splitlines() if " s  " not in line)
    result: dict[str, Any] = json.loads(output.read_text())
    assert release in (None, result["transformers"])
    return result


def of_buffers(model: dict[str, Any]) -> set[str]:
    """The verdicts of real ranks on a model's persistent buffers under ZeRO-3."""
    tensors = model["paths"]["zero3"]["tensors"].values()
    return {verdict_of(each["ranks"]) for each in tensors if each["kind"] == "persistent_buffer"}


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release or "newest")
def test_the_first_figures(release: str | None, tmp_path: Path) -> None:
    result = compared(release, tmp_path, "--family", "figures", timeout=400)
    models = {model["class"].partition(":")[2]: model for model in result["models"]}
    assert len(models) == len(FIGURES)
    assert not any(model["error"] for model in models.values())
    lost = {"dropped": "lost", "overwritten": "lost"}
    for name, verdict in VERDICTS[release].items():
        assert of_buffers(models[name]) == {lost.get(verdict, verdict)}, name
        kinds = [each["kind"] for each in models[name]["paths"]["zero3"]["tensors"].values()]
        assert kinds.count("persistent_buffer") == PERSISTENT[name]
    error = models["ResNetForImageClassification"]["paths"]["zero3"]["error"]
    assert "Fan in and fan out can not be computed" in error["message"]


@pytest.mark.agreement
@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release or "newest")
def test_every_family(release: str | None, tmp_path: Path) -> None:
    result = compared(release, tmp_path, timeout=3600)
    tried = [model for model in result["models"] if model["paths"]]
    assert len(tried) >= 90
    assert {model["family"] for model in tried} >= set(FAMILIES)


# --- what a difference looks like

KEPT = TensorReport("weight", "parameter", (2,), "float32", ("kept", "kept"))
LOST = TensorReport("mean", "persistent_buffer", (2,), "float32", ("lost", "lost"))
REAL = PathReport("zero3", (KEPT, LOST))
DROPPED = replace(LOST, ranks=("overwritten", "dropped"))
ERROR = PathError(0, "ValueError", "no fan in", None)


def test_values_do_not_tell_dropped_from_overwritten() -> None:
    assert disagreements(path_record(REAL), replace(REAL, tensors=(KEPT, DROPPED))) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"tensors": (KEPT, replace(LOST, ranks=("kept", "kept")))},
            "mean: lost lost to verify, kept kept to the probe",
        ),
        ({"tensors": (KEPT, replace(LOST, ranks=("kept", "dropped")))}, "mean: lost lost to verify, kept dropped"),
        ({"tensors": (KEPT, replace(DROPPED, partial=True))}, "mean: lost in part only to the probe"),
        ({"tensors": (KEPT, replace(DROPPED, kind="parameter"))}, "mean: persistent buffer of shape (2,) to"),
        ({"tensors": (KEPT,)}, "mean: the probe does not have it"),
        ({"tensors": (KEPT, DROPPED, replace(KEPT, name="other"))}, "other: only the probe has it"),
        ({"tensors": (KEPT, DROPPED), "error": ERROR}, "verify ends in None, the probe in ValueError"),
        ({"tensors": (KEPT, DROPPED), "untraced": "unknown"}, "the probe could not follow it: unknown"),
    ],
)
def test_a_difference_is_noticed(changes: dict[str, Any], text: str) -> None:
    (found,) = disagreements(path_record(REAL), replace(REAL, **changes))
    assert found.startswith(text)


def test_the_table_says_where_the_two_differ() -> None:
    path = path_record(REAL)
    path["probe"] = {"error": None, "verdicts": {"parameter": {"kept": 1}}, "disagreements": ["mean: …"]}
    model = {"family": "norms", "class": "package.module:Model", "error": None, "paths": {"zero3": path}}
    gone = {"family": "norms", "class": "package.module:Gone", "error": "ValueError: no size", "paths": {}}
    text = page([{"transformers": "5.0", "torch": "2.0", "world_size": 2, "models": [model, gone]}])
    assert "| 5.0 | 2.0 | 1 | 1 | 4 | 1 |" in text
    assert "| norms | Model | 1 + 1 + 0 | 1 kept, 1 lost | 1 kept | NO |" in text
    assert "Gone is left out: ValueError: no size." in text
