"""The table is for reading: aligned, names whole, expressions short."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from bufaudit.report.escapes import printable
from bufaudit.report.inventory_table import render
from bufaudit.results import InventoryResult, Registration

from .samples import REGISTRATION, inventories


def _table(*registrations: Registration, width: int = 100, color: bool = False) -> str:
    return render(InventoryResult(registrations, 2), color=color, width=width)


def test_the_whole_table() -> None:
    inherited = replace(REGISTRATION, class_name="A", name="scale", persistent=True, inherited_from="b.Base")
    module_level = replace(REGISTRATION, class_name=None, persistent="keep or\n  x")
    assert _table(REGISTRATION, inherited, module_level) == (
        """\
class       name         persistent  value             where
Outer.Norm  {}_inv_freq  no          torch.ones( dim)  src/norm.py:3
A           scale        yes         torch.ones( dim)  src/norm.py:3 (inherited from b.Base)
-           {}_inv_freq  keep or x   torch.ones( dim)  src/norm.py:3

Found 3 registrations in 2 files.
"""
    )


def test_nothing_registered() -> None:
    assert _table() == "No registrations in 2 files.\n"


def test_values_are_shortened_to_the_width() -> None:
    long = replace(REGISTRATION, value="torch.tensor(" + "1, " * 100 + ")")
    _, line, *_ = _table(long, width=80).splitlines()
    assert len(line) == 80
    assert "…" in line


def test_names_are_never_cut() -> None:
    name = "layers.{}." * 20
    assert name in _table(replace(REGISTRATION, name=name), width=40)


def test_only_the_header_is_colored() -> None:
    header, *lines = _table(REGISTRATION, color=True).splitlines()
    plain_header, *plain_lines = _table(REGISTRATION).splitlines()
    assert header == f"\x1b[1m{plain_header}\x1b[0m"
    assert lines == plain_lines


@given(inventories)
def test_one_line_per_registration_with_its_whole_name(result: InventoryResult) -> None:
    lines = render(result, color=False, width=60).splitlines()
    if result.registrations:
        rows = lines[1:-2]
        assert len(rows) == len(result.registrations)
        for row, registration in zip(rows, result.registrations, strict=True):
            assert printable(registration.name).strip() in row
