"""A spreadsheet must read one record per registration, whatever the value's source text holds."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

from hypothesis import given

from bufaudit.report import inventory_json
from bufaudit.report.inventory_csv import render
from bufaudit.results import InventoryResult

from .samples import REGISTRATION, inventories


def _read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_the_exact_text() -> None:
    conditional = replace(REGISTRATION, value='f("a", b)', persistent="not self.training", condition="dim")
    assert render(InventoryResult((conditional,), 1)) == (
        "path,line,column,module,class,name,persistent,value,how,restored_by,inherited_from,condition\r\n"
        'src/norm.py,3,9,src.norm,Outer.Norm,{}_inv_freq,not self.training,"f(""a"", b)",nn.Buffer,,,dim\r\n'
    )


def test_an_empty_inventory_has_its_header() -> None:
    assert _read(render(InventoryResult((), 3))) == [list(inventory_json.KEYS)]


@given(inventories)
def test_records_have_the_values_of_json(result: InventoryResult) -> None:
    header, *rows = _read(render(result))
    records = json.loads(inventory_json.render(result))["registrations"]
    assert rows == [[_field(record[key]) for key in header] for record in records]


def _field(value: str | int | bool | None) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, bool) else str(value)
