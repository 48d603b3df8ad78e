"""Run each leaky function or module and its correct twin on the little model, and print which state was lost.

Needs torch, runs on a CPU in about ten seconds: `python show_losses.py`. The exit status is 1 should a leaky
function lose nothing or a twin lose something. Moves between devices (BUF401) are tried only where there is a
CUDA device.
"""

from __future__ import annotations

import copy
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import SGD

from leaky_model import (
    ModelConfig,
    VisionLanguageModel,
    adapters,
    ema,
    loading,
    offload,
    precision,
    saving,
    training,
    weight_sync,
)

CONFIG = ModelConfig()
WORLD_SIZE = 2
#: An entry that only checkpoints of the first release have; loaders leave it out.
OLD_ENTRY = ("model.rotary.full_attention_inv_freq", torch.zeros(CONFIG.head_dim // 2))
#: The functions and classes that must lose something; every other one must keep all.
LEAKY = frozenset(
    {
        "load_checkpoint",
        "load_weights",
        "load_on_ranks",
        "from_pretrained",
        "assign_weights",
        "restore_full_state",
        "export_weights",
        "take_snapshot",
        "sync_to_engine",
        "broadcast_model",
        "update_ema",
        "update_target_network",
        "load_to_device",
        "cast_for_rollout",
        "materialise",
        "RandomFeatures",
        "Standardizer",
    }
)


@dataclass(frozen=True, slots=True)
class Trial:
    """What one function lost: names of state, out of `total` tensors that it was meant to carry."""

    code: str
    function: str
    leaky: bool
    lost: list[str]
    total: int


def fresh_model(seed: int) -> VisionLanguageModel:
    """A model as it is before anything is loaded."""
    torch.manual_seed(seed)
    return VisionLanguageModel(CONFIG)


def trained_model() -> VisionLanguageModel:
    """A model after some training: no persistent buffer has its initial value any more."""
    model = fresh_model(seed=0)
    images, tokens = torch.randn(4, 3, 16, 16), torch.randint(CONFIG.vocab_size, (4, 12))
    for _ in range(3):
        model(images, tokens)
    for layer in model.layers:
        layer.moe.router.rebalance(torch.randint(100, (CONFIG.num_experts,)))
    projector = model.vision_tower.projector
    projector.input_min.fill_(-4.0)
    projector.input_max.fill_(4.0)
    return model.eval()


def clone_state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def lost_state(model: nn.Module, reference: nn.Module) -> list[str]:
    """State that does not have the reference's value, or is no longer the kind of state that it is there."""
    state, buffers = model.state_dict(), dict(model.named_buffers())
    lost = [name for name, value in reference.state_dict().items() if not torch.equal(state[name], value)]
    lost += [f"{name} (no longer a buffer)" for name, _ in reference.named_buffers() if name not in buffers]
    lost += [
        name for name, value in reference.named_buffers() if name not in state and not torch.equal(buffers[name], value)
    ]
    return lost


def rounded_buffers(model: nn.Module, reference: nn.Module) -> list[str]:
    """Buffers that are no longer exactly those of the reference."""
    buffers = dict(model.named_buffers())
    return [name for name, value in reference.named_buffers() if not torch.equal(buffers[name].to(value.dtype), value)]


def total_state(model: nn.Module) -> int:
    """How many parameters and buffers a model has."""
    return len(list(model.parameters())) + len(list(model.buffers()))


def left_behind(model: nn.Module, device: torch.device) -> list[str]:
    """State that is not on `device`."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [name for name, tensor in tensors if tensor.device.type != device.type]


def trial(code: str, function: Callable[..., object], lost: list[str], total: int) -> Trial:
    return Trial(code, function.__name__, function.__name__ in LEAKY, lost, total)


def try_loading(reference: VisionLanguageModel) -> Iterator[Trial]:
    total = len(reference.state_dict())
    for load in (loading.load_checkpoint, loading.load_checkpoint_with_buffers):
        model = fresh_model(seed=1)
        load(model, clone_state(reference))
        yield trial("BUF101", load, lost_state(model, reference), total)
    for load in (loading.load_weights, loading.load_weights_and_buffers):
        model = fresh_model(seed=1)
        entries = [(f"model.{name}", tensor) for name, tensor in clone_state(reference).items()]
        load(model, [*entries, OLD_ENTRY])
        yield trial("BUF101", load, lost_state(model, reference), total)
    for build in (loading.from_pretrained, loading.from_pretrained_with_buffers):
        model = build(CONFIG, clone_state(reference))
        yield trial("BUF103", build, lost_state(model, reference), total)
    for assign in (loading.assign_weights, loading.assign_weights_by_kind):
        model = fresh_model(seed=1)
        assign(model, clone_state(reference))
        yield trial("BUF105", assign, lost_state(model, reference), total)


def try_resuming(reference: VisionLanguageModel, folder: Path) -> Iterator[Trial]:
    path = folder / "run.pt"
    training.save_training_state(nn.DataParallel(reference), SGD(reference.parameters(), lr=0.1), 1000, path)
    for resume in (training.restore_full_state, training.restore_full_state_strictly):
        model = fresh_model(seed=1)
        resume(model, SGD(model.parameters(), lr=0.1), path)
        yield trial("BUF104", resume, lost_state(model, reference), len(reference.state_dict()))


def try_saving(reference: VisionLanguageModel, folder: Path) -> Iterator[Trial]:
    total = len(reference.state_dict())
    for export in (saving.export_weights, saving.export_state):
        path = folder / f"{export.__name__}.pt"
        export(reference, path)
        written = torch.load(path, weights_only=True)
        yield trial("BUF201", export, [name for name in reference.state_dict() if name not in written], total)
    for take in (saving.take_snapshot, saving.take_full_snapshot):
        model = copy.deepcopy(reference)
        snapshot = take(model)
        model.train()(torch.randn(4, 3, 16, 16), torch.randint(CONFIG.vocab_size, (4, 12)))
        saving.restore_snapshot(model, snapshot)
        yield trial("BUF201", take, lost_state(model, reference), total)


def try_averaging(reference: VisionLanguageModel) -> Iterator[Trial]:
    """With a step of full length, the averaged model must end as the trained one."""
    total = len(reference.state_dict())
    for update in (ema.update_ema, ema.update_ema_with_buffers):
        model = fresh_model(seed=1)
        update(model, reference, decay=0.0)
        yield trial("BUF302", update, lost_state(model, reference), total)
    for follow in (ema.update_target_network, ema.update_target_network_with_buffers):
        model = fresh_model(seed=1)
        follow(model, reference, tau=1.0)
        yield trial("BUF302", follow, lost_state(model, reference), total)


def try_syncing(reference: VisionLanguageModel) -> Iterator[Trial]:
    for sync in (weight_sync.sync_to_engine, weight_sync.sync_state_to_engine):
        engine = weight_sync.LocalEngine(fresh_model(seed=1))
        sync(reference, engine)
        yield trial("BUF301", sync, lost_state(engine.model, reference), len(reference.state_dict()))


def try_moving(reference: VisionLanguageModel) -> Iterator[Trial]:
    device = torch.device("cuda")
    for move in (offload.load_to_device, offload.load_to_device_with_buffers):
        model = copy.deepcopy(reference)
        move(model, device)
        yield trial("BUF401", move, left_behind(model, device), total_state(reference))


def try_casting(reference: VisionLanguageModel) -> Iterator[Trial]:
    trainer = precision.RolloutTrainer
    for cast in (trainer.cast_for_rollout, trainer.cast_parameters_for_rollout):
        model = copy.deepcopy(reference)
        cast(trainer(model, SGD(model.parameters(), lr=0.1)))
        yield trial("BUF402", cast, rounded_buffers(model, reference), len(list(reference.buffers())))


def try_materialising(reference: VisionLanguageModel) -> Iterator[Trial]:
    """Memory that nobody wrote holds whatever it holds; here torch fills it with NaN, or the largest integer."""
    torch.use_deterministic_algorithms(True)
    for load in (loading.materialise, loading.materialise_and_initialise):
        model = load(CONFIG, clone_state(reference))
        yield trial("BUF403", load, lost_state(model, reference), total_state(reference))
    torch.use_deterministic_algorithms(False)


def try_reloading() -> Iterator[Trial]:
    """A module of one run, saved and loaded into a module of the next."""
    inputs = torch.randn(8, CONFIG.hidden_size)
    for features in (adapters.RandomFeatures, adapters.SavedRandomFeatures):
        saved, loaded = features(CONFIG.hidden_size, 16), features(CONFIG.hidden_size, 16)
        loaded.load_state_dict(saved.state_dict())
        lost = [] if torch.equal(saved(inputs), loaded(inputs)) else ["directions"]
        yield trial("BUF502", features, lost, 1)
    for build in (adapters.Standardizer, adapters.LoadableStandardizer):
        arguments = (CONFIG.hidden_size,) if build is adapters.LoadableStandardizer else ()
        saved, loaded = build(*arguments), build(*arguments)
        saved.fit(inputs + 1.0)
        unexpected = loaded.load_state_dict(saved.state_dict(), strict=False).unexpected_keys
        yield trial("BUF503", build, unexpected, 1)


def run_rank(rank: int, port: int, folder: str) -> None:
    """One of the ranks: rank 0 broadcasts the trained model, or reads the checkpoint; the last rank looks."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=WORLD_SIZE)
    reference = trained_model()
    total = len(reference.state_dict())
    trials = []
    for load in (loading.load_on_ranks, loading.load_on_ranks_and_broadcast):
        model = fresh_model(seed=1)
        load(model, clone_state(reference))
        trials.append(trial("BUF102", load, lost_state(model, reference), total))
    for broadcast in (weight_sync.broadcast_model, weight_sync.broadcast_model_with_buffers):
        model = copy.deepcopy(reference) if rank == 0 else fresh_model(seed=1)
        broadcast(model)
        trials.append(trial("BUF301", broadcast, lost_state(model, reference), total))
    if rank == WORLD_SIZE - 1:
        Path(folder, "ranks.json").write_text(json.dumps([asdict(each) for each in trials]))
    dist.destroy_process_group()


def try_ranks(folder: Path) -> Iterator[Trial]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(run_rank, args=(port, str(folder)), nprocs=WORLD_SIZE)
    for each in json.loads((folder / "ranks.json").read_text()):
        yield Trial(**each)


def run_trials() -> Iterator[Trial]:
    reference = trained_model()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from try_loading(reference)
        yield from try_resuming(reference, folder)
        yield from try_saving(reference, folder)
        yield from try_syncing(reference)
        yield from try_averaging(reference)
        yield from try_casting(reference)
        yield from try_materialising(reference)
        yield from try_reloading()
        yield from try_ranks(folder)
    if torch.cuda.is_available():
        yield from try_moving(reference)


def describe(each: Trial) -> str:
    if not each.lost:
        return f"{each.code}  {each.function:<36} kept all {each.total}"
    more = f", and {len(each.lost) - 3} more" if len(each.lost) > 3 else ""
    lost = f"{len(each.lost)} of {each.total}: {', '.join(each.lost[:3])}{more}"
    return f"{each.code}  {each.function:<36} lost {lost}"


def main() -> int:
    status = 0
    if not torch.cuda.is_available():
        print("BUF401  not tried: there is no CUDA device")
    for each in sorted(run_trials(), key=lambda each: each.code):
        print(describe(each))
        if each.leaky != bool(each.lost):
            print(f"        but it was expected to {'lose some' if each.leaky else 'keep all'}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
