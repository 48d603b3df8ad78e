"""Which names the definitions of a file make things of, read off the words of its code when somebody asks.

As with `parts`, few questions need it, so it is no fact, and nothing of it is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bufaudit.source.blocks import blocks, code_of

_DEFINITION = re.compile(r"(?:async[ \t]+)?(?P<kind>def|class)[ \t]+(?P<name>\w+)[ \t]*(?P<bases>\([^():]*\))?")
_TABLE = re.compile(r"(?P<name>[A-Za-z_]\w*)[ \t]*(?::[^=\n]*)?=[ \t]*[^=\s]")
#: Called, looked up in, or, capitalised, given by a keyword or to a variable.
_USED = re.compile(
    r"(?P<called>[A-Za-z_]\w*)\s*(?:\(|\[|\.get\(|\.(?:_?from_config|from_pretrained|build|create)\()"
    r"|=\s*(?:\w+\.)*(?P<given>[A-Z]\w*)(?=\s*[,)\n])"
)
_WORD = re.compile(r"[A-Za-z_]\w*")
#: Words after which what is built has no memory until something gives it some.
_META = re.compile(
    r"with\s+(?:\w+\.)*device\(\s*[\"']meta|init_empty_weights\([^()]*include_buffers\s*=\s*True|init_on_device\(|"
    r"device\s*=\s*(?:(?:\w+\.)*device\(\s*)?[\"']meta|\.to_empty\(|\.to\(\s*[\"']meta[\"']"
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A top-level definition, or an assignment, and the names that it makes something of.

    `meta` is the line at which it asks for the meta device, or gives memory to what was built there.
    """

    name: str
    is_class: bool
    used: frozenset[str]
    meta: int | None


def mentions_of(text: str) -> tuple[Mention, ...]:
    """The definitions of a file, and the tables of names that it keeps."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    code = code_of(text)
    found = []
    position = 0
    for block in blocks(text):
        found += _tables(code, position, block.start)
        position = block.end
        header = _DEFINITION.match(code, block.start)
        if header is None:
            continue
        used = {match["called"] or match["given"] for match in _USED.finditer(code, header.end(), block.end)}
        used |= set(_WORD.findall(header["bases"] or "")) if header["kind"] == "class" else set()
        meta = _META.search(text, block.start, block.end)
        line = text.count("\n", 0, meta.start()) + 1 if meta else None
        found.append(Mention(header["name"], header["kind"] == "class", frozenset(used), line))
    return (*found, *_tables(code, position, len(code)))


def _tables(code: str, start: int, end: int) -> list[Mention]:
    """The assignments between two definitions, with every name up to the next one."""
    starts = [
        match
        for match in _TABLE.finditer(code, start, end)
        if match.start() == 0 or code[match.start() - 1] == "\n"
    ]
    ends = [*(match.start() for match in starts), end][1:]
    return [
        Mention(match["name"], is_class=False, used=frozenset(_WORD.findall(code, match.end() - 1, stop)), meta=None)
        for match, stop in zip(starts, ends, strict=False)
    ]
