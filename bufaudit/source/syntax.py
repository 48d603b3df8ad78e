"""Small questions about syntax trees that several readers ask."""

from __future__ import annotations

import ast
from bisect import bisect_left
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern
from bufaudit.source.facts import Place
from bufaudit.source.text import split_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

Definition = ast.FunctionDef | ast.AsyncFunctionDef

#: Longer source texts are cut; they are for reading and for comparing with names.
_LONGEST_TEXT = 200
#: Characters from which on it pays to measure a line once for all of its nodes.
_LONG_LINE = 1_000
#: What `%` and `str.format` replace.
_DIRECTIVE = lazy_pattern(r"%(?:\(\w*\))?[-+ #0-9.*]*[a-zA-Z]")
_FIELD = lazy_pattern(r"\{[^{}]*\}")


def dotted(node: ast.AST) -> str:
    """`a.b.c` as text, with `()` for a call in the middle; "" for anything else."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            left = dotted(node.value)
            return f"{left}.{node.attr}" if left else ""
        case ast.Call():
            left = dotted(node.func)
            return f"{left}()" if left else ""
        case ast.Subscript():
            left = dotted(node.value)
            return f"{left}[]" if left else ""
    return ""


def last_name(text: str) -> str:
    """The part of a dotted name after its last dot, without calls and indices."""
    return text.rpartition(".")[2].rstrip("()[]")


def source_text(node: ast.AST | None) -> str:
    """An expression as Python text, cut where it is very long."""
    text = whole_text(node) if node is not None else ""
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def whole_text(node: ast.AST) -> str:
    """A node as Python text; "…" where it cannot be written."""
    try:
        return ast.unparse(node)
    except ValueError:
        # A number too long to be written in decimal, or an f-string that would need a backslash.
        return "…"


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, outer ones first, as `ast.walk` gives them but for contexts, which nobody asks about."""
    level = [node]
    while level:
        yield from level
        below: list[ast.AST] = []
        for parent in level:
            for name in parent._fields:
                value = getattr(parent, name, None)
                if isinstance(value, list):
                    below += [child for child in value if isinstance(child, ast.AST)]
                elif isinstance(value, ast.AST) and name != "ctx":
                    below.append(value)
        level = below


def identifiers(node: ast.AST) -> Iterator[str]:
    """Every name, attribute, keyword and string below a node."""
    for child in walk(node):
        match child:
            case ast.Name():
                yield child.id
            case ast.Attribute():
                yield child.attr
            case ast.keyword(arg=str(name)):
                yield name
            case ast.Constant(value=str(text)):
                yield text
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield child.name


def constant_string(node: ast.AST | None) -> str | None:
    """The value of a string literal."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def name_pattern(node: ast.AST) -> str | None:
    """The string that an expression makes, with `{}` for what is computed; None where nothing of it is literal."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr():
            return "".join(
                part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "{}"
                for part in node.values
            )
        case ast.BinOp(op=ast.Add()):
            return (name_pattern(node.left) or "{}") + (name_pattern(node.right) or "{}")
        case ast.BinOp(op=ast.Mod(), left=ast.Constant(value=str(text))):
            return _DIRECTIVE.sub("{}", text)
        case ast.Call(func=ast.Attribute(attr="format", value=ast.Constant(value=str(text)))):
            return _FIELD.sub("{}", text)
    return None


def branches_of_test(test: ast.AST) -> Iterator[ast.AST]:
    """The operands of a condition, through `and`, `or` and `not`."""
    match test:
        case ast.BoolOp():
            for value in test.values:
                yield from branches_of_test(value)
        case ast.UnaryOp(op=ast.Not()):
            yield from branches_of_test(test.operand)
        case _:
            yield test


class Places:
    """Makes places from nodes of one file, whose byte offsets become columns in characters."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._measured: tuple[int, list[int]] = (0, [])

    def of(self, node: ast.expr | ast.stmt, statement: ast.stmt) -> Place:
        """The place of `node` within `statement`."""
        last = statement.end_lineno or statement.lineno
        body = getattr(statement, "body", None)
        if isinstance(body, list) and body:
            last = max(statement.lineno, body[0].lineno - 1)
        end_line = node.end_lineno or node.lineno
        return Place(
            line=node.lineno,
            column=self._column(node.lineno, node.col_offset),
            end_line=end_line,
            end_column=self._column(end_line, node.end_col_offset or 0),
            first_line=min(statement.lineno, node.lineno),
            last_line=max(last, node.lineno),
        )

    @cached_property
    def _lines(self) -> list[str]:
        return split_lines(self._text)

    def comment_at(self, statement: ast.stmt) -> str:
        """The comments right above a statement and on its last line."""
        first = statement.lineno - 1
        while first > 0 and self._lines[first - 1].lstrip().startswith("#"):
            first -= 1
        last = self._lines[(statement.end_lineno or statement.lineno) - 1]
        return "\n".join((*self._lines[first : statement.lineno - 1], last.partition("#")[2]))

    def _column(self, line: int, offset: int) -> int:
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        if not text.isascii():
            if len(text) > _LONG_LINE:
                return bisect_left(self._offsets(line, text), offset) + 1
            offset = len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace"))
        return offset + 1

    def _offsets(self, line: int, text: str) -> list[int]:
        """Where in its bytes each character of a line starts, kept for the nodes to come."""
        if line != self._measured[0]:
            widths = (len(char.encode("utf-8", "surrogatepass")) for char in text)
            self._measured = line, list(accumulate(widths, initial=0))
        return self._measured[1]
