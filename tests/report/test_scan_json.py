"""Programs read these keys: they may grow, never change."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given

from bufaudit.report.escapes import encodable
from bufaudit.report.scan_json import render
from bufaudit.results import Finding, Fix, Related, ScanResult

from .samples import FINDING, FIXABLE, RELATED, scan, scans


def test_the_whole_document() -> None:
    finding = {
        "code": "BUF101",
        "name": "params-only-load",
        "severity": "error",
        "confidence": "high",
        "path": "src/model.py",
        "line": 12,
        "column": 24,
        "end_line": 12,
        "end_column": 48,
        "message": "checkpoint values reach parameters only; buffers keep their initial value",
        "symbol": "Loader.load",
        "related": [{"path": "src/norm.py", "line": 3, "message": "`scale` is registered here"}],
        "fix": None,
        "fingerprint": "5d41402abc4b2a76",
    }
    document = json.loads(render(scan(RELATED), statistics=False))
    assert document == {
        "version": 1,
        "findings": [finding],
        "summary": {"files": 12, "findings": 1, "by_code": {"BUF101": 1}},
    }
    assert list(document["findings"][0]) == list(finding)


def test_a_fix_has_its_safety_and_message() -> None:
    document = json.loads(render(scan(FIXABLE), statistics=False))
    assert document["findings"][0]["fix"] == {"safety": "safe", "message": "walk `state_dict()`"}


def test_statistics_are_added_to_the_summary() -> None:
    document = json.loads(render(scan(FINDING), statistics=True))
    assert document["summary"]["statistics"] == [{"code": "BUF101", "name": "params-only-load", "count": 1}]
    assert len(document["findings"]) == 1


@given(scans)
def test_findings_survive_the_round_trip(result: ScanResult) -> None:
    document = json.loads(render(result, statistics=False))
    assert [_finding(record) for record in document["findings"]] == [_in_utf8(finding) for finding in result.findings]
    assert document["summary"] == {
        "files": result.files,
        "findings": len(result.findings),
        "by_code": result.by_code,
    }


def _finding(record: dict[str, Any]) -> Finding:
    fields = dict(record)
    fields["related"] = tuple(Related(**place) for place in record["related"])
    fields["fix"] = Fix(**record["fix"]) if record["fix"] is not None else None
    return Finding(**fields)


def _in_utf8(finding: Finding) -> Finding:
    """What of a finding JSON can hold: the excerpt is not written, surrogates are escaped."""
    values = {name: getattr(finding, name) for name in Finding.__slots__}
    for name in ("path", "message", "symbol"):
        values[name] = encodable(values[name])
    values["related"] = tuple(
        Related(encodable(place.path), place.line, encodable(place.message)) for place in finding.related
    )
    if finding.fix is not None:
        values["fix"] = Fix(finding.fix.safety, encodable(finding.fix.message))
    return Finding(**{**values, "excerpt": ""})
