"""Fingerprints that no two findings of one scan share."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bufaudit.results import Finding


def unique_fingerprints(findings: Iterable[Finding]) -> list[str]:
    """Each finding's fingerprint with the number of its occurrence, counted from 1.

    Findings on equal lines of one function have equal fingerprints, and services that track findings would
    merge them.
    """
    seen: Counter[str] = Counter()
    unique = []
    for finding in findings:
        seen[finding.fingerprint] += 1
        unique.append(f"{finding.fingerprint}:{seen[finding.fingerprint]}")
    return unique
