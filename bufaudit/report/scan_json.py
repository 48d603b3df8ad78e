"""`json`: the versioned form of a scan, for programs. It is plain ASCII; keys are only ever added."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bufaudit.report.escapes import encodable

if TYPE_CHECKING:
    from typing import Any

    from bufaudit.results import Finding, ScanResult


def render(result: ScanResult, *, statistics: bool) -> str:
    """All findings and a summary as one object, which has `summary.statistics` where these are asked for."""
    summary: dict[str, Any] = {
        "files": result.files,
        "findings": len(result.findings),
        "by_code": result.by_code,
    }
    if statistics:
        from bufaudit.report.summary import statistics as counts

        summary["statistics"] = [{"code": code, "name": name, "count": number} for code, name, number in counts(result)]
    document = {
        "version": 1,
        "findings": [finding_record(finding) for finding in result.findings],
        "summary": summary,
    }
    return json.dumps(document, indent=2) + "\n"


def finding_record(finding: Finding) -> dict[str, Any]:
    """A finding as JSON objects, in text that can be encoded."""
    fix = finding.fix
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity,
        "confidence": finding.confidence,
        "path": encodable(finding.path),
        "line": finding.line,
        "column": finding.column,
        "end_line": finding.end_line,
        "end_column": finding.end_column,
        "message": encodable(finding.message),
        "symbol": encodable(finding.symbol),
        "related": [
            {"path": encodable(place.path), "line": place.line, "message": encodable(place.message)}
            for place in finding.related
        ],
        "fix": None if fix is None else {"safety": fix.safety, "message": encodable(fix.message)},
        "fingerprint": finding.fingerprint,
    }
