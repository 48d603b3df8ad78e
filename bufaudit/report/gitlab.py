"""`gitlab`: a code quality report, which GitLab shows in merge requests."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from bufaudit.report.escapes import encodable
from bufaudit.report.fingerprints import unique_fingerprints

if TYPE_CHECKING:
    from bufaudit.results import ScanResult

_SEVERITIES = {"error": "major", "warning": "minor", "info": "info"}


def render(result: ScanResult) -> str:
    """A list with one issue per finding; an empty list for a clean scan."""
    issues = [
        {
            "description": encodable(finding.message),
            "check_name": f"{finding.code} {finding.name}",
            "fingerprint": fingerprint,
            "severity": _SEVERITIES[finding.severity],
            "location": {
                "path": encodable(finding.path).replace(os.sep, "/"),
                "lines": {"begin": finding.line, "end": finding.end_line},
            },
        }
        for finding, fingerprint in zip(result.findings, unique_fingerprints(result.findings), strict=True)
    ]
    return json.dumps(issues, indent=2) + "\n"
