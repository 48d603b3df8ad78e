"""How fast `bufaudit probe` follows the load paths of large models, and what its recording costs.

    python benchmarks/probe_speed.py
    python benchmarks/probe_speed.py --rounds 3 --model DeepseekV3ForCausalLM --json speed.json

Models have the sizes of their default configs: no weights, but every layer and every expert. Each has a process of its
own, in which everything is done once unmeasured, then `--rounds` times (5); what is shown are medians.

- `no path`: what a probe does once for a model: it builds it, finds the lines that register its tensors, and makes the
  default checkpoint.
- `zero3` (on two ranks), `from_pretrained`, `params-only`: a whole probe of this one path, with the former.
- `recording`: the load of `from_pretrained` alone under the recorder, against the same load under modes that keep every
  tensor on the meta device and write nothing down.
- `peak`: the most memory that the process held, less what it held after the imports, in MiB.

What other programs do at the same time changes wall time much and CPU time little: ratios are of CPU time, and where
the machine is busy at the start, so are all verdicts. Needs torch and transformers. Exit status: 0 when all targets are
met, 1 when one is not, 2 when it could not run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
import torch.distributed  # noqa: E402
from static_speed import BUSY, CannotRunError, Seconds, commit, cpu_model, installed, tell  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from bufaudit.collector import collector_paused  # noqa: E402
from bufaudit.tracing import checkpoint as checkpoints  # noqa: E402
from bufaudit.tracing.build import on_meta  # noqa: E402
from bufaudit.tracing.paths import NAMES, Run, find  # noqa: E402
from bufaudit.tracing.provenance import Ledger  # noqa: E402
from bufaudit.tracing.quiet import quiet  # noqa: E402
from bufaudit.tracing.ranks import Ranks  # noqa: E402
from bufaudit.tracing.recorder import Recorder, without_draws  # noqa: E402
from bufaudit.tracing.targets import Request, resolve  # noqa: E402
from bufaudit.tracing.trace import trace_model  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from bufaudit.tracing.targets import Target

MODELS = ("Gemma4ForConditionalGeneration", "DeepseekV3ForCausalLM", "Qwen3MoeForCausalLM")
#: Seconds of a probe of one path, and the ratio of recording.
MOST_SECONDS = 10.0
MOST_RATIO = 2.0

_META = torch.device("meta")


# The load without a recorder


class Redirecting(TorchDispatchMode):
    """Makes every tensor on the meta device, wherever it is asked for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # As the recorder has it: the guard costs more than the work.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if kwargs and kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": _META}
        return func(*args, **(kwargs or {}))


