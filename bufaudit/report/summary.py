"""A scan in numbers, for people: the closing lines of a report and the count per rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.report.terminal import align, count

if TYPE_CHECKING:
    from bufaudit.results import ScanResult


def closing_lines(result: ScanResult) -> list[str]:
    """How many problems there are, then what was left out and what can be fixed, where there is any."""
    files = count(result.files, "file")
    if result.findings:
        by_code = ", ".join(f"{number} {code}" for code, number in result.by_code.items())
        lines = [f"Found {count(len(result.findings), 'problem')} in {files} ({by_code})."]
    else:
        lines = [f"No problems in {files}."]
    hidden = []
    if result.suppressed:
        hidden.append(f"{result.suppressed} suppressed")
    if result.baselined:
        hidden.append(f"{result.baselined} in the baseline")
    if hidden:
        lines.append(f"Not shown: {', '.join(hidden)}.")
    safe = sum(finding.fix is not None and finding.fix.safety == "safe" for finding in result.findings)
    unsafe = sum(finding.fix is not None and finding.fix.safety == "unsafe" for finding in result.findings)
    if safe:
        lines.append(f"{safe} can be fixed with --fix.")
    if unsafe:
        lines.append(f"{unsafe} can be fixed with --unsafe-fixes.")
    return lines


def statistics(result: ScanResult) -> list[tuple[str, str, int]]:
    """Code, name and number of findings of each rule that has any, the most frequent first."""
    names = {finding.code: finding.name for finding in result.findings}
    counts = sorted(result.by_code.items(), key=lambda item: (-item[1], item[0]))
    return [(code, names[code], number) for code, number in counts]


def statistics_table(result: ScanResult) -> list[str]:
    """The statistics as aligned lines: number, code, name."""
    rows = statistics(result)
    digits = max((len(str(number)) for _, _, number in rows), default=0)
    return align([(str(number).rjust(digits), code, name) for code, name, number in rows])
