"""A line of source and the carets under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit.report.escapes import printable
from bufaudit.report.terminal import ELLIPSIS, cells

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAB = "    "
#: Characters to either side; more than any terminal has room for.
_FAR = 2_000


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A source line as a terminal shows it, and a line of carets that stand under the span."""

    line: str
    carets: str


def excerpt(source: str, start: int, end: int | None, room: int) -> Excerpt:
    """The span of `source` from column `start` to before `end` (None: to the end of the line), underlined.

    Columns count characters from 1. Tabs become spaces and unprintable characters escapes. A line that takes
    more than `room` cells is cut around the span.
    """
    # Of a very long line, what lies far from the start of the span cannot be seen anyway.
    skipped = max(min(start, len(source)) - _FAR, 0)
    text = source[skipped : skipped + 2 * _FAR].rstrip()
    start -= skipped
    end = None if end is None else end - skipped
    pieces = [_TAB if char == "\t" else printable(char) for char in text]
    widths = [cells(piece) for piece in pieces]
    first = min(max(start - 1, 0), len(pieces))
    last = len(pieces) if end is None else min(max(end - 1, first), len(pieces))
    if sum(widths) <= room and not skipped:
        left, right, before, after = 0, len(pieces), "", ""
    else:
        left, right = _window(widths, first, last, max(room - 2 * cells(ELLIPSIS), 1))
        before = ELLIPSIS if left > 0 or skipped else ""
        after = ELLIPSIS if right < len(pieces) else ""
    indent = cells(before) + sum(widths[left:first])
    carets = max(sum(widths[first : min(last, right)]), 1)
    return Excerpt(before + "".join(pieces[left:right]) + after, " " * indent + "^" * carets)


def _window(widths: Sequence[int], first: int, last: int, room: int) -> tuple[int, int]:
    """The pieces to show in `room` cells: from the start of the line if the span fits, else from near it."""
    left = 0
    if sum(widths[:last]) > room:
        left = first
        context = room // 4
        while left > 0 and widths[left - 1] <= context:
            left -= 1
            context -= widths[left]
    right = left
    while right < len(widths) and widths[right] <= room:
        room -= widths[right]
        right += 1
    return left, right
