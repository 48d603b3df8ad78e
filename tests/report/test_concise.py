"""Editors and `grep` rely on one line per finding."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given

from bufaudit.report.concise import render

from .samples import FINDING, FIXABLE, scan, scans

if TYPE_CHECKING:
    from bufaudit.results import ScanResult


def test_the_exact_line() -> None:
    assert render(scan(FINDING), statistics=False) == (
        "src/model.py:12:24: BUF101 checkpoint values reach parameters only; buffers keep their initial value\n"
    )


def test_a_clean_scan_is_empty() -> None:
    assert render(scan(), statistics=False) == ""


def test_names_with_line_breaks_brackets_and_bytes() -> None:
    finding = replace(FINDING, path="a [x]\n\x1b[1m\udcff.py", message="m")
    assert render(scan(finding), statistics=False) == "a [x]\\n\\x1b[1m\\xff.py:12:24: BUF101 m\n"


def test_statistics_replace_the_findings() -> None:
    assert render(scan(FINDING, FIXABLE, FINDING), statistics=True) == (
        "2  BUF101  params-only-load\n1  BUF301  params-only-sync\n"
    )


@given(scans)
def test_exactly_one_line_per_finding(result: ScanResult) -> None:
    lines = render(result, statistics=False).splitlines()
    assert len(lines) == len(result.findings)
