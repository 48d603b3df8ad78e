"""The words that tell state from what only sounds like it."""

from __future__ import annotations

import pytest

from bufaudit.source import vocabulary


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (vocabulary.NO_MODULE, ["optimizer", "self.lr_scheduler", "inspect"], ["model", "self.net", "ema"]),
        (
            vocabulary.CHECKPOINT_NAME,
            ["state_dict", "sd", "ckpt", "self.checkpoint", "weights_map", "pretrained_dict"],
            ["model", "estate", "weight", "sdk"],
        ),
        (vocabulary.CHECKPOINT_READERS, ["torch.load", "load_file", "f.get_tensor"], ["load", "payload"]),
        (vocabulary.ADAPTER, ["lora_A", "use_peft", "my_adapter"], ["exploration", "adapt", "flora"]),
        (vocabulary.RANK_NAME, ["rank", "self.local_rank", "dist.get_rank"], ["frank", "ranking"]),
        (vocabulary.RANK_FLAG, ["is_main_process", "is_rank_0", "is_master"], ["main", "domain"]),
        (vocabulary.SHARDED, ["DTensor", "ds_id", "is_sharded"], ["Tensor", "ids_id", "shard"]),
        (vocabulary.AVERAGERS, ["polyak_update", "soft_update", "self.update_target", "fedavg"], ["update", "target"]),
        (vocabulary.ENGINE_SYNC, ["engine.load_weights", "update_weights_from_x", "ray.remote"], ["load", "remotely"]),
        (vocabulary.SHAPES_NAME, ["param_shapes", "self.param_shapes"], ["shapes", "param_shapes_of"]),
    ],
)  # fmt: skip
def test_pattern(pattern: object, yes: list[str], no: list[str]) -> None:
    found = [word for word in (*yes, *no) if pattern.search(word)]  # type: ignore[attr-defined]
    assert found == [word for word in found if word in yes]
    assert found == yes


def test_statistics_and_buffers_are_spoken_of() -> None:
    assert vocabulary.speaks_of_statistics("update_BN_stats_running_mean")
    assert not vocabulary.speaks_of_statistics("mean")
    assert vocabulary.speaks_of_buffers("named_Buffers")
    assert vocabulary.speaks_of_buffers("num_batches_tracked")
    assert not vocabulary.speaks_of_buffers("buff")


def test_named_walks_are_walks() -> None:
    assert vocabulary.WALKS.keys() >= vocabulary.NAMED_WALKS
