"""What initialisers write: the buffers that a load through the meta device gets back."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from bufaudit.source import vocabulary
from bufaudit.source.blocks import Gate, any_match, any_word
from bufaudit.source.facts import RestoreFact
from bufaudit.source.guards import guards_of
from bufaudit.source.syntax import Definition, constant_string, dotted, last_name, name_pattern, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bufaudit.source.facts import Guard
    from bufaudit.source.syntax import Places

How = Literal["function", "in-place", "assignment", "mark"]

#: An initialiser.
GATE = Gate(any_match("def[ \\t]+(?:" + "|".join(vocabulary.INITIALISERS) + ")"), reach="method")
#: A part whose weights another library may load.
PRETRAINED = Gate(any_word("pretrained="))


def restores_of_class(node: ast.ClassDef, qualified_name: str, places: Places) -> Iterator[RestoreFact]:
    """The buffers that the initialisers of a class write: of its own, and of the classes that they ask for."""
    for method in node.body:
        if isinstance(method, Definition) and method.name.startswith(vocabulary.INITIALISERS):
            arguments = [argument.arg for argument in method.args.args]
            name = f"{qualified_name}.{method.name}"
            roots: dict[str, str | None] = {"self": None}
            if len(arguments) > 1:
                roots[arguments[1]] = "*"
            for fact in _block(method.body, name, roots, frozenset(), places):
                if fact.how == "mark" and fact.attribute in _flags_read(method):
                    fact = replace(fact, guards=fact.guards | {"initialized"})
                yield fact


def _block(
    body: Sequence[ast.stmt],
    initialiser: str,
    roots: Mapping[str, str | None],
    guards: frozenset[Guard],
    places: Places,
) -> Iterator[RestoreFact]:
    for statement in body:
        match statement:
            case ast.If():
                inner = guards | guards_of(statement.test)
                asked = _classes_asked(statement.test)
                for variable, targets in asked.items():
                    for target in targets:
                        yield from _block(statement.body, initialiser, {**roots, variable: target}, inner, places)
                if not asked:
                    yield from _block(statement.body, initialiser, roots, inner, places)
                yield from _block(statement.orelse, initialiser, roots, guards, places)
                if isinstance(statement.body[-1], ast.Continue | ast.Return):
                    guards = inner
            case ast.For() | ast.While() | ast.With() | ast.Try():
                yield from _block(statement.body, initialiser, roots, guards, places)
            case ast.Match():
                for case in statement.cases:
                    yield from _block(case.body, initialiser, roots, guards, places)
            case _:
                yield from _writes(statement, initialiser, roots, guards, places)


def _writes(
    statement: ast.stmt,
    initialiser: str,
    roots: Mapping[str, str | None],
    guards: frozenset[Guard],
    places: Places,
) -> Iterator[RestoreFact]:
    for how, target in _written(statement):
        found = _attribute(target)
        if found is not None and found[0] in roots:
            place = places.of(statement, statement)
            yield RestoreFact(initialiser, roots[found[0]], found[1], how, place, guards)


def _written(statement: ast.stmt) -> Iterator[tuple[How, ast.expr]]:
    match statement:
        case ast.Assign(targets=targets):
            for target in targets:
                yield _how(target, statement.value), target
        case ast.AugAssign(target=target):
            yield "in-place", target
    for node in walk(statement):
        if not isinstance(node, ast.Call):
            continue
        called = last_name(dotted(node.func))
        if called.endswith("_") and called != "requires_grad_":
            for argument in node.args[:1]:
                yield "function", argument
            if isinstance(node.func, ast.Attribute):
                yield "in-place", node.func.value
        elif (registered := _registered(node)) is not None:
            yield "assignment", registered


def _how(target: ast.expr, value: ast.expr) -> How:
    if _is_data(target):
        return "in-place"
    match target, value:
        case ast.Attribute(value=ast.Attribute()), ast.Constant(value=True):
            return "mark"
    return "assignment"


def _flags_read(method: Definition) -> frozenset[str]:
    """The attribute paths below a variable that a method asks for with `getattr` or reads."""
    found = set()
    for node in walk(method):
        match node:
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[owner, ast.Constant(value=str(flag)), *_]):
                path = _attribute(owner)
                if path is not None:
                    found.add(f"{path[1]}.{flag}")
            case ast.Attribute(ctx=ast.Load()):
                path = _attribute(node)
                if path is not None:
                    found.add(path[1])
    return frozenset(found)


def _is_data(node: ast.expr) -> bool:
    return isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and node.attr == "data")


def _registered(call: ast.Call) -> ast.expr | None:
    """`module.register_buffer("x", …)` and `setattr(module, "x", …)` as the attribute that they set."""
    match call:
        case ast.Call(func=ast.Attribute(value=owner, attr="register_buffer"), args=[name, *_]):
            pattern = name_pattern(name)
        case ast.Call(func=ast.Name(id="setattr"), args=[owner, name, _]):
            pattern = name_pattern(name)
        case _:
            return None
    return ast.Attribute(owner, pattern, ast.Store()) if pattern else None


def _attribute(node: ast.expr) -> tuple[str, str] | None:
    """The variable and the attribute path below it that an expression stands for."""
    match node:
        case ast.Subscript(value=value):
            return _attribute(value)
        case ast.Attribute(value=value, attr="data"):
            return _attribute(value)
        case ast.Attribute(value=ast.Name(id=root), attr=attribute):
            return root, attribute
        case ast.Attribute(value=value, attr=attribute):
            left = _attribute(value)
            return (left[0], f"{left[1]}.{attribute}") if left else None
        case ast.Call(func=ast.Name(id="getattr"), args=[ast.Name(id=root), name, *_]):
            pattern = name_pattern(name)
            return (root, pattern) if pattern else None
        case ast.Call(func=ast.Attribute(value=value)):
            return _attribute(value)
    return None


def _classes_asked(test: ast.expr) -> dict[str, list[str]]:
    """By variable: the classes that a condition asks it to be."""
    asked: dict[str, list[str]] = {}
    for node in walk(test):
        match node:
            case ast.Call(func=ast.Name(id="isinstance"), args=[ast.Name(id=variable), classes]):
                names = [name for name in map(dotted, _alternatives(classes)) if name]
                if names:
                    asked.setdefault(variable, []).extend(names)
            case ast.Compare(left=left, comparators=[right]):
                for one, other in ((left, right), (right, left)):
                    text = constant_string(one)
                    owner = dotted(other).replace("()", "")
                    if text and "__name__" in owner:
                        for first in _names(other)[:1]:
                            asked.setdefault(first, []).append(f"*{text}*")
    return asked


def _alternatives(classes: ast.expr) -> list[ast.expr]:
    """The classes of a tuple or of a union with `|`."""
    match classes:
        case ast.Tuple(elts=elements):
            return elements
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return [*_alternatives(left), *_alternatives(right)]
    return [classes]


def _names(node: ast.expr) -> list[str]:
    return [child.id for child in walk(node) if isinstance(child, ast.Name) and child.id != "type"]
