"""The statements that give a module a parameter, read when somebody asks.

No check needs them, so they are no facts, and nothing of them is kept.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit.source.blocks import Gate, any_word, blocks, found_by, skeleton
from bufaudit.source.syntax import dotted, last_name, name_pattern, source_text, walk
from bufaudit.source.text import Unreadable, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

_GATE = Gate(any_word("Parameter", "register_parameter", "._parameters", "setattr("), reach="method")
#: What makes a parameter, or a container whose parameters have their positions or keys for names.
_CONSTRUCTORS = frozenset({"Parameter", "UninitializedParameter", "ParameterList", "ParameterDict"})


@dataclass(frozen=True, slots=True)
class ParameterPlace:
    """A line that gives a module a parameter, or makes a container of parameters one of its children.

    `class_name` is the class around it, `receiver` the expression whose module gets the parameter; `name` is a pattern
    with `{}` where the code computes it. One that is `empty` keeps the name for later.
    """

    class_name: str | None
    receiver: str
    name: str
    line: int
    empty: bool = False


def parameters_of(text: str) -> tuple[ParameterPlace, ...]:
    """Where the classes and functions of a file register parameters, in the order of its lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found = found_by((_GATE,), text)
    if not found[_GATE]:
        return ()
    tree = parse(skeleton(text, blocks(text), found))
    return () if isinstance(tree, Unreadable) else tuple(_below(tree, "", None))


def _below(node: ast.AST, prefix: str, class_name: str | None) -> Iterator[ParameterPlace]:
    """The places below a node; `prefix` goes before the names of what it defines."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.ClassDef(name=name):
                yield from _below(child, f"{prefix}{name}.", f"{prefix}{name}")
                continue
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield from _below(child, f"{prefix}{name}.<locals>.", class_name)
                continue
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from _assignment(target, value, class_name)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield from _assignment(target, value, class_name)
            case ast.Call():
                yield from _call(child, class_name)
        yield from _below(child, prefix, class_name)


def _assignment(target: ast.expr, value: ast.expr, class_name: str | None) -> Iterator[ParameterPlace]:
    match target:
        case ast.Tuple(elts=targets) | ast.List(elts=targets) if isinstance(value, ast.Tuple | ast.List):
            for inner, element in zip(targets, value.elts, strict=False):
                yield from _assignment(inner, element, class_name)
        case ast.Attribute(value=receiver, attr=name) if _makes_parameter(value):
            yield ParameterPlace(class_name, _receiver(receiver), name, target.lineno)
        case ast.Subscript(value=ast.Attribute(value=receiver, attr="_parameters"), slice=key):
            yield ParameterPlace(class_name, _receiver(receiver), _name(key), target.lineno, _is_none(value))


def _call(call: ast.Call, class_name: str | None) -> Iterator[ParameterPlace]:
    match call.func:
        case ast.Attribute(value=receiver, attr="register_parameter"):
            given: dict[str | None, ast.expr] = dict(zip(("name", "param"), call.args, strict=False))
            given |= {keyword.arg: keyword.value for keyword in call.keywords}
            if "name" in given:
                empty = _is_none(given.get("param"))
                yield ParameterPlace(class_name, _receiver(receiver), _name(given["name"]), call.lineno, empty)
        case ast.Name(id="setattr") if len(call.args) == 3:
            receiver, key, _ = call.args
            yield ParameterPlace(class_name, _receiver(receiver), _name(key), call.lineno)


def _makes_parameter(value: ast.expr) -> bool:
    """Whether a value is a parameter, or a container of them, on some branch of the expression."""
    calls = (node for node in walk(value) if isinstance(node, ast.Call))
    return any(last_name(dotted(call.func)) in _CONSTRUCTORS for call in calls)


def _receiver(node: ast.expr) -> str:
    return "self" if dotted(node) == "super()" else source_text(node)


def _name(node: ast.expr) -> str:
    return name_pattern(node) or "{}"


def _is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
