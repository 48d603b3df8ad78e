"""Code scanning services drop a file that breaks the schema, and show the words and places in it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import jsonschema
import pytest
from hypothesis import given

from bufaudit.report.sarif import render
from bufaudit.results import Related, ScanResult
from bufaudit.version import __version__

from .samples import FINDING, FIXABLE, NOTICE, RELATED, RULE, RULES, paths, scan, scans

BASE = Path("/srv/my project")
OFFICIAL_SCHEMA = os.environ.get("SARIF_SCHEMA")


def _object(required: str, **properties: Any) -> dict[str, Any]:
    """The schema of an object that has no properties but these; `required` names those it must have."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT = {"type": "string"}
_URI = {"type": "string", "pattern": r"^([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2})+$"}
_COUNT = {"type": "integer", "minimum": 1}
_LEVEL = {"enum": ["none", "note", "warning", "error"]}
_MESSAGE = _object("text", text=_TEXT)
_PHYSICAL = _object(
    "artifactLocation region",
    artifactLocation=_object("uri", uri=_URI, uriBaseId={"const": "SRCROOT"}),
    region=_object("startLine", startLine=_COUNT, startColumn=_COUNT, endLine=_COUNT, endColumn=_COUNT),
)
_LOCATION = _object(
    "physicalLocation",
    physicalLocation=_PHYSICAL,
    logicalLocations=_array(_object("fullyQualifiedName", fullyQualifiedName=_TEXT)),
)
_RULE = _object(
    "id name shortDescription fullDescription help helpUri defaultConfiguration properties",
    id=_TEXT,
    name=_TEXT,
    shortDescription=_MESSAGE,
    fullDescription=_MESSAGE,
    help=_object("text markdown", text=_TEXT, markdown=_TEXT),
    helpUri=_URI,
    defaultConfiguration=_object("level", enabled={"type": "boolean"}, level=_LEVEL),
    properties={"type": "object", "properties": {"tags": {**_array(_TEXT), "uniqueItems": True}}},
)
_RESULT = _object(
    "ruleId level message locations partialFingerprints properties",
    ruleId=_TEXT,
    ruleIndex={"type": "integer", "minimum": 0},
    level=_LEVEL,
    message=_MESSAGE,
    locations={**_array(_LOCATION), "minItems": 1, "maxItems": 1},
    relatedLocations=_array(
        _object("id physicalLocation message", id=_COUNT, physicalLocation=_PHYSICAL, message=_MESSAGE)
    ),
    partialFingerprints={"type": "object", "additionalProperties": _TEXT},
    properties={"type": "object"},
)
_DRIVER = _object(
    "name version informationUri rules",
    name=_TEXT,
    version=_TEXT,
    semanticVersion=_TEXT,
    informationUri=_URI,
    rules=_array(_RULE),
)
_RUN = _object(
    "tool columnKind originalUriBaseIds invocations results",
    tool=_object("driver", driver=_DRIVER),
    columnKind={"const": "unicodeCodePoints"},
    originalUriBaseIds=_object("SRCROOT", SRCROOT=_object("uri", uri=_URI)),
    invocations=_array(
        _object(
            "executionSuccessful",
            executionSuccessful={"type": "boolean"},
            toolExecutionNotifications=_array(_object("message", level=_LEVEL, message=_MESSAGE)),
        )
    ),
    results=_array(_RESULT),
)
#: The part of SARIF 2.1.0 that is written: narrower than the official schema, which is not shipped.
_WRITTEN = jsonschema.Draft202012Validator(
    _object(
        "$schema version runs",
        **{
            "$schema": _URI,
            "version": {"const": "2.1.0"},
            "runs": {**_array(_RUN), "minItems": 1, "maxItems": 1},
        },
    )
)


@cache
def _official() -> jsonschema.Draft4Validator:
    return jsonschema.Draft4Validator(json.loads(Path(str(OFFICIAL_SCHEMA)).read_text("utf-8")))


def _run(result: ScanResult) -> dict[str, Any]:
    (run,) = json.loads(render(result, rules=RULES, base=BASE))["runs"]
    return dict(run)


def _uri(path: str) -> dict[str, str]:
    (result,) = _run(scan(replace(FINDING, path=path)))["results"]
    return dict(result["locations"][0]["physicalLocation"]["artifactLocation"])


@given(scans)
def test_any_scan_has_the_written_form(result: ScanResult) -> None:
    _WRITTEN.validate(json.loads(render(result, rules=RULES, base=BASE)))


@pytest.mark.skipif(OFFICIAL_SCHEMA is None, reason="SARIF_SCHEMA names no copy of the official schema")
@given(scans)
def test_any_scan_satisfies_the_official_schema(result: ScanResult) -> None:
    _official().validate(json.loads(render(result, rules=RULES, base=BASE)))


