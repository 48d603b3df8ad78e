"""What the calls in a file give to the functions of the same file that walk a parameter's state."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from bufaudit.source.constructors import annotated_types, attribute_types, constructed_type, statements
from bufaudit.source.facts import Argument
from bufaudit.source.syntax import Definition, dotted, last_name, source_text, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bufaudit.source.facts import Function

_OWN = ("self", "cls")


def walked_parameters(function: Function) -> frozenset[str]:
    """The parameters of a function whose state it walks."""
    return frozenset(walk.receiver for walk in function.walks) & frozenset(function.parameters) - frozenset(_OWN)


def arguments_given(body: Iterable[ast.stmt], helpers: Sequence[Function]) -> Iterator[Argument]:
    """What the calls in some top-level statements give for the walked parameters of `helpers`."""
    by_name: dict[str, list[Function]] = {}
    for helper in helpers:
        by_name.setdefault(last_name(helper.name), []).append(helper)
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            types = attribute_types(statement)
            for member in statement.body:
                yield from _of_statement(member, statement.name, types, by_name)
        else:
            yield from _of_statement(statement, None, {}, by_name)


def _of_statement(
    statement: ast.stmt, class_name: str | None, attributes: Mapping[str, str], helpers: Mapping[str, list[Function]]
) -> Iterator[Argument]:
    calls = [
        node
        for node in walk(statement)
        if isinstance(node, ast.Call) and last_name(dotted(node.func)) in helpers and node.args + node.keywords
    ]
    if not calls:
        return
    types = {**attributes, **_local_types(statement, attributes)}
    if class_name is not None:
        types["self"] = class_name
    for call in calls:
        callee = dotted(call.func)
        for helper in helpers[last_name(callee)]:
            if _may_mean(callee, helper):
                yield from _given(call, helper, types)


def _local_types(statement: ast.stmt, attributes: Mapping[str, str]) -> dict[str, str]:
    types = annotated_types(statement) if isinstance(statement, Definition) else {}
    for inner in statements((statement,)):
        match inner:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                made = constructed_type(value, {**attributes, **types})
                types.pop(name, None)
                if made is not None:
                    types[name] = made
    return types


def _may_mean(callee: str, helper: Function) -> bool:
    """Whether a call by this name can be one of `helper`: a method is called on something, a function is not."""
    is_method = helper.name == f"{helper.class_name}.{last_name(helper.name)}"
    return is_method == ("." in callee)


def _given(call: ast.Call, helper: Function, types: Mapping[str, str]) -> Iterator[Argument]:
    parameters = [name for name in helper.parameters if name not in _OWN]
    given = dict(zip(parameters, call.args, strict=False))
    given.update({keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None})
    for name in sorted(walked_parameters(helper) & given.keys()):
        yield Argument(helper.name, name, source_text(given[name]), constructed_type(given[name], types))
