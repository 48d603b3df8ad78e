"""What a terminal needs to know: how many cells text takes, how to align it, and how to colour it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.report.escapes import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

BOLD = "1"
RED = "1;31"
YELLOW = "1;33"
BLUE = "1;34"
CYAN = "1;36"

ELLIPSIS = "…"


def paint(text: str, style: str, color: bool) -> str:
    """`text` in an ANSI style where `color` is on."""
    return f"\x1b[{style}m{text}\x1b[0m" if color and text else text


def cells(text: str) -> int:
    """How many terminal cells printable text takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    import unicodedata

    total = 0
    for char in text:
        if unicodedata.category(char) not in ("Mn", "Me"):
            total += 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
    return total


def shorten(text: str, room: int) -> str:
    """`text` if it fits into `room` cells, else its beginning and an ellipsis."""
    if cells(text) <= room:
        return text
    kept = ""
    for char in text:
        if cells(kept + char) >= room:
            break
        kept += char
    return kept.rstrip() + ELLIPSIS


def wrapped(start: str, text: str, indent: str, width: int) -> list[str]:
    """`text` after `start` in lines of up to `width` characters, those after the first indented; no word is cut."""
    import textwrap

    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [start.rstrip()]


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line per row, all of the same length, columns two cells apart; the last is not padded."""
    if not rows:
        return []
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_padded(row, widths)).rstrip() for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [text + " " * (width - cells(text)) for text, width in zip(row, widths, strict=True)]


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
