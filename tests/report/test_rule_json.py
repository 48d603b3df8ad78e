"""Programs read these keys: they may grow, never change."""

from __future__ import annotations

import json

from bufaudit.report.rule_json import render_list, render_page

from .samples import RETIRED, RULE


def test_one_rule() -> None:
    record = json.loads(render_page(RULE))
    assert record.pop("sections") == RULE.sections
    assert record == {
        "code": "BUF101",
        "name": "params-only-load",
        "family": "load",
        "severity": "error",
        "confidence": "medium",
        "fix": "none",
        "since": "0.1.0",
        "retired": False,
        "summary": "Checkpoint values that reach parameters only. Buffers | are lost.",
        "url": RULE.url,
    }


def test_all_rules_with_the_retired() -> None:
    document = json.loads(render_list((RULE, RETIRED)))
    assert document["version"] == 1
    assert [(rule["code"], rule["retired"]) for rule in document["rules"]] == [
        ("BUF101", False),
        ("BUF109", True),
    ]
