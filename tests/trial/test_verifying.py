"""What a trial says of models that keep, lose and raise: real processes, real `from_pretrained`, real values."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import transformers

from bufaudit.errors import BufauditError
from bufaudit.tracing.configs import ConfigRecipe, qualified
from bufaudit.tracing.targets import Request, Target, resolve
from bufaudit.trial import Trial, verify, verify_models, verifying
from bufaudit.trial.messages import NoPretrainedModelError
from trial import models

if TYPE_CHECKING:
    from bufaudit.outcomes import ModelReport, PathReport, TensorReport

LOADABLE = (
    models.Faithful,
    models.Forgetful,
    models.Wrong,
    models.Rolling,
    models.Unwritten,
    models.ManyDtypes,
    models.Ignoring,
    models.Tied,
)
FAILING = (models.NeverBuilt, models.Raising, models.Missing, models.Dying, models.Sleeping, models.Faithful)
ONLY_PLAIN = ("from_pretrained",)


def target_of(model_class: type) -> Target:
    return Target(model_class.__name__, qualified(model_class), ConfigRecipe(qualified(models.SmallConfig)))


def children() -> list[str]:
    """The processes that this one has started and that still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = entry.read_text().rpartition(") ")
        except OSError:
            continue
        if rest.split()[1] == str(os.getpid()):
            found.append(name)
    return found


@pytest.fixture(scope="module")
def loaded() -> dict[str, ModelReport]:
    result = verify_models([target_of(kind) for kind in LOADABLE], Trial(paths=ONLY_PLAIN))
    return {report.target: report for report in result.models}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelReport]:
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        result = verify_models([target_of(kind) for kind in FAILING], Trial(paths=ONLY_PLAIN, timeout=25))
    assert list(folder.iterdir()) == []
    return {report.target: report for report in result.models}


def path_of(reports: dict[str, ModelReport], kind: type) -> PathReport:
    report = reports[kind.__name__]
    assert report.error is None
    (path,) = report.paths
    return path


def tensors_of(reports: dict[str, ModelReport], kind: type) -> dict[str, TensorReport]:
    return {tensor.name: tensor for tensor in path_of(reports, kind).tensors}


def outcomes_of(reports: dict[str, ModelReport], kind: type) -> dict[str, tuple[str, ...]]:
    return {name: tensor.ranks for name, tensor in tensors_of(reports, kind).items()}


def test_a_model_that_restores_what_it_computes_loses_nothing(loaded: dict[str, ModelReport]) -> None:
    both = {"linear.weight": "kept", "linear.bias": "kept", "bound": "kept", "table": "restored"}
    assert outcomes_of(loaded, models.Faithful) == {name: (outcome, outcome) for name, outcome in both.items()}
    assert not loaded["Faithful"].lossy
    assert tensors_of(loaded, models.Faithful)["bound"].declared_at is not None


def test_a_table_that_nobody_restores_is_memory_that_nobody_wrote(loaded: dict[str, ModelReport]) -> None:
    assert outcomes_of(loaded, models.Forgetful)["table"] == ("uninitialised", "uninitialised")
    assert loaded["Forgetful"].lossy


def test_a_table_that_comes_back_different_is_lost(loaded: dict[str, ModelReport]) -> None:
    assert outcomes_of(loaded, models.Wrong)["table"] == ("lost", "lost")


def test_a_drawn_value_may_be_any(loaded: dict[str, ModelReport]) -> None:
    table = tensors_of(loaded, models.Rolling)["table"]
    assert table.ranks == ("restored", "restored")
    assert table.reason is not None


def test_what_construction_leaves_unwritten_is_told_apart(loaded: dict[str, ModelReport]) -> None:
    scratch = tensors_of(loaded, models.Unwritten)["scratch"]
    assert scratch.ranks == ("uninitialised", "uninitialised")
    assert scratch.reason == "construction itself leaves it unwritten"


def test_every_dtype_has_a_sentinel_that_comes_back(loaded: dict[str, ModelReport]) -> None:
    kept = {name for name, tensor in tensors_of(loaded, models.ManyDtypes).items() if tensor.verdict == "kept"}
    assert kept == set(tensors_of(loaded, models.ManyDtypes)) - {"table"}


def test_what_a_checkpoint_leaves_out_by_design_is_absent(loaded: dict[str, ModelReport]) -> None:
    assert outcomes_of(loaded, models.Ignoring)["derived"] == ("absent", "absent")
    assert not loaded["Ignoring"].lossy


def test_a_tied_parameter_is_kept_under_both_names(loaded: dict[str, ModelReport]) -> None:
    outcomes = outcomes_of(loaded, models.Tied)
    assert outcomes["head.weight"] == outcomes["linear.weight"] == ("kept", "kept")


