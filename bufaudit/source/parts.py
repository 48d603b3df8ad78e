"""What the objects of a class are made of, read off the words of its code when somebody asks.

Few questions need it, and it concerns every class that there is; so it is no fact, and nothing of it is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bufaudit.patterns import lazy_pattern
from bufaudit.source.blocks import Block, blocks, code_of

_CLASS_NAME = lazy_pattern(r"class[ \t]+(\w+)")
# A word is tried as a whole, and not again from each of its letters.
_CONSTRUCTED = lazy_pattern(r"\b[^\WA-Z]*([A-Z]\w*)\(")
_SIMPLE_CALL = lazy_pattern(r"\b([A-Z]\w*)\([^()]*\)")
_PREFIX = lazy_pattern(r"[A-Za-z_][\w.]*$")
_LONGEST_PREFIX = 80
#: A module that a factory makes (one that makes layers is told their class), or that is given, by its name.
_MADE = lazy_pattern(
    r"self\.\w+\s*=\s*(?:\w+\.)*(?:make|build|create|construct)_(?!layers\b)\w*\("
    r"|self\.\w+\s*(?::[^=\n]*)?=\s*(?:\w+_)?(?:backbone|encoder|decoder|body|trunk|net|network|model|module|extractor|"
    r"representation|policy|actor|critic)\s*(?:;|$)",
    re.MULTILINE,
)
#: Something that the constructor is given; a module if it is then called.
_GIVEN = lazy_pattern(r"^[ \t]*self\.(\w+)[ \t]*(?::[^=\n]*)?=[ \t]*\w+[ \t]*$", re.MULTILINE)
#: Given and called, and yet without state of their own.
_FUNCTION = lazy_pattern(r"act|fn|func|loss|drop|criterion|callback|hook|init|transform|token|logger|rng|sampler|dist")
_CALLED = lazy_pattern(r"self\.(\w+)\(")
_STATELESS = "track_running_stats=False"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the objects of a class are made of.

    `children` are the capitalised names that its block calls: classes, for the most part. An `open` class holds
    modules that it is given, or that a factory makes, of whatever class.
    """

    children: tuple[str, ...] = ()
    open: bool = False


def parts_of_classes(text: str) -> dict[str, Parts]:
    """The parts of each top-level class of a file, by its name."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    code = code_of(text)
    found = {}
    for block in blocks(text):
        header = _CLASS_NAME.match(text, block.start)
        if header is not None:
            found[header[1]] = parts_of(code, Block(header.end() + 1, block.end))
    return found


def parts_of(code: str, block: Block) -> Parts:
    """What the objects of a class are made of, read off the words of its code, as `code_of` gives it, alone."""
    first: dict[str, int] = {}
    for match in _CONSTRUCTED.finditer(code, block.start, block.end):
        first.setdefault(match[1], match.start(1))
    stateless = _stateless(code, block) if code.find(_STATELESS, block.start, block.end) >= 0 else ()
    children = {_with_prefix(name, code, block, first[name]) for name in first if name not in stateless}
    return Parts(tuple(sorted(children)), _is_open(code, block))


def _stateless(code: str, block: Block) -> set[str]:
    """The classes of which each call says that they keep no running statistics."""
    says: dict[str, bool] = {}
    for call in _SIMPLE_CALL.finditer(code, block.start, block.end):
        says[call[1]] = says.get(call[1], True) and _STATELESS in call[0]
    return {name for name, always in says.items() if always}


def _is_open(code: str, block: Block) -> bool:
    if _MADE.search(code, block.start, block.end):
        return True
    given = {name for name in _GIVEN.findall(code, block.start, block.end) if not _FUNCTION.search(name)}
    return bool(given) and not given.isdisjoint(_CALLED.findall(code, block.start, block.end))


def _with_prefix(name: str, code: str, block: Block, position: int) -> str:
    """`Linear` as `nn.Linear`, if it is first written so in the block."""
    if code[position - 1] != ".":
        return name
    prefix = _PREFIX.search(code, max(block.start, position - _LONGEST_PREFIX), position)
    return f"{prefix[0]}{name}" if prefix else name
