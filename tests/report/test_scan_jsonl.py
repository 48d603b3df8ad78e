"""Each line stands alone, so that a consumer can stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import given

from bufaudit.report import scan_json
from bufaudit.report.scan_jsonl import render

from .samples import scans

if TYPE_CHECKING:
    from bufaudit.results import ScanResult


@given(scans)
def test_the_lines_are_the_findings_of_json(result: ScanResult) -> None:
    lines = render(result).splitlines()
    assert len(lines) == len(result.findings)
    findings = json.loads(scan_json.render(result, statistics=False))["findings"]
    assert [json.loads(line) for line in lines] == findings
