"""Services merge findings with equal fingerprints; ours may have equal ones, so each gets a number."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given

from bufaudit.report.fingerprints import unique_fingerprints

from .samples import FINDING, scans

if TYPE_CHECKING:
    from bufaudit.results import ScanResult


def test_occurrences_are_counted_per_fingerprint() -> None:
    other = replace(FINDING, fingerprint="aa")
    assert unique_fingerprints([FINDING, other, FINDING]) == [
        "5d41402abc4b2a76:1",
        "aa:1",
        "5d41402abc4b2a76:2",
    ]


@given(scans)
def test_no_two_are_equal(result: ScanResult) -> None:
    unique = unique_fingerprints(result.findings)
    assert len(set(unique)) == len(result.findings)