@pytest.mark.slow
def test_a_model_that_ends_its_builder_costs_only_itself(failed: dict[str, ModelReport]) -> None:
    error = failed["NeverBuilt"].error
    assert error is not None and "exited with status 4" in error


@pytest.mark.slow
def test_a_load_that_raises_says_where_and_why(failed: dict[str, ModelReport]) -> None:
    path = path_of(failed, models.Raising)
    assert path.error is not None
    assert (path.error.type, path.error.message, path.error.rank) == ("ValueError", "no rank", 0)
    assert path.error.at is not None and path.error.at.startswith("trial/models.py:")
    assert {tensor.ranks for tensor in path.tensors} == {("raised", "raised")}


@pytest.mark.slow
def test_ranks_that_wait_for_one_that_raised_end_with_it(failed: dict[str, ModelReport]) -> None:
    path = path_of(failed, models.Missing)
    assert path.error is not None
    assert (path.error.rank, path.error.message) == (0, "not on rank 0")
    assert {tensor.ranks for tensor in path.tensors} == {("raised", "raised")}


@pytest.mark.slow
def test_a_rank_that_dies_leaves_its_last_words(failed: dict[str, ModelReport]) -> None:
    path = path_of(failed, models.Dying)
    assert path.error is not None and path.error.rank == 1
    assert "exited with status 3; its last line was: this is the end" in path.error.message


@pytest.mark.slow
def test_a_hang_ends_with_the_time(failed: dict[str, ModelReport]) -> None:
    path = path_of(failed, models.Sleeping)
    assert path.error is not None
    assert (path.error.rank, path.error.type) == (1, "TimeoutError")
    assert {tensor.ranks[1] for tensor in path.tensors} == {"raised"}


@pytest.mark.slow
def test_later_models_get_new_ranks_and_nothing_is_left(failed: dict[str, ModelReport]) -> None:
    assert not path_of(failed, models.Faithful).lossy
    assert children() == []


@pytest.mark.slow
def test_zero3_on_two_ranks_comes_out_as_probe_foresees(tmp_path: Path) -> None:
    """Real DeepSpeed: what the newest transformers keeps, and an initialiser that needs what a rank does not have."""
    pytest.importorskip("accelerate")
    if find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed")
    names = ("MobileNetV2ForImageClassification", "ResNetForImageClassification", "ClapTextModel")
    targets = [target for name in names for target in resolve(Request(name))]
    reports = {report.target: report for report in verify_models(targets, Trial(paths=("zero3",))).models}
    (resnet,) = reports["ResNetForImageClassification"].paths
    assert resnet.error is not None and "Fan in and fan out can not be computed" in resnet.error.message
    assert resnet.error.at is not None and resnet.error.at.startswith("transformers/models/resnet/modeling_resnet.py:")
    if not transformers.__version__.startswith("5.5."):
        assert not reports["MobileNetV2ForImageClassification"].lossy
        assert not reports["ClapTextModel"].lossy
    else:
        (mobilenet,) = reports["MobileNetV2ForImageClassification"].paths
        assert mobilenet.verdicts["persistent_buffer"] == {"lost": 156}


def test_a_checkpoint_of_the_users_is_compared_with_its_own_values(tmp_path: Path) -> None:
    model = models.Faithful(models.SmallConfig(width=4))
    torch.nn.init.constant_(model.bound, 3.25)
    model.save_pretrained(tmp_path)
    target = Target("it", qualified(models.Forgetful), ConfigRecipe(qualified(models.SmallConfig)))
    (report,) = verify_models([target], Trial(paths=ONLY_PLAIN, checkpoint=tmp_path, world_size=1)).models
    (path,) = report.paths
    outcomes = {tensor.name: (tensor.shape, tensor.ranks) for tensor in path.tensors}
    assert outcomes["bound"] == ((4,), ("kept",))
    assert outcomes["table"] == ((4,), ("uninitialised",))


def test_a_plain_module_is_refused() -> None:
    with pytest.raises(NoPretrainedModelError, match="no model of transformers"):
        verify_models([Target("torch.nn:Linear", "torch.nn:Linear", arguments={"in_features": 1})])


def test_a_name_that_stands_for_nothing_is_one_clear_error() -> None:
    with pytest.raises(BufauditError, match="there is no model type or class"):
        verify(Request("no_such_model"), Trial(paths=ONLY_PLAIN))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "find_spec", lambda name: None if name == "deepspeed" else object())
    with pytest.raises(BufauditError, match=r"needs deepspeed, .* pip install 'bufaudit\[verify\]'"):
        verify(Request("llama"), Trial(paths=("zero3",)))


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BufauditError, match=r"no config\.json beside \*\.safetensors"):
        verify(Request("llama"), Trial(paths=ONLY_PLAIN, checkpoint=tmp_path))
