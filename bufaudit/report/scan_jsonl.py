"""`jsonl`: each finding as one JSON object on a line of its own, with the keys that it has in `json`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bufaudit.report.scan_json import finding_record

if TYPE_CHECKING:
    from bufaudit.results import ScanResult


def render(result: ScanResult) -> str:
    """One line per finding; nothing for a clean scan."""
    return "".join(json.dumps(finding_record(finding)) + "\n" for finding in result.findings)
