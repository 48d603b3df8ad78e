"""What the ZeRO-3 load of each supported release of transformers does to the models that bufaudit began with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from families import FIGURES

from tests.tracing.releases import OLDER, folder_of, run

if TYPE_CHECKING:
    from tests.conftest import MakeOnce

CHILD = Path(__file__).with_name("trace_in_child.py")
#: Small enough that building the checkpoint takes no time.
SMALLER = {
    "DeepseekV3Model": {"n_routed_experts": 4, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 2},
    "ApertusModel": {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2},
}
REQUESTS = [
    {"target": target, "settings": {**settings, **SMALLER.get(target, {})}, "paths": ["zero3", "from_pretrained"]}
    for target, settings in ((name.partition(":")[2], settings) for name, settings in FIGURES.items())
]
PERSISTENT = {"MobileNetV2Model": 156, "LevitModel": 78, "DeepseekV3Model": 2, "ClapTextModel": 2, "ApertusModel": 4}
#: Under ZeRO-3, what is kept, or how it is lost.
VERDICTS: dict[str | None, dict[str, str]] = {
    None: dict.fromkeys(PERSISTENT, "kept"),
    # Read on rank 0 beside the parameters of the same module, then initialised again: it was not marked.
    "5.5.3": {
        **dict.fromkeys(("MobileNetV2Model", "LevitModel", "DeepseekV3Model"), "overwritten"),
        "ClapTextModel": "dropped",
        "ApertusModel": "diverged",
    },
    # Nothing was initialised again then.
    "4.57.6": {**dict.fromkeys(PERSISTENT, "diverged"), "ClapTextModel": "dropped"},
}


def traced(release: str, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the probe says in a release: for each request, its paths by name."""
    done = run(release, CHILD, json.dumps(requests))
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["transformers"] == release
    return result["answers"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=OLDER)
def release(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def figures(release: str, make_once: MakeOnce) -> dict[str, dict[str, Any]]:
    folder_of(release)

    def fill(folder: Path) -> None:
        (folder / "figures.json").write_text(json.dumps(traced(release, REQUESTS)))

    found = make_once(f"figures-{release}", fill) / "figures.json"
    answers = json.loads(found.read_text())
    return {request["target"]: answer for request, answer in zip(REQUESTS, answers, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("target", PERSISTENT)
def test_zero3(figures: dict[str, dict[str, Any]], release: str, target: str) -> None:
    path = figures[target]["zero3"]
    assert (path["error"], path["untraced"]) == (None, None)
    assert path["verdicts"]["persistent_buffer"] == {VERDICTS[release][target]: PERSISTENT[target]}
    assert set(path["verdicts"]["parameter"]) == {"kept"}
    assert set(path["verdicts"]["non_persistent_buffer"]) <= {"restored"}


@pytest.mark.slow
def test_a_lost_buffer_of_apertus_is_there_on_rank_0(figures: dict[str, dict[str, Any]], release: str) -> None:
    ranks = {tuple(each["ranks"]) for each in figures["ApertusModel"]["zero3"]["tensors"] if "act_fn" in each["name"]}
    lost = {("kept", "kept"), ("kept", "dropped")}
    assert ranks == lost


@pytest.mark.slow
def test_initialising_a_resnet_raises_outside_of_a_gather(figures: dict[str, dict[str, Any]], release: str) -> None:
    """Since 5; before that, a module whose parameters are loaded is not initialised."""
    path = figures["ResNetForImageClassification"]["zero3"]
    error = path["error"]
    if release == "4.57.6":
        assert error is None
        assert path["verdicts"]["persistent_buffer"] == {"diverged": 159}
    else:
        assert "Fan in and fan out can not be computed" in error["message"]
        assert error["at"].startswith("transformers/models/resnet/modeling_resnet.py:")


@pytest.mark.slow
@pytest.mark.parametrize("target", [*PERSISTENT, "ResNetForImageClassification"])
def test_from_pretrained_keeps_everything(figures: dict[str, dict[str, Any]], target: str) -> None:
    path = figures[target]["from_pretrained"]
    assert (path["error"], path["untraced"]) == (None, None)
    verdicts = path["verdicts"]
    assert set(verdicts["parameter"]) == set(verdicts["persistent_buffer"]) == {"kept"}
    assert set(verdicts["non_persistent_buffer"]) <= {"restored"}


#: The end of what a module's load does in 5.5.3, and what a first repair added there.
_LAST = """\
        for name, child in module._modules.items():
"""
_GUARDED_COPY = """\
            for name, buffer in module.named_buffers(recurse=False):
                if prefix + name in state_dict:
                    missing_keys.discard(prefix + name)
                    if torch.distributed.get_rank() == 0:
                        buffer.data.copy_(state_dict[prefix + name]){mark}
"""
_MARK = "\n                    buffer._is_hf_initialized = True"


@pytest.mark.slow
def test_a_copy_on_rank_0_alone_is_never_kept() -> None:
    """The first repair of 5.5.3's loader, without the mark that keeps its copies from the initialiser, and with it."""
    expected = {"": ("overwritten", "dropped"), _MARK: ("kept", "dropped")}
    levit = {"target": "LevitModel", "settings": FIGURES["levit.modeling_levit:LevitModel"], "paths": ["zero3"]}
    changes = [[_LAST, _GUARDED_COPY.format(mark=mark) + _LAST] for mark in expected]
    answers = traced("5.5.3", [{**levit, "change": change} for change in changes])
    for answer, ranks in zip(answers, expected.values(), strict=True):
        path = answer["zero3"]
        assert (path["error"], path["untraced"]) == (None, None)
        buffers = [each for each in path["tensors"] if each["kind"] == "persistent_buffer"]
        assert {tuple(each["ranks"]) for each in buffers} == {ranks}
