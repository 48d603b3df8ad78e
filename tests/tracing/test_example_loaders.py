"""The loaders of examples/leaky_model: what the probe says of them is what really happens to values."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from bufaudit.outcomes import LOSSES  # noqa: E402
from bufaudit.tracing.paths import of_function  # noqa: E402
from bufaudit.tracing.targets import Target  # noqa: E402
from bufaudit.tracing.trace import trace_model  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.outcomes import PathReport
    from bufaudit.tracing.paths import LoadPath

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "leaky_model"
#: Of the model's persistent buffers; its parameters are always kept.
EXPECTED = {
    "load_checkpoint": "dropped",
    "load_checkpoint_with_buffers": "kept",
    "load_weights": "dropped",
    "load_weights_and_buffers": "kept",
    "load_on_ranks": "diverged",
    "load_on_ranks_and_broadcast": "kept",
    "from_pretrained": "overwritten",
    "from_pretrained_with_buffers": "kept",
    "assign_weights": "kept",
    "assign_weights_by_kind": "kept",
    "materialise": "kept",
    "materialise_and_initialise": "kept",
}
#: Runs each loader on values, on real processes where it is for several, and prints all that was lost, by its name.
REALLY_LOST = """\
import json, tempfile
from pathlib import Path
import show_losses
reference = show_losses.trained_model()
trials = [*show_losses.try_loading(reference), *show_losses.try_materialising(reference)]
with tempfile.TemporaryDirectory() as folder:
    trials += show_losses.try_ranks(Path(folder))
print(json.dumps({trial.function: trial.lost for trial in trials}))
"""


@pytest.fixture(scope="module")
def loading() -> Iterator[Any]:
    """The example's module of loaders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        from leaky_model import loading

        yield loading
    for name in [name for name in sys.modules if name.partition(".")[0] == "leaky_model"]:
        del sys.modules[name]


def as_path(loading: Any, name: str) -> str | LoadPath:
    """A function of the example by its name, or what makes a loader `(model, state_dict)` of it."""
    function = getattr(loading, name)
    if name.startswith("load_weights"):
        return of_function(lambda model, state_dict: function(model, state_dict.items()))
    if name.startswith(("from_pretrained", "materialise")):
        return of_function(lambda model, state_dict: function(model.config, state_dict))
    return f"leaky_model.loading:{name}"


def traced(loading: Any, name: str) -> PathReport:
    from leaky_model import ModelConfig

    target = Target("it", "leaky_model:VisionLanguageModel", arguments={"config": ModelConfig()})
    report = trace_model(target, [as_path(loading, name)])
    assert report.error is None
    (path,) = report.paths
    assert (path.error, path.untraced) == (None, None)
    return path


@pytest.fixture(scope="module")
def paths(loading: Any) -> dict[str, PathReport]:
    return {name: traced(loading, name) for name in EXPECTED}


def test_every_loader_is_looked_at(loading: Any) -> None:
    """One that is added to the example is added here."""
    helpers = {"rows_of_rank"}
    own = {name for name, value in vars(loading).items() if getattr(value, "__module__", None) == loading.__name__}
    assert own - helpers == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_verdicts(paths: dict[str, PathReport], name: str) -> None:
    verdicts = paths[name].verdicts
    of_tables = "uninitialised" if name == "materialise" else "restored"
    assert set(verdicts["parameter"]) == {"kept"}
    assert set(verdicts["persistent_buffer"]) == {EXPECTED[name]}
    assert set(verdicts["non_persistent_buffer"]) == {of_tables}


def test_what_only_rank_0_reads_is_lost_on_the_others(paths: dict[str, PathReport]) -> None:
    buffers = [tensor for tensor in paths["load_on_ranks"].tensors if tensor.kind == "persistent_buffer"]
    assert {tensor.ranks for tensor in buffers} == {("kept", "dropped")}


def test_a_buffer_that_becomes_a_parameter_is_kept_and_said(paths: dict[str, PathReport]) -> None:
    reasons = {
        name: {tensor.reason for tensor in paths[name].tensors if tensor.kind == "persistent_buffer"} for name in paths
    }
    assert reasons["assign_weights"] == {"the load makes it a parameter"}
    assert reasons["assign_weights_by_kind"] == {None}


@pytest.mark.slow
def test_the_verdicts_are_what_happens_to_values(paths: dict[str, PathReport]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REALLY_LOST], cwd=EXAMPLE, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    really = json.loads(done.stdout.splitlines()[-1])
    # Not a loss of values: the buffers have become parameters.
    really["assign_weights"] = [name for name in really["assign_weights"] if "(no longer a buffer)" not in name]
    for name, path in paths.items():
        assert {tensor.name for tensor in path.tensors if tensor.verdict in LOSSES} == set(really[name]), name
