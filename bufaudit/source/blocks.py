"""Blocks of a file, found without parsing it, and a skeleton in which the dull ones are blanked out.

Parsing is what a scan costs. Most classes and functions of a model repository hold nothing that any fact
comes from, which a search for a few words tells at once, and so do most methods of the classes that are left. Such
a block is replaced by an empty one of the same name on the same lines, so that what is parsed is a fraction of the
file and every line keeps its number.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from bufaudit.patterns import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

#: How much of a class facts depend on.
Reach = Literal["class", "method", "constructor"]

_TRIPLE_QUOTES = ('"' * 3, "'" * 3)
_DEFINITION = lazy_pattern(r"(?:async[ \t]+)?def[ \t]|class[ \t]")
_CLASS_HEADER = lazy_pattern(r"class[ \t]+\w+[ \t]*(?:\((?:[\w., \t\n]|=)*\))?[ \t]*:")
_FUNCTION_NAME = lazy_pattern(r"(?:async[ \t]+)?def[ \t]+(?P<name>\w+)")
#: What comes between a class's header and the first line of its body, up to the indentation of that line, which is
#: of one kind of character: two indentations of one depth then read the same.
_BODY = lazy_pattern(r"[ \t]*(?:#[^\n]*)?(?:\n[ \t]*(?:#[^\n]*)?)*?(?=\n(?P<indent> +|\t+)[^\s#\\])")


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """What some facts never come without, by the offsets at which a text has it.

    `reach` says how much of a class those facts depend on where one of its methods has that: on the whole
    `class`, on that `method` alone, or on the method if it is the `constructor`, and else on the class.
    """

    offsets: Callable[[str], Iterable[int]]
    reach: Reach = "class"


def any_word(*words: str) -> Callable[[str], Iterator[int]]:
    """Finds where a text has one of some words, in whatever order."""

    def offsets(text: str) -> Iterator[int]:
        for word in words:
            position = text.find(word)
            while position >= 0:
                yield position
                position = text.find(word, position + len(word))

    return offsets


def any_match(pattern: str) -> Callable[[str], Iterator[int]]:
    """Finds where a text matches a pattern."""
    compiled = re.compile(pattern)
    return lambda text: (match.start() for match in compiled.finditer(text))


@dataclass(frozen=True, slots=True)
class Block:
    """A `class` or `def`: the offsets of its first character and of the line that follows it."""

    start: int
    end: int


def blocks(text: str) -> tuple[Block, ...]:
    """The top-level definitions of `text`, in order.

    `text` has newlines as a line's only end. Text that Python could not tokenize gives blocks all the same;
    what comes of them is then decided by the parser.
    """
    shifted = _definitions("\n" + text, 0, len(text) + 1, "")
    return tuple(Block(block.start - 1, block.end - 1) for block in shifted)


def methods(text: str, block: Block) -> tuple[Block, ...]:
    """The definitions in the body of a class, in order; none where it is not laid out as usual."""
    header = _CLASS_HEADER.match(text, block.start, block.end)
    body = _BODY.match(text, header.end(), block.end) if header else None
    if body is None or text.find("\f", block.start, block.end) >= 0:
        return ()
    return tuple(_definitions(text, body.end(), block.end, body["indent"]))


@lru_cache(maxsize=16)
def _landmarks(indent: str) -> re.Pattern[str]:
    """Comments, strings (of triple quotes the opening only) and the starts of statements of one indentation.

    Every alternative begins with a literal character, which is what lets the search skip over all else at full speed.
    """
    start = indent or r"(?:[ \t\f]*\f)?"
    return re.compile(
        "|".join(
            (
                r"#[^\n]*",
                *_TRIPLE_QUOTES,
                r'"(?:[^"\\\n]++|\\.)*+"?',
                r"'(?:[^'\\\n]++|\\.)*+'?",
                rf"\n{start}[^\s#)\]}}\\]",
            )
        ),
        re.DOTALL,
    )


def _definitions(text: str, position: int, end: int, indent: str) -> Iterator[Block]:
    """The definitions that begin a line of an indentation, from the newline at `position` on."""
    landmarks = _landmarks(indent)
    opened: int | None = None
    commented = 0
    while (match := landmarks.search(text, position, end)) is not None:
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
                yield Block(opened, match.start() + 1)
            opened = position if _DEFINITION.match(text, position) else None
    if opened is not None:
        yield Block(opened, end)


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
    landmarks = _landmarks("")
    while (match := landmarks.search(text, position)) is not None:
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


def skeleton(text: str, definitions: Sequence[Block], gates: Sequence[Gate]) -> str:
    """`text` with the definitions, and the methods, blanked out by lines that no gate says anything depends on."""
    hits = _hits(text, definitions, gates)
    pieces = []
    position = 0
    for index, definition in enumerate(definitions):
        for block in _dull_methods(text, definition, hits[index]) if index in hits else (definition,):
            header = _empty_definition(text, block)
            if header is None:
                continue
            lines = text.count("\n", block.start, block.end) - header.count("\n")
            pieces += [text[position : block.start], header, "\n" * lines]
            position = block.end
    pieces.append(text[position:])
    return "".join(pieces)


#: The offsets at which gates find something in one definition, by their reach.
_Hits = dict[Reach, list[int]]


def _hits(text: str, definitions: Sequence[Block], gates: Sequence[Gate]) -> dict[int, _Hits]:
    """What gates find in definitions, by the position of each."""
    starts = [block.start for block in definitions]
    hits: dict[int, _Hits] = {}
    for gate in gates:
        for offset in gate.offsets(text):
            index = bisect_right(starts, offset) - 1
            if index >= 0 and offset < definitions[index].end:
                hits.setdefault(index, {}).setdefault(gate.reach, []).append(offset)
    return hits


def _dull_methods(text: str, definition: Block, hits: _Hits) -> list[Block]:
    """The methods of a class that no fact depends on, by what was found in it."""
    if "class" in hits or not text.startswith("class", definition.start):
        return []
    dull = []
    for method in methods(text, definition):
        held = {reach for reach, places in hits.items() if any(method.start <= place < method.end for place in places)}
        if "constructor" in held and not text.startswith("def __init__(", method.start):
            return []
        if not held:
            dull.append(method)
    return dull


def _empty_definition(text: str, block: Block) -> str | None:
    if text.startswith("class", block.start):
        match = _CLASS_HEADER.match(text, block.start, block.end)
        return f"{match[0]} 0" if match else None
    match = _FUNCTION_NAME.match(text, block.start, block.end)
    return f"def {match['name']}(): 0" if match else None
