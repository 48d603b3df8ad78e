"""Losses that a project knows of, by the names of the tensors: any other that gets lost is new."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bufaudit.baseline.file import BaselineError, check_entry, read_entries, write_entries
from bufaudit.errors import printable
from bufaudit.grouping import folded, parse_pattern
from bufaudit.outcomes import KINDS, LOSSES, REFERENCE_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bufaudit.grouping import Pattern
    from bufaudit.outcomes import ModelReport, PathReport, ProbeResult, TensorReport, VerifyResult

#: The kind of what is no tensor: the exception in which a path ends, whose type stands for a name.
EXCEPTION = "exception"

_ENTRY_TYPES: dict[str, type[str] | type[int]] = dict.fromkeys(("class", "path", "kind", "pattern", "verdict"), str)
_Group = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Loss:
    """A lost tensor, or the exception in which a path ends: then `kind` is `EXCEPTION` and `name` its type."""

    class_name: str
    path: str
    kind: str
    name: str
    verdict: str

    @property
    def group(self) -> tuple[str, str, str, str]:
        """What losses of one entry have in common."""
        return self.class_name, self.path, self.kind, self.verdict


@dataclass(frozen=True, slots=True)
class KnownLoss:
    """Losses of one class on one path that differ only in the numbers in their names."""

    class_name: str
    path: str
    kind: str
    pattern: Pattern
    verdict: str

    @property
    def group(self) -> tuple[str, str, str, str]:
        """What it has in common with its losses."""
        return self.class_name, self.path, self.kind, self.verdict


@dataclass(frozen=True, slots=True)
class KnownLosses:
    """What is known, in the order of class, path, kind, verdict and pattern."""

    losses: tuple[KnownLoss, ...] = ()


@dataclass(frozen=True, slots=True)
class AppliedLosses:
    """What a baseline says of a run's losses: which are known, and which are new, in the order of the run.

    `stale` are sentences on entries that know more than there is.
    """

    known: frozenset[Loss]
    new: tuple[Loss, ...]
    stale: tuple[str, ...] = ()


def losses_of(result: ProbeResult | VerifyResult) -> KnownLosses:
    """The baseline that knows just the losses of a run."""
    names: defaultdict[_Group, list[str]] = defaultdict(list)
    for loss in _losses(result):
        names[loss.group].append(loss.name)
    entries = [
        KnownLoss(class_name, path, kind, pattern, verdict)
        for (class_name, path, kind, verdict), members in names.items()
        for pattern in folded(members)
    ]
    return KnownLosses(tuple(sorted(entries, key=_order)))


def apply_losses(known: KnownLosses, result: ProbeResult | VerifyResult) -> AppliedLosses:
    """Tell known losses from new ones.

    Of classes and paths that the run did not look at, nothing is said to be stale.
    """
    by_group: defaultdict[_Group, list[KnownLoss]] = defaultdict(list)
    for entry in known.losses:
        by_group[entry.group].append(entry)
    found: Counter[KnownLoss] = Counter()
    old: set[Loss] = set()
    new: list[Loss] = []
    for loss in dict.fromkeys(_losses(result)):
        entries = [entry for entry in by_group[loss.group] if entry.pattern.matches(loss.name)]
        found.update(entries)
        if entries:
            old.add(loss)
        else:
            new.append(loss)
    looked_at = {(_class_of(model), path.path) for model in result.models for path in model.paths if not path.untraced}
    stale = tuple(
        _stale(entry, found[entry])
        for entry in known.losses
        if found[entry] < entry.pattern.size and (entry.class_name, entry.path) in looked_at
    )
    return AppliedLosses(frozenset(old), tuple(new), stale)


def tensor_loss(model: ModelReport, path: PathReport, tensor: TensorReport) -> Loss:
    """A lost tensor under the name that baselines have for it."""
    return Loss(_class_of(model), path.path, tensor.kind, tensor.name, tensor.verdict)


def exception_loss(model: ModelReport, path: PathReport) -> Loss | None:
    """The exception in which a path ends under the name that baselines have for it; None where it ends in none."""
    if path.error is None:
        return None
    return Loss(_class_of(model), path.path, EXCEPTION, path.error.type, "raised")


def read_losses(path: Path) -> KnownLosses:
    """A baseline file.

    Raises `BaselineError` where it is missing, is not JSON, has another version or does not have the right form.
    """
    entries: dict[KnownLoss, None] = {}
    for number, item in enumerate(read_entries(path, "losses"), start=1):
        check_entry(path, "loss", number, item, _ENTRY_TYPES)
        entry = _entry(path, number, item)
        if entry in entries:
            raise BaselineError(path, f"{_shown(entry)} is there twice, perhaps from a merge; write it again")
        entries[entry] = None
    return KnownLosses(tuple(sorted(entries, key=_order)))


def write_losses(path: Path, losses: KnownLosses) -> None:
    """Write a baseline file, with a line for each entry, replacing an older one as a whole.

    Raises `BaselineError` where that is not possible.
    """
    write_entries(path, "losses", map(_record, sorted(losses.losses, key=_order)))


def _losses(result: ProbeResult | VerifyResult) -> Iterator[Loss]:
    """Every loss that counts; the tensors that an exception takes with it are not listed beside it."""
    for model in result.models:
        for path in model.paths:
            if path.path == REFERENCE_PATH:
                continue
            exception = exception_loss(model, path)
            if exception is not None:
                yield exception
            for tensor in path.tensors:
                if tensor.lost and not (exception is not None and tensor.verdict == "raised"):
                    yield tensor_loss(model, path, tensor)


def _class_of(model: ModelReport) -> str:
    return model.class_name or model.target


def _order(entry: KnownLoss) -> tuple[str, str, str, str, str]:
    return *entry.group, str(entry.pattern)


def _record(entry: KnownLoss) -> dict[str, str | int]:
    values = (entry.class_name, entry.path, entry.kind, str(entry.pattern), entry.verdict)
    return dict(zip(_ENTRY_TYPES, values, strict=True))


def _entry(path: Path, number: int, item: dict[str, Any]) -> KnownLoss:
    if item["kind"] not in (*KINDS, EXCEPTION):
        raise BaselineError(path, f"kind of loss {number} must be one of {', '.join((*KINDS, EXCEPTION))}")
    if item["verdict"] not in LOSSES:
        raise BaselineError(path, f"verdict of loss {number} must be one of {', '.join(sorted(LOSSES))}")
    try:
        pattern = parse_pattern(item["pattern"])
    except ValueError as error:
        raise BaselineError(path, f"pattern of loss {number}: {printable(error)}") from None
    return KnownLoss(item["class"], item["path"], item["kind"], pattern, item["verdict"])


def _stale(entry: KnownLoss, found: int) -> str:
    return (
        f"{_shown(entry)}: {entry.pattern.size} known, {found} found; "
        "write the baseline again so that it hides nothing new"
    )


def _shown(entry: KnownLoss) -> str:
    where = f"{printable(entry.class_name)} on {printable(entry.path)}"
    return f"{where}: {printable(entry.pattern)} {entry.verdict}"
