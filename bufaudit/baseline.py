"""Findings that a project has decided to live with for now, counted rather than located.

A baseline says how many findings of a rule a function (or class) has, so that moving or editing lines changes nothing.
What was known can therefore not be told apart within one function, see `apply`.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bufaudit.errors import BufauditError, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bufaudit.results import Finding

VERSION = 1

_TOP_KEYS = {"version", "findings"}
_ENTRY_TYPES = {"path": str, "code": str, "symbol": str, "count": int}
_Group = tuple[str, str, str]


class BaselineError(BufauditError):
    """A baseline that cannot be read or written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"baseline {printable(path)}: {reason}")


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
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BaselineError(path, "there is no such file; --write-baseline makes one") from None
    except OSError as error:
        raise BaselineError(path, f"cannot be read: {error.strerror}") from None
    except RecursionError:
        raise BaselineError(path, "its values are nested too deeply") from None
    except ValueError as error:
        raise BaselineError(path, f"is not JSON: {printable(error)}") from None
    if not isinstance(content, dict) or "version" not in content:
        raise BaselineError(path, "is not a baseline: it has no version")
    version = content["version"]
    if version != VERSION or isinstance(version, bool):
        raise BaselineError(path, f"has version {printable(json.dumps(version))}, this bufaudit reads {VERSION}")
    if set(content) != _TOP_KEYS or not isinstance(content["findings"], list):
        raise BaselineError(path, "must have just a version and a list of findings")
    return Baseline(tuple(sorted(_entries(content["findings"], path))))


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline file, with a line for each entry, replacing an older one as a whole.

    Raises `BaselineError` where that is not possible.
    """
    # A link stays one, and what it points to is replaced.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(_rendered(baseline).encode("ascii"))
            with contextlib.suppress(FileNotFoundError):
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BaselineError(path, f"cannot be written: {error.strerror}") from None


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


def _entries(items: list[object], path: Path) -> list[KnownFindings]:
    entries: dict[_Group, KnownFindings] = {}
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict) or set(item) != set(_ENTRY_TYPES):
            raise BaselineError(path, f"finding {number} must have just {', '.join(_ENTRY_TYPES)}")
        for key, kind in _ENTRY_TYPES.items():
            if type(item[key]) is not kind:
                raise BaselineError(path, f"{key} of finding {number} must be {'text' if kind is str else 'a number'}")
        entry = KnownFindings(**item)
        if entry.count < 1:
            raise BaselineError(path, f"count of finding {number} must be at least 1")
        if entry.group in entries:
            raise BaselineError(path, f"{_shown(entry)} is there twice, perhaps from a merge; write it again")
        entries[entry.group] = entry
    return list(entries.values())


def _rendered(baseline: Baseline) -> str:
    lines = [json.dumps({key: getattr(entry, key) for key in _ENTRY_TYPES}) for entry in sorted(baseline.findings)]
    listed = "[\n    " + ",\n    ".join(lines) + "\n  ]" if lines else "[]"
    return f'{{\n  "version": {VERSION},\n  "findings": {listed}\n}}\n'
