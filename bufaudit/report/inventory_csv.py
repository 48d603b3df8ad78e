"""`csv`: an inventory for spreadsheets, by RFC 4180."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from bufaudit.report.inventory_json import KEYS, registration_record

if TYPE_CHECKING:
    from bufaudit.results import InventoryResult


def render(result: InventoryResult) -> str:
    """A header, then each registration with the keys and values of `json`; null is an empty field."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(KEYS)
    for registration in result.registrations:
        writer.writerow(_field(value) for value in registration_record(registration).values())
    return out.getvalue()


def _field(value: str | int | bool | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
