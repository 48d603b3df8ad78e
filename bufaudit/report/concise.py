"""`concise`: one line per finding, for editors and `grep`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.report.escapes import printable

if TYPE_CHECKING:
    from bufaudit.results import Finding, ScanResult


def render(result: ScanResult, *, statistics: bool) -> str:
    """`path:line:column: CODE message` for each finding, or the count per rule; nothing for a clean scan."""
    if statistics:
        from bufaudit.report.summary import statistics_table

        lines = statistics_table(result)
    else:
        lines = [_line(finding) for finding in result.findings]
    return "".join(line + "\n" for line in lines)


def _line(finding: Finding) -> str:
    where = f"{printable(finding.path)}:{finding.line}:{finding.column}"
    return f"{where}: {finding.code} {printable(finding.message)}"
