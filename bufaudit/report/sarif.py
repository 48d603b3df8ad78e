"""`sarif`: the Static Analysis Results Interchange Format 2.1.0, which code scanning services read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from bufaudit.report.escapes import encodable
from bufaudit.report.fingerprints import unique_fingerprints
from bufaudit.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bufaudit.catalogue import Rule
    from bufaudit.results import Finding, Related, ScanResult

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_HOME = "https://github.com/bufaudit/bufaudit"
_ROOT = "SRCROOT"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_PROBLEM_SEVERITIES = {"error": "error", "warning": "warning", "info": "recommendation"}


def render(result: ScanResult, *, rules: Mapping[str, Rule], base: Path) -> str:
    """One run with all `rules` and findings; uris are relative to `base` where the files lie below it.

    Raises `ValueError` where `base` is not absolute.
    """
    if not base.is_absolute():
        raise ValueError(f"the base of relative uris must be absolute: {base}")
    indices = {code: index for index, code in enumerate(rules)}
    fingerprints = unique_fingerprints(result.findings)
    document = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "bufaudit",
                        "version": __version__,
                        "semanticVersion": __version__,
                        "informationUri": _HOME,
                        "rules": [_descriptor(rule) for rule in rules.values()],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {_ROOT: {"uri": _file_uri(f"{base}/")}},
                "invocations": [_invocation(result)],
                "results": [
                    _result(finding, fingerprint, indices, base)
                    for finding, fingerprint in zip(result.findings, fingerprints, strict=True)
                ],
            }
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _descriptor(rule: Rule) -> dict[str, Any]:
    page = rule.markdown
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary.partition(". ")[0].removesuffix(".") + "."},
        "fullDescription": {"text": rule.summary},
        "help": {"text": page, "markdown": page},
        "helpUri": rule.url,
        "defaultConfiguration": {"enabled": not rule.retired, "level": _LEVELS[rule.severity]},
        "properties": {
            "confidence": rule.confidence,
            "precision": rule.confidence,
            "problem.severity": _PROBLEM_SEVERITIES[rule.severity],
            "tags": ["correctness", "pytorch", rule.family],
        },
    }


def _invocation(result: ScanResult) -> dict[str, Any]:
    invocation: dict[str, Any] = {"executionSuccessful": True}
    if result.warnings:
        invocation["toolExecutionNotifications"] = [
            {"level": "warning", "message": {"text": encodable(warning)}} for warning in result.warnings
        ]
    return invocation


def _result(finding: Finding, fingerprint: str, indices: Mapping[str, int], base: Path) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": _artifact(finding.path, base),
            "region": {
                "startLine": finding.line,
                "startColumn": finding.column,
                "endLine": finding.end_line,
                "endColumn": finding.end_column,
            },
        }
    }
    if finding.symbol:
        location["logicalLocations"] = [{"fullyQualifiedName": encodable(finding.symbol)}]
    record: dict[str, Any] = {"ruleId": finding.code}
    if finding.code in indices:
        record["ruleIndex"] = indices[finding.code]
    record |= {
        "level": _LEVELS[finding.severity],
        "message": {"text": _message(finding.message)},
        "locations": [location],
        # Not `primaryLocationLineHash`: GitHub's upload action computes that one and warns where it differs.
        "partialFingerprints": {"bufaudit/v1": fingerprint},
        "properties": {"confidence": finding.confidence},
    }
    if finding.related:
        record["relatedLocations"] = [
            _related(number, place, base) for number, place in enumerate(finding.related, start=1)
        ]
    return record


def _related(number: int, place: Related, base: Path) -> dict[str, Any]:
    return {
        "id": number,
        "physicalLocation": {
            "artifactLocation": _artifact(place.path, base),
            "region": {"startLine": place.line},
        },
        "message": {"text": _message(place.message)},
    }


def _message(text: str) -> str:
    """Plain text; `f[i](x)` is escaped, since viewers would make a link of it."""
    return encodable(text).replace("](", "\\](")


def _artifact(path: str, base: Path) -> dict[str, str]:
    """A relative uri for a file below `base`, an absolute one for any other."""
    plain = Path(os.path.normpath(path))
    if plain.is_absolute() or plain.parts[:1] == (os.pardir,):
        return {"uri": _file_uri(os.path.normpath(base / plain))}
    return {"uri": _quoted(str(plain)), "uriBaseId": _ROOT}


def _file_uri(path: str) -> str:
    return "file:///" + _quoted(path, safe="/:").lstrip("/")


def _quoted(path: str, safe: str = "/") -> str:
    slashed = path.replace(os.sep, "/")
    try:
        return quote(slashed.encode("utf-8", "surrogateescape"), safe)
    except UnicodeEncodeError:
        # A lone surrogate that stands for no byte: Windows allows these in file names.
        return quote(slashed.encode("utf-8", "surrogatepass"), safe)
