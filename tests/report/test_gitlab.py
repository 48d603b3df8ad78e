"""GitLab drops issues that lack a key or repeat a fingerprint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import given

from bufaudit.report.gitlab import render

from .samples import FINDING, FIXABLE, NOTICE, scan, scans

if TYPE_CHECKING:
    from bufaudit.results import ScanResult


def test_the_whole_issue() -> None:
    assert json.loads(render(scan(FINDING))) == [
        {
            "description": "checkpoint values reach parameters only; buffers keep their initial value",
            "check_name": "BUF101 params-only-load",
            "fingerprint": "5d41402abc4b2a76:1",
            "severity": "major",
            "location": {"path": "src/model.py", "lines": {"begin": 12, "end": 12}},
        }
    ]


def test_severities() -> None:
    issues = json.loads(render(scan(FINDING, FIXABLE, NOTICE)))
    assert [issue["severity"] for issue in issues] == ["major", "minor", "info"]


def test_a_clean_scan_is_an_empty_list() -> None:
    assert json.loads(render(scan())) == []


@given(scans)
def test_equal_findings_have_fingerprints_of_their_own(result: ScanResult) -> None:
    issues = json.loads(render(result))
    assert len({issue["fingerprint"] for issue in issues}) == len(result.findings)
