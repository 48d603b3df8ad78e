"""`json`: the versioned form of an inventory, for programs. It is plain ASCII; keys are only ever added."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bufaudit.report.escapes import encodable

if TYPE_CHECKING:
    from bufaudit.results import InventoryResult, Registration

KEYS = (
    "path",
    "line",
    "column",
    "module",
    "class",
    "name",
    "persistent",
    "value",
    "how",
    "restored_by",
    "inherited_from",
    "condition",
)


def render(result: InventoryResult) -> str:
    """All registrations as one object."""
    records = [registration_record(registration) for registration in result.registrations]
    return json.dumps({"version": 1, "registrations": records}, indent=2) + "\n"


def registration_record(registration: Registration) -> dict[str, str | int | bool | None]:
    """A registration under the names of `KEYS`, in their order, in text that can be encoded."""
    attributes = ("class_name" if key == "class" else key for key in KEYS)
    values = (getattr(registration, attribute) for attribute in attributes)
    return {key: encodable(value) if isinstance(value, str) else value for key, value in zip(KEYS, values, strict=True)}
