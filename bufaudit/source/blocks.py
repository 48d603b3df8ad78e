"""Top-level blocks of a file, found without parsing it, and a skeleton in which dull blocks are blanked out.

Parsing is what a scan costs. Most classes and functions of a model repository hold nothing that any fact
comes from, which a search for a few words tells at once. Such a block is replaced by an empty one of the same
name on the same lines, so that what is parsed is a fraction of the file and every line keeps its number.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

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
_CONSTRUCTED = re.compile(r"[A-Z]\w*\(")
_PREFIX = re.compile(r"[A-Za-z_][\w.]*$")
_LONGEST_PREFIX = 80


#: A module that a factory makes (one that makes layers is told their class), or that is given, by its name.
_MADE = re.compile(
    r"self\.\w+\s*=\s*(?:\w+\.)*(?:make|build|create|construct)_(?!layers\b)\w*\("
    r"|self\.\w+\s*(?::[^=\n]*)?=\s*(?:\w+_)?(?:backbone|encoder|decoder|body|trunk|net|network|model|module|extractor|"
    r"representation|policy|actor|critic)\s*(?:;|$)",
    re.MULTILINE,
)
#: Something that the constructor is given; a module if it is then called.
_GIVEN = re.compile(r"^[ \t]*self\.(\w+)[ \t]*(?::[^=\n]*)?=[ \t]*\w+[ \t]*$", re.MULTILINE)
#: Given and called, and yet without state of their own.
_FUNCTION = re.compile(r"act|fn|func|loss|drop|criterion|callback|hook|init|transform|token|logger|rng|sampler|dist")
_STATELESS = "track_running_stats=False"


@dataclass(frozen=True, slots=True)
class Block:
    """A top-level `class` or `def`: the offsets of its first character and of what follows it."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Parts:
    """What the objects of a class are made of.

    `children` are the capitalised names that its block calls: classes, for the most part. An `open` class holds
    modules that it is given, or that a factory makes, of whatever class.
    """

    children: tuple[str, ...] = ()
    open: bool = False


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


def parts_of(code: str, block: Block) -> Parts:
    """What the objects of a class are made of, read off the words of its code, as `code_of` gives it, alone."""
    names = set(_CONSTRUCTED.findall(code, block.start, block.end))
    if code.find(_STATELESS, block.start, block.end) >= 0:
        names = {name for name in names if not _always_stateless(name, code, block)}
    children = {_with_prefix(name, code, block) for name in names}
    return Parts(tuple(sorted(children)), _is_open(code, block))


def _always_stateless(name: str, code: str, block: Block) -> bool:
    calls = re.findall(rf"\b{re.escape(name)}[^()]*\)", code[block.start : block.end])
    return bool(calls) and all(_STATELESS in call for call in calls)


def _is_open(code: str, block: Block) -> bool:
    if _MADE.search(code, block.start, block.end):
        return True
    given = {name for name in _GIVEN.findall(code, block.start, block.end) if not _FUNCTION.search(name)}
    return any(code.find(f"self.{name}(", block.start, block.end) >= 0 for name in given)


def _with_prefix(name: str, code: str, block: Block) -> str:
    """`Linear(` as `nn.Linear`, if it is first written so in the block."""
    position = code.find(name, block.start, block.end)
    if code[position - 1] != ".":
        return name[:-1]
    prefix = _PREFIX.search(code, max(block.start, position - _LONGEST_PREFIX), position)
    return f"{prefix[0]}{name[:-1]}" if prefix else name[:-1]


def skeleton(
    text: str, definitions: tuple[Block, ...], words: tuple[str, ...], pattern: re.Pattern[str] | None = None
) -> str:
    """`text` with the body of each definition that holds none of `words`, and no `pattern`, blanked out by lines."""
    kept = _holding(text, definitions, words)
    if pattern is not None:
        kept |= _matching(text, definitions, pattern)
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


def _matching(text: str, definitions: tuple[Block, ...], pattern: re.Pattern[str]) -> set[int]:
    """The positions of the definitions in which a pattern is found."""
    starts = [block.start for block in definitions]
    return {bisect_right(starts, match.start()) - 1 for match in pattern.finditer(text)}


def lines_of(text: str, definitions: tuple[Block, ...]) -> list[int]:
    """The line that each definition starts on, from 1."""
    numbers = []
    line = 1
    position = 0
    for block in definitions:
        line += text.count("\n", position, block.start)
        position = block.start
        numbers.append(line)
    return numbers


def _empty_definition(text: str, block: Block) -> str | None:
    if text.startswith("class", block.start):
        match = _CLASS_HEADER.match(text, block.start, block.end)
        return f"{match[0]} 0" if match else None
    match = _FUNCTION_NAME.match(text, block.start, block.end)
    return f"def {match['name']}(): 0" if match else None
