"""`github`: workflow commands that GitHub Actions turns into annotations on a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.report.escapes import printable

if TYPE_CHECKING:
    from bufaudit.results import Finding, ScanResult

_COMMANDS = {"error": "error", "warning": "warning", "info": "notice"}


def render(result: ScanResult) -> str:
    """One command a line for each finding; nothing for a clean scan."""
    return "".join(_command(finding) + "\n" for finding in result.findings)


def _command(finding: Finding) -> str:
    properties = {"file": _path(finding.path), "line": str(finding.line), "endLine": str(finding.end_line)}
    if finding.line == finding.end_line:
        # GitHub drops an annotation that has columns and more than one line.
        properties |= {"col": str(finding.column), "endColumn": str(finding.end_column)}
    properties["title"] = f"{finding.code} {finding.name}"
    joined = ",".join(f"{key}={escape_property(value)}" for key, value in properties.items())
    lines = [printable(finding.message)]
    lines += [f"{printable(place.path)}:{place.line}: {printable(place.message)}" for place in finding.related]
    data = escape_data("\n".join(lines))
    return f"::{_COMMANDS[finding.severity]} {joined}::{data}"


def _path(path: str) -> str:
    """Line breaks stay, because the escapes of a property can carry them and GitHub needs the real name."""
    return printable(path, keep="\r\n")


def escape_data(text: str) -> str:
    """The text of a command as the runner reads it back."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """The value of a command's property as the runner reads it back."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")
