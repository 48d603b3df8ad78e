"""Text that is safe to write: nothing that UTF-8 cannot hold, nothing that a terminal would obey.

Undecodable bytes of a file name arrive as surrogate escapes (see `os.fsdecode`) and leave as `\\xff`.
"""

from __future__ import annotations


def encodable(text: str) -> str:
    """`text` with every surrogate written as a backslash escape, so that it can be encoded."""
    if text.isascii():
        return text
    return "".join(_escape(char) if "\ud800" <= char <= "\udfff" else char for char in text)


def printable(text: str, keep: str = "") -> str:
    """`text` with every character that does not print (control, format, surrogate) as a backslash escape.

    Line breaks are escaped too, so the outcome is one line. Characters in `keep` stay.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escape(char) for char in text)


def _escape(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
