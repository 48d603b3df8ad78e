"""What a command finds out: the values that `api` returns and `report` renders."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Severity = Literal["error", "warning", "info"]
Confidence = Literal["high", "medium", "low"]
Safety = Literal["safe", "unsafe"]

#: From the least to the most sure.
CONFIDENCES: tuple[Confidence, ...] = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Related:
    """A second place that a finding speaks of, such as the line that registers a dropped buffer."""

    path: str
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Fix:
    """What `--fix` would do about a finding."""

    safety: Safety
    message: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One place in source code that breaks a rule.

    Lines and columns count from 1, columns in characters; `end_column` is exclusive. `path` is relative to the
    current folder where the file lies below it, with undecodable bytes as surrogate escapes. `excerpt` is the text
    of the first line, for reports that show source.
    """

    code: str
    name: str
    severity: Severity
    confidence: Confidence
    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    symbol: str
    fingerprint: str
    related: tuple[Related, ...] = ()
    fix: Fix | None = None
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The outcome of one scan.

    `findings` are in the order of path, line and column. `files` counts the files that were examined. `warnings` are
    sentences about the run itself, such as a baseline entry that matches nothing any more; `suppressed` counts what
    ignore comments silenced and `baselined` what the baseline did.
    """

    findings: tuple[Finding, ...]
    files: int
    suppressed: int = 0
    baselined: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def by_code(self) -> dict[str, int]:
        """How many findings each rule has, in the order of codes."""
        return dict(sorted(Counter(finding.code for finding in self.findings).items()))


def merged(results: Sequence[ScanResult]) -> ScanResult:
    """The outcome of several scans as one."""
    findings = (finding for result in results for finding in result.findings)
    return ScanResult(
        findings=tuple(sorted(findings, key=lambda each: (each.path, each.line, each.column, each.code))),
        files=sum(result.files for result in results),
        suppressed=sum(result.suppressed for result in results),
        baselined=sum(result.baselined for result in results),
        warnings=tuple(dict.fromkeys(warning for result in results for warning in result.warnings)),
    )


@dataclass(frozen=True, slots=True)
class Registration:
    """A buffer that a class has, by its own code or by that of a base class.

    `name` is a pattern with `{}` where the code computes it. `persistent` is the source text of the deciding
    expression where it is neither literally true nor false. `condition` is the source text of the test under which
    the registration runs, `inherited_from` the qualified name of the base class that registers it, `restored_by` the
    qualified name of the initialiser that computes it again after a load through the meta device.
    """

    path: str
    line: int
    column: int
    module: str
    class_name: str | None
    name: str
    persistent: bool | str
    value: str
    how: Literal["register_buffer", "nn.Buffer", "setattr", "_buffers"]
    restored_by: str | None = None
    inherited_from: str | None = None
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class InventoryResult:
    """Every registration below the given paths, in the order of path, line and class."""

    registrations: tuple[Registration, ...]
    files: int
    warnings: tuple[str, ...] = field(default=())
