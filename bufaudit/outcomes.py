"""What becomes of a model's tensors on a load path: the words for it, and the results of `probe` and `verify`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["parameter", "persistent_buffer", "non_persistent_buffer"]
KINDS: tuple[Kind, ...] = ("parameter", "persistent_buffer", "non_persistent_buffer")

#: What the probe says of a tensor on one rank, from the best to the worst.
PROBE_OUTCOMES = (
    *("kept", "restored", "absent", "untraced"),
    *("dropped", "overwritten", "uninitialised", "raised"),
)
#: What verify sees in the values; they cannot tell `dropped` from `overwritten`, both are `lost`.
VERIFY_OUTCOMES = ("kept", "restored", "absent", "lost", "uninitialised", "raised")
#: A tensor with one of these verdicts is lost, on some rank at least.
LOSSES = frozenset({"dropped", "overwritten", "diverged", "uninitialised", "lost", "raised"})

_GOOD = frozenset({"kept", "restored", "absent"})
_WORST_LAST = ("untraced", "dropped", "lost", "overwritten", "uninitialised", "raised")
#: The reference loader has losses by its very shape; they are for reading, and never fail a run.
REFERENCE_PATH = "params-only"


def verdict_of(ranks: Iterable[str]) -> str:
    """The verdict on a tensor from its outcome on each rank.

    It is the outcome where all ranks agree, `diverged` where some have the right value and some do not, else the worst.
    """
    outcomes = set(ranks)
    if len(outcomes) == 1:
        return outcomes.pop()
    worst = max(outcomes - _GOOD, key=_WORST_LAST.index, default="diverged")
    return "diverged" if outcomes & _GOOD and worst not in ("raised", "untraced") else worst


@dataclass(frozen=True, slots=True)
class TensorReport:
    """What becomes of one tensor on one path.

    `name` is its name in the model, `shape` in elements, `dtype` without the `torch.` before it. `ranks` has an outcome
    for each rank. `partial` tells that the right value reached a part of it only. `declared_at` is
    `package/file.py:line`, where the static inventory finds its registration; `reason` says what the outcome alone
    does not.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    ranks: tuple[str, ...]
    partial: bool = False
    declared_at: str | None = None
    reason: str | None = None

    @property
    def verdict(self) -> str:
        """The verdict on the tensor over all ranks."""
        return verdict_of(self.ranks)

    @property
    def lost(self) -> bool:
        """Whether it is lost on some rank."""
        return self.verdict in LOSSES


@dataclass(frozen=True, slots=True)
class PathError:
    """The exception in which a path ends: on which rank, its type, message and place, `package/file.py:line`."""

    rank: int
    type: str
    message: str
    at: str | None


@dataclass(frozen=True, slots=True)
class PathReport:
    """What one path does to a model. `tensors` are in the order of the model; empty where it could not be followed.

    `untraced` is the reason why the path could not be followed at all, None where it could; `loader` is the place of
    the code that loads, `package/file.py:line`.
    """

    path: str
    tensors: tuple[TensorReport, ...]
    error: PathError | None = None
    untraced: str | None = None
    loader: str | None = None

    @property
    def verdicts(self) -> dict[Kind, dict[str, int]]:
        """How many tensors of each kind have each verdict."""
        counts: dict[Kind, Counter[str]] = {kind: Counter() for kind in KINDS}
        for tensor in self.tensors:
            counts[tensor.kind][tensor.verdict] += 1
        return {kind: dict(sorted(counter.items())) for kind, counter in counts.items()}

    @property
    def lossy(self) -> bool:
        """Whether it counts as a finding: it raises or loses something, and is not the reference loader."""
        return self.path != REFERENCE_PATH and (self.error is not None or any(tensor.lost for tensor in self.tensors))


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What `probe` or `verify` says of one model class.

    `target` is what the user named. `error` is the reason, in one line, why there is no model; then `paths` is empty.
    `notes` are sentences on the model as it was built, such as tensors that escaped the meta device.
    """

    target: str
    class_name: str | None
    transformers: str | None
    torch: str
    world_size: int
    paths: tuple[PathReport, ...] = ()
    error: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def lossy(self) -> bool:
        """Whether a path loses something."""
        return any(path.lossy for path in self.paths)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The models of one `probe` run, in the order of their classes; `warnings` are sentences on the run itself."""

    models: tuple[ModelReport, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """The models of one `verify` run; outcomes are those of `VERIFY_OUTCOMES`."""

    models: tuple[ModelReport, ...]
    warnings: tuple[str, ...] = ()