def test_tool_and_run() -> None:
    run = _run(scan(warnings=("baseline entry matches nothing",)))
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("bufaudit", __version__)
    assert run["originalUriBaseIds"] == {"SRCROOT": {"uri": "file:///srv/my%20project/"}}
    assert run["results"] == []
    assert run["invocations"] == [
        {
            "executionSuccessful": True,
            "toolExecutionNotifications": [{"level": "warning", "message": {"text": "baseline entry matches nothing"}}],
        }
    ]


def test_rules_carry_their_pages() -> None:
    rule, retired, sync = _run(scan())["tool"]["driver"]["rules"]
    assert (rule["id"], rule["name"]) == ("BUF101", "params-only-load")
    assert rule["shortDescription"] == {"text": "Checkpoint values that reach parameters only."}
    assert rule["fullDescription"] == {"text": RULE.summary}
    assert rule["help"] == {"text": RULE.markdown, "markdown": RULE.markdown}
    assert rule["helpUri"] == RULE.url
    assert rule["defaultConfiguration"] == {"enabled": True, "level": "error"}
    assert rule["properties"] == {
        "confidence": "medium",
        "precision": "medium",
        "problem.severity": "error",
        "tags": ["correctness", "pytorch", "load"],
    }
    assert not retired["defaultConfiguration"]["enabled"]
    assert sync["defaultConfiguration"]["level"] == "warning"


def test_a_whole_result() -> None:
    (result,) = _run(scan(RELATED))["results"]
    assert result == {
        "ruleId": "BUF101",
        "ruleIndex": 0,
        "level": "error",
        "message": {"text": RELATED.message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "src/model.py", "uriBaseId": "SRCROOT"},
                    "region": {"startLine": 12, "startColumn": 24, "endLine": 12, "endColumn": 48},
                },
                "logicalLocations": [{"fullyQualifiedName": "Loader.load"}],
            }
        ],
        "relatedLocations": [
            {
                "id": 1,
                "physicalLocation": {
                    "artifactLocation": {"uri": "src/norm.py", "uriBaseId": "SRCROOT"},
                    "region": {"startLine": 3},
                },
                "message": {"text": "`scale` is registered here"},
            }
        ],
        "partialFingerprints": {"bufaudit/v1": "5d41402abc4b2a76:1"},
        "properties": {"confidence": "high"},
    }


def test_levels_and_rule_indices() -> None:
    results = _run(scan(FINDING, FIXABLE, NOTICE))["results"]
    assert [(result["level"], result["ruleIndex"]) for result in results] == [
        ("error", 0),
        ("warning", 2),
        ("note", 0),
    ]


def test_a_rule_that_is_not_described_has_no_index() -> None:
    (result,) = _run(scan(replace(FINDING, code="BUF999")))["results"]
    assert "ruleIndex" not in result


def test_related_places_are_numbered() -> None:
    finding = replace(FINDING, related=(Related("a.py", 1, "a"), Related("b.py", 2, "b")))
    (result,) = _run(scan(finding))["results"]
    assert [place["id"] for place in result["relatedLocations"]] == [1, 2]


def test_brackets_stay_but_make_no_link() -> None:
    (result,) = _run(scan(replace(FINDING, message="`params[name]` and `fs[0](x)`")))["results"]
    assert result["message"]["text"] == "`params[name]` and `fs[0\\](x)`"


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("a b/[x].py", "a%20b/%5Bx%5D.py"),
        ("c:d.py", "c%3Ad.py"),
        ("a\n%.py", "a%0A%25.py"),
        ("caf\udce9.py", "caf%E9.py"),
        ("模.py", "%E6%A8%A1.py"),
        ("./a//b.py", "a/b.py"),
    ],
)
def test_paths_below_the_base_are_relative_and_percent_encoded(path: str, uri: str) -> None:
    assert _uri(path) == {"uri": uri, "uriBaseId": "SRCROOT"}


@pytest.mark.parametrize(
    ("path", "uri"), [("/opt/a.py", "file:///opt/a.py"), ("../x y/a.py", "file:///srv/x%20y/a.py")]
)
def test_paths_outside_the_base_are_absolute(path: str, uri: str) -> None:
    assert _uri(path) == {"uri": uri}


@given(paths.filter(lambda path: not set("/.\ud800\x00") & set(path)))
def test_a_uri_gives_back_the_bytes_of_the_name(path: str) -> None:
    try:
        name = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return
    assert unquote_to_bytes(_uri(path)["uri"]) == name


def test_a_relative_base_is_an_error() -> None:
    with pytest.raises(ValueError, match="must be absolute: src"):
        render(scan(), rules=RULES, base=Path("src"))
