"""The report must parse, and its numbers must agree with its cases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from hypothesis import given

from bufaudit.report.junit import render

from .samples import FINDING, RELATED, scan, scans

if TYPE_CHECKING:
    from bufaudit.results import ScanResult


def _suite(result: ScanResult) -> ElementTree.Element:
    root = ElementTree.fromstring(render(result).encode())
    assert root.tag == "testsuites"
    (suite,) = root
    return suite


def test_a_finding_is_a_failed_case() -> None:
    (case,) = _suite(scan(RELATED))
    assert case.attrib == {
        "name": "BUF101 params-only-load (12:24)",
        "classname": "src/model.py",
        "file": "src/model.py",
        "line": "12",
    }
    (failure,) = case
    assert (failure.tag, failure.get("type")) == ("failure", "BUF101")
    assert failure.get("message") == RELATED.message
    assert failure.text == (
        f"src/model.py:12:24: error, high confidence: {RELATED.message}\nsrc/norm.py:3: `scale` is registered here"
    )


def test_a_clean_scan_is_one_passed_case() -> None:
    suite = _suite(scan())
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")
    (case,) = suite
    assert (case.tag, len(case)) == ("testcase", 0)


def test_what_xml_cannot_hold_is_replaced() -> None:
    finding = replace(FINDING, path="a<&\x00\ufffe\udcff.py")
    (case,) = _suite(scan(finding))
    assert case.get("file") == "a<&\\x00\\ufffe\\xff.py"


@given(scans)
def test_any_report_parses_and_counts_right(result: ScanResult) -> None:
    suite = _suite(result)
    assert int(suite.attrib["tests"]) == len(suite)
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) == len(result.findings)
