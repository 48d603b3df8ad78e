"""A family is passed over where its facts are missing, and would have found nothing there."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from bufaudit.catalogue import rules
from bufaudit.checks import _FAMILIES
from bufaudit.checks.context import Subject
from bufaudit.project import Project
from bufaudit.source.reading import FactsStore, read_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("code", [code for code, rule in rules().items() if rule.code_blocks("Example")])
def test_what_is_passed_over_finds_nothing(code: str, tmp_path: Path) -> None:
    for number, text in enumerate(rules()[code].code_blocks("Example")):
        path = tmp_path / f"example_{number}.py"
        path.write_text(text, "utf-8")
        facts = read_file(str(path))
        store = FactsStore()
        subject = Subject(str(path), facts, Project(store.load, store.parts, store.mentions, ()))
        found = {family for family, _ in _FAMILIES if list(import_module(f"bufaudit.checks.{family}").check(subject))}
        asked = {family for family, names in _FAMILIES if any(getattr(facts, name) for name in names)}
        assert found <= asked
