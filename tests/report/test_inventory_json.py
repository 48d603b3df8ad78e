"""Programs read these keys: they may grow, never change."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given

from bufaudit.report.escapes import encodable
from bufaudit.report.inventory_json import KEYS, render
from bufaudit.results import InventoryResult, Registration

from .samples import REGISTRATION, inventories


def test_the_whole_document() -> None:
    document = json.loads(render(InventoryResult((REGISTRATION,), 1)))
    assert document == {
        "version": 1,
        "registrations": [
            {
                "path": "src/norm.py",
                "line": 3,
                "column": 9,
                "module": "src.norm",
                "class": "Outer.Norm",
                "name": "{}_inv_freq",
                "persistent": False,
                "value": "torch.ones(\n    dim)",
                "how": "nn.Buffer",
                "restored_by": None,
                "inherited_from": None,
                "condition": None,
            }
        ],
    }
    assert tuple(document["registrations"][0]) == KEYS


@given(inventories)
def test_registrations_survive_the_round_trip(result: InventoryResult) -> None:
    records = json.loads(render(result))["registrations"]
    assert [_registration(record) for record in records] == [_in_utf8(each) for each in result.registrations]


def _registration(record: dict[str, Any]) -> Registration:
    fields: dict[str, Any] = dict(record)
    fields["class_name"] = fields.pop("class")
    return Registration(**fields)


def _in_utf8(registration: Registration) -> Registration:
    values = ((name, getattr(registration, name)) for name in Registration.__slots__)
    escaped: dict[str, Any] = {name: encodable(value) if isinstance(value, str) else value for name, value in values}
    return Registration(**escaped)
