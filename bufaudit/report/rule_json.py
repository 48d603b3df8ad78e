"""`json`: rules for programs. It is plain ASCII; keys are only ever added."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from bufaudit.catalogue import Rule


def render_page(rule: Rule) -> str:
    """One rule as an object."""
    return json.dumps(_record(rule), indent=2) + "\n"


def render_list(rules: Sequence[Rule]) -> str:
    """All rules, retired ones too, as one object."""
    return json.dumps({"version": 1, "rules": [_record(rule) for rule in rules]}, indent=2) + "\n"


def _record(rule: Rule) -> dict[str, Any]:
    return {
        "code": rule.code,
        "name": rule.name,
        "family": rule.family,
        "severity": rule.severity,
        "confidence": rule.confidence,
        "fix": rule.fix,
        "since": rule.since,
        "retired": rule.retired,
        "summary": rule.summary,
        "url": rule.url,
        "sections": dict(rule.sections),
    }
