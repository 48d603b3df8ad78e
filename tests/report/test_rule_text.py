"""Rules at a terminal: readable as plain text, formatted alike wherever it runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bufaudit.report.rule_text import render_list, render_page

from .samples import RETIRED, RULE, SYNC

if TYPE_CHECKING:
    import pytest

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def test_plain_page_is_the_markdown() -> None:
    page = render_page(RULE, color=False, width=80)
    assert page.startswith(
        "# params-only-load (BUF101)\n\nFamily load, error, medium confidence, no fix, since 0.1.0.\n\n"
        "## What it finds\n\n"
    )
    assert "\x1b" not in page


def test_colored_page_fits_and_keeps_brackets() -> None:
    page = render_page(RULE, color=True, width=50)
    text = _ANSI.sub("", page)
    assert text != page
    assert max(map(len, text.splitlines())) <= 50
    assert "model.named_parameters()" in text


def test_colored_page_does_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = render_page(RULE, color=True, width=60)
    for name, value in {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "20", "COLORTERM": "truecolor"}.items():
        monkeypatch.setenv(name, value)
    assert render_page(RULE, color=True, width=60) == before


def test_list_is_aligned_and_fits() -> None:
    assert render_list((RULE, RETIRED, SYNC), color=False, width=88) == (
        """\
code    name              severity  confidence  fix   finds
BUF101  params-only-load  error     medium      none  Checkpoint values that reach para…
BUF109  old-rule          retired   medium      none  Checkpoint values that reach para…
BUF301  params-only-sync  warning   medium      safe  Checkpoint values that reach para…
"""
    )
