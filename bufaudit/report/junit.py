"""`junit`: a test report, for services that show nothing else.

What XML cannot hold becomes backslash escapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from bufaudit.report.escapes import printable

if TYPE_CHECKING:
    from bufaudit.results import Finding, ScanResult


def render(result: ScanResult) -> str:
    """One suite with a failed case for each finding, or with one passed case for a clean scan."""
    numbers = {"tests": str(len(result.findings) or 1), "failures": str(len(result.findings)), "errors": "0"}
    root = ElementTree.Element("testsuites", {"name": "bufaudit", **numbers})
    suite = ElementTree.SubElement(root, "testsuite", {"name": "bufaudit", **numbers, "skipped": "0"})
    for finding in result.findings:
        suite.append(_case(finding))
    if not result.findings:
        ElementTree.SubElement(suite, "testcase", {"name": "no problems", "classname": "bufaudit"})
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def _case(finding: Finding) -> ElementTree.Element:
    path = printable(finding.path)
    place = f"{finding.line}:{finding.column}"
    message = printable(finding.message)
    case = ElementTree.Element(
        "testcase",
        {
            "name": f"{finding.code} {finding.name} ({place})",
            "classname": path,
            "file": path,
            "line": str(finding.line),
        },
    )
    failure = ElementTree.SubElement(case, "failure", {"type": finding.code, "message": message})
    lines = [f"{path}:{place}: {finding.severity}, {finding.confidence} confidence: {message}"]
    lines += [f"{printable(other.path)}:{other.line}: {printable(other.message)}" for other in finding.related]
    failure.text = "\n".join(lines)
    return case
