"""The default output: a person must see what, where and why at a glance, on any terminal."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given

from bufaudit.report.full import render
from bufaudit.report.terminal import cells
from bufaudit.results import Fix, Related, ScanResult

from .samples import FINDING, FIXABLE, NOTICE, scan, scans

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def _plain(result: ScanResult, width: int = 100) -> str:
    return render(result, statistics=False, color=False, width=width)


def test_a_whole_report() -> None:
    finding = replace(
        FINDING,
        related=(Related("src/norm.py", 3, "`scale` is registered here"),),
        fix=Fix("unsafe", "walk the state dict"),
    )
    assert _plain(scan(finding)) == (
        """\
BUF101 params-only-load: checkpoint values reach parameters only; buffers keep their initial value
  --> src/model.py:12:24
   |
12 |     for name, param in model.named_parameters():
   |                        ^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = error, high confidence, in Loader.load
   = note: src/norm.py:3: `scale` is registered here
   = fix (--unsafe-fixes): walk the state dict

Found 1 problem in 12 files (1 BUF101).
1 can be fixed with --unsafe-fixes.
"""
    )


def test_a_clean_report() -> None:
    assert _plain(scan()) == "No problems in 12 files.\n"


def test_a_finding_without_source_or_symbol_still_has_its_place() -> None:
    finding = replace(FINDING, code="BUF000", name="unreadable-file", message="m", excerpt="", symbol="")
    assert _plain(scan(finding)).splitlines()[:3] == [
        "BUF000 unreadable-file: m",
        "  --> src/model.py:12:24",
        "   = error, high confidence",
    ]


def test_a_statement_over_several_lines_is_marked_to_the_end_of_its_first() -> None:
    finding = replace(FIXABLE, excerpt="x = [", column=5)
    assert "7 | x = [\n  |     ^\n" in _plain(scan(finding))


def test_long_messages_are_wrapped_and_names_are_not_cut() -> None:
    finding = replace(FINDING, message="one two three four five six seven `" + "n" * 50 + "` end")
    lines = _plain(scan(finding), width=40).splitlines()
    assert lines[:4] == [
        "BUF101 params-only-load: one two three",
        "  four five six seven",
        "  `" + "n" * 50 + "`",
        "  end",
    ]


def test_the_narrowest_terminal_still_gets_a_report() -> None:
    assert _plain(scan(FINDING), width=1) == _plain(scan(FINDING), width=40)


def test_source_lines_fit_the_terminal() -> None:
    finding = replace(FINDING, excerpt="界" * 200, column=150, end_column=160)
    source = [line for line in _plain(scan(finding), width=60).splitlines() if " | " in line]
    assert max(map(cells, source)) <= 60


def test_color_adds_only_ansi_codes() -> None:
    result = scan(FINDING, FIXABLE, NOTICE)
    colored = render(result, statistics=False, color=True, width=100)
    assert colored != _plain(result)
    assert _ANSI.sub("", colored) == _plain(result)


def test_severities_have_colors_of_their_own() -> None:
    starts = {
        render(scan(finding), statistics=False, color=True, width=80).partition("BUF")[0]
        for finding in (FINDING, FIXABLE, NOTICE)
    }
    assert len(starts) == 3


def test_statistics_replace_the_findings_and_keep_the_summary() -> None:
    assert render(scan(FINDING), statistics=True, color=False, width=80) == (
        "1  BUF101  params-only-load\nFound 1 problem in 12 files (1 BUF101).\n"
    )


@given(scans)
def test_color_never_changes_the_text(result: ScanResult) -> None:
    assert _ANSI.sub("", render(result, statistics=False, color=True, width=60)) == _plain(result, 60)