class Staying(TorchFunctionMode):
    """A tensor that is to move to a device stays what it is, as under the recorder; else moves would be copies."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.cpu:
            return args[0]
        if func is torch.Tensor.to:
            args = tuple(each for each in args if not isinstance(each, (str, torch.device)))
            kwargs = {name: value for name, value in kwargs.items() if name != "device"}
            if len(args) == 1 and kwargs.keys() <= {"non_blocking"}:
                return args[0]
        return func(*args, **kwargs)


@contextmanager
def redirected() -> Iterator[None]:
    """Everything on meta, and nothing written down."""
    with Redirecting(), Staying():
        yield


# What is measured, in a process of one model


def measure(name: str, rounds: int) -> dict[str, Any]:
    """The figures of one model, seconds as pairs of wall and CPU time."""
    target = resolve(Request(f"transformers:{name}"))[0]
    before = peak()
    asked: dict[str, list[str]] = {"no path": []} | {path: [path] for path in NAMES}
    taken: dict[str, list[Seconds]] = {path: [] for path in asked}
    for number in range(rounds + 1):
        for path, paths in asked.items():
            tell(f"{name}: round {number} of {rounds}, {path}")
            seconds = timed(partial(probe, target, paths))
            if number:
                taken[path].append(seconds)
    most = peak() - before
    recorded, bare = loads(target, rounds)
    return {
        "paths": {path: middle(each) for path, each in taken.items()},
        "recorded": middle(recorded),
        "redirected": middle(bare),
        "ratio": median(one.cpu / other.cpu for one, other in zip(recorded, bare, strict=True)),
        "peak": most,
    }


def probe(target: Target, paths: Sequence[str]) -> None:
    """Follow paths; one that could not be followed to its end would be fast for nothing."""
    report = trace_model(target, paths)
    wrong = [report.error, *(path.untraced or path.error for path in report.paths)]
    for reason in filter(None, wrong):
        raise CannotRunError(f"{target.class_name}: {reason}")


def loads(target: Target, rounds: int) -> tuple[list[Seconds], list[Seconds]]:
    """The load of `from_pretrained` under the recorder and under bare redirection, in turn."""
    recorded: list[Seconds] = []
    bare: list[Seconds] = []
    with quiet(), collector_paused():
        model = on_meta(target).model
        saved = checkpoints.saved_by_transformers(model)
        named = checkpoints.by_name(model, saved)
        for number in range(rounds + 1):
            tell(f"{target.class_name}: loads, round {number} of {rounds}")
            one = load(target, saved, named, Recorder)
            other = load(target, saved, named, lambda _: redirected())
            if number:
                recorded.append(one)
                bare.append(other)
    return recorded, bare


def load(
    target: Target,
    saved: checkpoints.Checkpoint,
    named: checkpoints.Checkpoint,
    around: Callable[[Ledger], AbstractContextManager[Any]],
) -> Seconds:
    """What one load takes inside of some modes."""
    ledger, ranks = Ledger(), Ranks(1)
    with ExitStack() as stack:
        stack.enter_context(without_draws())
        begin = stack.enter_context(find("from_pretrained").around(Run(target, saved, named, ranks, ledger)))

        def work(rank: int) -> Seconds:
            with around(ledger):
                return timed(lambda: begin(rank))

        (end,) = ranks.run(work)
    if end.value is None:
        raise CannotRunError(f"{target.class_name}: the load raised {end.raised!r}")
    return end.value


def timed(work: Callable[[], object]) -> Seconds:
    """What a call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def middle(taken: Sequence[Seconds]) -> tuple[float, float]:
    """The medians of wall and CPU time."""
    return median(each.wall for each in taken), median(each.cpu for each in taken)


def peak() -> float:
    """The most memory that this process has held, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


# What is shown


def row(name: str, found: dict[str, Any]) -> str:
    """One model's figures, seconds as wall / CPU."""
    paths = "".join(f"{wall:10.2f} /{cpu:5.2f}" for wall, cpu in found["paths"].values())
    return f"{name:32}{paths}{found['ratio']:9.2f} x{found['peak']:9.0f}"


def over(found: dict[str, Any], *, calm: bool) -> list[str]:
    """The targets that a model misses."""
    slow = [
        path for path, (wall, cpu) in found["paths"].items() if cpu > MOST_SECONDS or (calm and wall > MOST_SECONDS)
    ]
    return slow + ["recording"] * (found["ratio"] > MOST_RATIO)


def run_apart(name: str, rounds: int) -> dict[str, Any]:
    """The figures of a model, from a process of its own."""
    command = (sys.executable, __file__, "--one", name, "--rounds", str(rounds))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CannotRunError(f"{name} could not be measured")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(given: Sequence[str] | None = None) -> int:
    """Run, and give the exit status."""
    parser = argparse.ArgumentParser(description="Measure probes of large models.")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default: 5)")
    parser.add_argument("--model", action="append", choices=MODELS, help="only this model")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--one", choices=MODELS, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    try:
        if options.one:
            print(json.dumps(measure(options.one, options.rounds)))
            return 0
        load_average = os.getloadavg()[0]
        calm = load_average < BUSY * (os.cpu_count() or 1)
        versions = {name: installed(name) for name in ("torch", "transformers")}
        print(", ".join((cpu_model(), f"bufaudit {commit()}", *(f"{name} {each}" for name, each in versions.items()))))
        print(f"load average at the start {load_average:.2f}: {'calm' if calm else 'BUSY, so go by CPU time'}")
        print(f"{'seconds, wall / CPU':32}{''.join(f'{path:>17}' for path in ('no path', *NAMES))}  recording MiB peak")
        found = {}
        for name in options.model or MODELS:
            found[name] = run_apart(name, options.rounds)
            tell("")
            print(row(name, found[name]), *over(found[name], calm=calm), flush=True)
    except CannotRunError as error:
        print(f"probe_speed: {error}", file=sys.stderr)
        return 2
    if options.json:
        document = {"version": 1, "bufaudit": commit(), **versions, "load_average": load_average, "models": found}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 1 if any(over(each, calm=calm) for each in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
