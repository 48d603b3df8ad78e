"""What the ZeRO-3 load of each supported release of transformers does to the models that bufaudit began with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from families import FIGURES

from tests.tracing.releases import OLDER, run

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
RELEASES = (None, *OLDER)


def traced(release: str | None, requests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the probe says in a release, by target and path."""
    done = run(release, CHILD, json.dumps(requests))
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert release in (None, result["transformers"])
    return {request["target"]: found for request, found in zip(requests, result["answers"], strict=True)}


@pytest.fixture(scope="module", params=RELEASES, ids=lambda release: release or "newest")
def release(request: pytest.FixtureRequest) -> str | None:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def figures(release: str | None) -> dict[str, dict[str, Any]]:
    return traced(release, REQUESTS)


@pytest.mark.slow
@pytest.mark.parametrize("target", PERSISTENT)
def test_zero3(figures: dict[str, dict[str, Any]], release: str | None, target: str) -> None:
    path = figures[target]["zero3"]
    assert (path["error"], path["untraced"]) == (None, None)
    assert path["verdicts"]["persistent_buffer"] == {VERDICTS[release][target]: PERSISTENT[target]}
    assert set(path["verdicts"]["parameter"]) == {"kept"}
    assert set(path["verdicts"]["non_persistent_buffer"]) <= {"restored"}


@pytest.mark.slow
def test_a_lost_buffer_of_apertus_is_there_on_rank_0(figures: dict[str, dict[str, Any]], release: str | None) -> None:
    ranks = {tuple(each["ranks"]) for each in figures["ApertusModel"]["zero3"]["tensors"] if "act_fn" in each["name"]}
    lost = {("kept", "kept"), ("kept", "dropped")}
    assert ranks == (lost if release else {("kept", "kept")})


@pytest.mark.slow
def test_initialising_a_resnet_raises_outside_of_a_gather(
    figures: dict[str, dict[str, Any]], release: str | None
) -> None:
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
@pytest.mark.parametrize(
    ("mark", "ranks"),
    [("", ("overwritten", "dropped")), (_MARK, ("kept", "dropped"))],
    ids=["unmarked", "marked"],
)
def test_a_copy_on_rank_0_alone_is_never_kept(mark: str, ranks: tuple[str, str]) -> None:
    """The first repair of 5.5.3's loader."""
    change = [_LAST, _GUARDED_COPY.format(mark=mark) + _LAST]
    found = traced("5.5.3", [{"target": "MobileNetV2Model", "paths": ["zero3"], "change": change}])
    path = found["MobileNetV2Model"]["zero3"]
    assert (path["error"], path["untraced"]) == (None, None)
    buffers = [each for each in path["tensors"] if each["kind"] == "persistent_buffer"]
    assert {tuple(each["ranks"]) for each in buffers} == {ranks}
