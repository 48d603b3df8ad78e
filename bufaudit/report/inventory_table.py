"""`table`: an inventory for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.report.escapes import printable
from bufaudit.report.terminal import BOLD, align, cells, count, paint, shorten

if TYPE_CHECKING:
    from bufaudit.results import InventoryResult, Registration

_HEADER = ("class", "name", "persistent", "value", "where")
_VALUE = 3
_PERSISTENT_ROOM = 24
_LEAST_VALUE_ROOM = 16
_CONDITION_ROOM = 40


def render(result: InventoryResult, *, color: bool, width: int) -> str:
    """One line per registration, and a closing line with their number.

    Only expressions are shortened, to what `width` leaves; a line with long names is wider than that.
    """
    files = count(result.files, "file")
    if not result.registrations:
        return f"No registrations in {files}.\n"
    rows = [_HEADER, *(_row(registration) for registration in result.registrations)]
    taken = sum(max(cells(row[column]) for row in rows) + 2 for column in range(len(_HEADER)) if column != _VALUE)
    room = max(width - taken, _LEAST_VALUE_ROOM)
    header, *lines = align([(*row[:_VALUE], shorten(row[_VALUE], room), row[_VALUE + 1]) for row in rows])
    closing = f"Found {count(len(result.registrations), 'registration')} in {files}."
    return "\n".join([paint(header, BOLD, color), *lines, "", closing]) + "\n"


def _row(registration: Registration) -> tuple[str, str, str, str, str]:
    where = f"{registration.path}:{registration.line}"
    if registration.inherited_from is not None:
        where += f" (inherited from {registration.inherited_from})"
    if registration.condition is not None:
        where += f" (if {shorten(_one_line(registration.condition), _CONDITION_ROOM)})"
    if registration.restored_by is not None:
        where += f" (restored by {registration.restored_by})"
    return (
        printable(registration.class_name or "-"),
        printable(registration.name),
        _persistence(registration.persistent),
        _one_line(registration.value),
        printable(where),
    )


def _persistence(persistent: bool | str) -> str:
    if isinstance(persistent, str):
        return shorten(_one_line(persistent), _PERSISTENT_ROOM)
    return "yes" if persistent else "no"


def _one_line(expression: str) -> str:
    return printable(" ".join(expression.split()))
