"""Findings that a project has decided to live with for now, counted rather than located.

A baseline says how many findings of a rule a function (or class) has, so that moving or editing lines changes nothing.
What was known can therefore not be told apart within one function, see `apply`.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bufaudit.baseline.file import BaselineError, check_entry, read_entries, write_entries
from bufaudit.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bufaudit.results import Finding

_ENTRY_TYPES = {"path": str, "code": str, "symbol": str, "count": int}
_Group = tuple[str, str, str]


@dataclass(frozen=True, slots=True, order=True)
class KnownFindings:
    """How many findings of one rule are known in one function or class.

    `path` is relative to the root of the project, with forward slashes; absolute for a file outside of it.
    """

    path: str
    code: str
    symbol: str
    count: int

    @property
    def group(self) -> tuple[str, str, str]:
        """What the findings have in common."""
        return self.path, self.code, self.symbol


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is known, in the order of path, code and symbol, each group once."""

    findings: tuple[KnownFindings, ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """What a baseline leaves of a run's findings.

    `findings` are in the order that they came in; `baselined` counts those left out. `stale` are sentences on entries
    that know more than there is, `ambiguous` on groups of which only a part is known.
    """

    findings: tuple[Finding, ...]
    baselined: int
    stale: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()


def baseline_of(findings: Iterable[Finding], root: Path) -> Baseline:
    """The baseline that knows just these findings."""
    counts = Counter(_group(finding, os.path.abspath(root)) for finding in findings)
    return Baseline(tuple(KnownFindings(*group, count) for group, count in sorted(counts.items())))


def apply(
    baseline: Baseline,
    findings: Sequence[Finding],
    root: Path,
    *,
    scanned: frozenset[str],
    codes: frozenset[str] | None = None,
) -> Applied:
    """Leave out the known findings.

    Where a group has more findings than are known, only as many as are new are reported, the last ones of the file:
    new code stands below old code more often than not, and reporting the known ones too would hide how many are new.
    As any of the group may be the new one, a sentence in `ambiguous` says so.

    `scanned` are the files that this run looked at, in the form of `KnownFindings.path`, and `codes` the rules that it
    looked for (None: all): of others nothing is said to be stale.
    """
    base = os.path.abspath(root)
    known = {entry.group: entry.count for entry in baseline.findings}
    groups: defaultdict[_Group, list[int]] = defaultdict(list)
    for index, finding in enumerate(findings):
        groups[_group(finding, base)].append(index)
    hidden: set[int] = set()
    for group, members in groups.items():
        members.sort(key=lambda index: _place(findings[index]))
        hidden.update(members[: known.get(group, 0)])
    compared = [(entry, len(groups.get(entry.group, ()))) for entry in baseline.findings]
    return Applied(
        findings=tuple(finding for index, finding in enumerate(findings) if index not in hidden),
        baselined=len(hidden),
        stale=tuple(
            _stale(entry, found)
            for entry, found in compared
            if found < entry.count and entry.path in scanned and (codes is None or entry.code in codes)
        ),
        ambiguous=tuple(_ambiguous(entry, found) for entry, found in compared if found > entry.count),
    )


def read_baseline(path: Path) -> Baseline:
    """A baseline file.

    Raises `BaselineError` where it is missing, is not JSON, has another version or does not have the right form.
    """
    return Baseline(tuple(sorted(_entries(read_entries(path, "findings"), path))))


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline file, with a line for each entry, replacing an older one as a whole.

    Raises `BaselineError` where that is not possible.
    """
    entries = ({key: getattr(entry, key) for key in _ENTRY_TYPES} for entry in sorted(baseline.findings))
    write_entries(path, "findings", entries)


def _group(finding: Finding, base: str) -> _Group:
    """What a finding is counted under; `base` is the absolute root."""
    path = os.path.abspath(finding.path)
    prefix = base if base.endswith(os.sep) else base + os.sep
    return path.removeprefix(prefix).replace(os.sep, "/"), finding.code, finding.symbol


def _place(finding: Finding) -> tuple[int, int, int, int, str, str]:
    return (
        *(finding.line, finding.column, finding.end_line, finding.end_column),
        *(finding.message, finding.fingerprint),
    )


def _stale(entry: KnownFindings, found: int) -> str:
    return f"{_shown(entry)}: {entry.count} known, {found} found; write the baseline again so that it hides nothing new"


def _ambiguous(entry: KnownFindings, found: int) -> str:
    return (
        f"{_shown(entry)}: {entry.count} known, {found} found; "
        f"the last {found - entry.count} by line are reported, though any of them may be new"
    )


def _shown(entry: KnownFindings) -> str:
    return f"{printable(entry.path)}: {printable(entry.code)} in {printable(entry.symbol)}"


def _entries(items: list[Any], path: Path) -> list[KnownFindings]:
    entries: dict[_Group, KnownFindings] = {}
    for number, item in enumerate(items, start=1):
        check_entry(path, "finding", number, item, _ENTRY_TYPES)
        entry = KnownFindings(**item)
        if entry.count < 1:
            raise BaselineError(path, f"count of finding {number} must be at least 1")
        if entry.group in entries:
            raise BaselineError(path, f"{_shown(entry)} is there twice, perhaps from a merge; write it again")
        entries[entry.group] = entry
    return list(entries.values())
