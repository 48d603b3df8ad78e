"""GitHub's runner must read back what was found, and nothing in a name may start a command of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given

from bufaudit.report.github import escape_data, escape_property, render

from .samples import FINDING, FIXABLE, NOTICE, RELATED, scan, scans, texts

if TYPE_CHECKING:
    from bufaudit.results import ScanResult

_COMMAND = re.compile(r"::(error|warning|notice) file=([^,:]*),([a-zA-Z=0-9,]*),title=([^,:]*)::(.*)")


def _unescaped(text: str) -> str:
    """What the runner does: the percent sign last."""
    for escape, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(escape, char)
    return text


def test_the_exact_command() -> None:
    assert render(scan(RELATED)) == (
        "::error file=src/model.py,line=12,endLine=12,col=24,endColumn=48,title=BUF101 params-only-load::"
        "checkpoint values reach parameters only; buffers keep their initial value"
        "%0Asrc/norm.py:3: `scale` is registered here\n"
    )


def test_columns_are_left_out_of_a_finding_over_several_lines() -> None:
    assert render(scan(FIXABLE)).startswith(
        "::warning file=src/model.py,line=7,endLine=9,title=BUF301 params-only-sync::"
    )


def test_info_is_a_notice() -> None:
    assert render(scan(NOTICE)).startswith("::notice ")


def test_a_name_cannot_leave_its_property_or_start_a_command() -> None:
    finding = replace(FINDING, path="a,line=1::x%\n::error::\x1b.py", message="50%\n::stop")
    assert render(scan(finding)).splitlines() == [
        "::error file=a%2Cline=1%3A%3Ax%25%0A%3A%3Aerror%3A%3A\\x1b.py,"
        "line=12,endLine=12,col=24,endColumn=48,title=BUF101 params-only-load::50%25\\n::stop"
    ]


def test_a_clean_scan_is_empty() -> None:
    assert render(scan()) == ""


@given(texts)
def test_escapes_are_reversible_and_one_line(text: str) -> None:
    assert _unescaped(escape_property(text)) == text
    assert not set(escape_property(text)) & set("\r\n:,")
    assert not set(escape_data(text)) & set("\r\n")


@given(scans)
def test_one_well_formed_command_per_finding(result: ScanResult) -> None:
    lines = render(result).splitlines()
    assert len(lines) == len(result.findings)
    assert all(_COMMAND.fullmatch(line) for line in lines)
