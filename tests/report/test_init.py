"""What holds for every format: valid UTF-8, nothing that a terminal obeys, no import before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given

from bufaudit.outcomes import ProbeResult, VerifyResult
from bufaudit.report import (
    INVENTORY_FORMATS,
    PROBE_FORMATS,
    RULE_FORMATS,
    SCAN_FORMATS,
    render_inventory,
    render_probe,
    render_rule,
    render_rules,
    render_scan,
    render_verify,
)
from bufaudit.results import InventoryResult, ScanResult

from .samples import MODEL, RELATED, RULE, RULES, inventories, probe, probes, scan, scans

BASE = Path("/srv/project")


def _controls(text: str) -> str:
    return "".join(char for char in text if not char.isprintable() and char not in "\r\n")


@pytest.mark.parametrize("statistics", [False, True])
@given(result=scans)
def test_any_scan_is_valid_utf8_without_control_characters(statistics: bool, result: ScanResult) -> None:
    for format in SCAN_FORMATS:
        data = render_scan(result, format, rules=RULES, base=BASE, statistics=statistics)
        assert _controls(data.decode("utf-8")) == "", format


@given(scans)
def test_json_never_holds_half_a_surrogate_pair(result: ScanResult) -> None:
    """Python reads one back, but strict parsers refuse the whole document."""
    for format in ("json", "sarif", "gitlab"):
        document = json.loads(render_scan(result, format, rules=RULES, base=BASE))
        json.dumps(document, ensure_ascii=False).encode()


@given(inventories)
def test_any_inventory_is_valid_utf8(result: InventoryResult) -> None:
    for format in INVENTORY_FORMATS:
        render_inventory(result, format).decode("utf-8")


@given(inventories)
def test_inventories_for_terminals_have_no_control_characters(result: InventoryResult) -> None:
    for format in ("table", "json"):
        assert _controls(render_inventory(result, format).decode("utf-8")) == "", format


@given(probes)
def test_outcomes_are_valid_utf8_without_control_characters(result: ProbeResult) -> None:
    for format in PROBE_FORMATS:
        text = render_probe(result, format).decode("utf-8")
        assert _controls(text) == "", format
        assert render_verify(VerifyResult(result.models), format).decode("utf-8") == text
    json.dumps(json.loads(render_probe(result, "json")), ensure_ascii=False).encode()


@pytest.mark.parametrize("format", [name for name in SCAN_FORMATS if name != "full"])
def test_color_and_width_leave_machine_formats_alone(format: str) -> None:
    result = scan(RELATED)
    plain = render_scan(result, format, rules=RULES, base=BASE)
    assert render_scan(result, format, rules=RULES, base=BASE, color=True, width=20) == plain


def test_unknown_formats_are_errors_that_name_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'xml'; known are full, concise"):
        render_scan(scan(), "xml", rules=RULES, base=BASE)
    with pytest.raises(ValueError, match="table, json, csv"):
        render_inventory(InventoryResult((), 0), "xml")
    with pytest.raises(ValueError, match="known are text, json"):
        render_probe(probe(), "xml")
    with pytest.raises(ValueError, match="known are text, json"):
        render_verify(VerifyResult(()), "xml")
    with pytest.raises(ValueError, match="text, json, markdown"):
        render_rule(RULE, "xml")
    with pytest.raises(ValueError, match="text, json, markdown"):
        render_rules(RULES, "xml")


def test_every_named_format_renders() -> None:
    assert all(render_scan(scan(RELATED), name, rules=RULES, base=BASE) for name in SCAN_FORMATS)
    assert all(render_inventory(InventoryResult((), 0), name) for name in INVENTORY_FORMATS)
    assert all(render_probe(probe(MODEL), name) for name in PROBE_FORMATS)
    assert all(render_rule(RULE, name) and render_rules(RULES, name) for name in RULE_FORMATS)


def test_text_formats_import_nothing_slow() -> None:
    """A hook runs per commit and prints text: rich, xml and json would cost it start-up time."""
    code = """
import sys
from pathlib import Path
from bufaudit.report import render_scan
from bufaudit.results import ScanResult
render_scan(ScanResult((), 1), "full", rules={}, base=Path("/"), color=True)
render_scan(ScanResult((), 1), "concise", rules={}, base=Path("/"))
print(*{"rich", "xml", "json", "csv", "unicodedata", "bufaudit.report.sarif"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
