"""Top-level blocks of a file, found without parsing it, and a skeleton in which dull blocks are blanked out.

Parsing is what a scan costs. Most classes and functions of a model repository hold nothing that any fact
comes from, which a search for a few words tells at once. Such a block is replaced by an empty one of the same
name on the same lines, so that what is parsed is a fraction of the file and every line keeps its number.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Comments, strings (of triple quotes the opening only) and the starts of top-level statements. Every alternative
#: begins with a literal character, which is what lets the search skip over all else at full speed.
_TRIPLE_QUOTES = ('"' * 3, "'" * 3)
_LANDMARK = re.compile(
    "|".join(
        (
            r"#[^\n]*",
            *_TRIPLE_QUOTES,
            r'"(?:[^"\\\n]++|\\.)*+"?',
            r"'(?:[^'\\\n]++|\\.)*+'?",
            r"\n(?:[ \t\f]*\f)?[^\s#)\]}\\]",
        )
    ),
    re.DOTALL,
)
_DEFINITION = re.compile(r"(?:async[ \t]+)?def[ \t]|class[ \t]")
_CLASS_HEADER = re.compile(r"class[ \t]+\w+[ \t]*(?:\((?:[\w., \t\n]|=)*\))?[ \t]*:")
_FUNCTION_NAME = re.compile(r"(?:async[ \t]+)?def[ \t]+(?P<name>\w+)")


@dataclass(frozen=True, slots=True)
class Block:
    """A top-level `class` or `def`: the offsets of its first character and of what follows it."""

    start: int
    end: int


def blocks(text: str) -> tuple[Block, ...]:
    """The top-level definitions of `text`, in order.

    `text` has newlines as a line's only end. Text that Python could not tokenize gives blocks all the same;
    what comes of them is then decided by the parser.
    """
    found = []
    opened: int | None = None
    position = commented = 0
    text = "\n" + text
    while (match := _LANDMARK.search(text, position)) is not None:
        landmark = match[0]
        position = match.end()
        if landmark in _TRIPLE_QUOTES:
            position = _end_of_string(text, landmark, position)
        elif landmark[0] == "#":
            commented = position
        elif landmark[0] == "\n":
            position -= 1
            if commented != match.start() and _is_continued(text, match.start()):
                continue
            if opened is not None:
                found.append(Block(opened - 1, position - 1))
            opened = position if _DEFINITION.match(text, position) else None
    if opened is not None:
        found.append(Block(opened - 1, len(text) - 1))
    return tuple(found)


def _is_continued(text: str, newline: int) -> bool:
    """Whether the line that ends at `newline`, no comment, goes on in the next; one of a backslash alone is no line."""
    while newline > 0 and text[newline - 1] == "\\":
        start = text.rfind("\n", 0, newline) + 1
        if newline - start > 1:
            return True
        newline = start - 1
    return False


def _end_of_string(text: str, quotes: str, position: int) -> int:
    while (closing := text.find(quotes, position)) >= 0:
        backslashes = closing - len(text[position:closing].rstrip("\\")) - position
        if backslashes % 2 == 0:
            return closing + len(quotes)
        position = closing + 1
    return len(text)


def code_of(text: str) -> str:
    """`text` with spaces in place of comments and strings, so that every offset stays."""
    pieces = []
    copied = position = 0
    while (match := _LANDMARK.search(text, position)) is not None:
        position = match.end()
        if match[0] in _TRIPLE_QUOTES:
            position = _end_of_string(text, match[0], position)
        elif match[0][0] == "\n":
            position -= 1
            continue
        pieces += [text[copied : match.start()], " " * (position - match.start())]
        copied = position
    pieces.append(text[copied:])
    return "".join(pieces)


def skeleton(text: str, definitions: tuple[Block, ...], words: tuple[str, ...], offsets: Sequence[int] = ()) -> str:
    """`text` with the body of each definition that holds none of `words`, and no offset, blanked out by lines."""
    starts = [block.start for block in definitions]
    kept = _holding(text, definitions, words) | {bisect_right(starts, offset) - 1 for offset in offsets}
    pieces = []
    position = 0
    for index, block in enumerate(definitions):
        header = None if index in kept else _empty_definition(text, block)
        if header is None:
            continue
        lines = text.count("\n", block.start, block.end) - header.count("\n")
        pieces += [text[position : block.start], header, "\n" * lines]
        position = block.end
    pieces.append(text[position:])
    return "".join(pieces)


def _holding(text: str, definitions: tuple[Block, ...], words: tuple[str, ...]) -> set[int]:
    """The positions of the definitions that hold one of `words`."""
    starts = [block.start for block in definitions]
    found = set()
    for word in words:
        position = text.find(word)
        while position >= 0:
            index = bisect_right(starts, position) - 1
            inside = index >= 0 and position + len(word) <= definitions[index].end
            if inside:
                found.add(index)
            position = text.find(word, definitions[index].end if inside else position + 1)
    return found


def _empty_definition(text: str, block: Block) -> str | None:
    if text.startswith("class", block.start):
        match = _CLASS_HEADER.match(text, block.start, block.end)
        return f"{match[0]} 0" if match else None
    match = _FUNCTION_NAME.match(text, block.start, block.end)
    return f"def {match['name']}(): 0" if match else None
