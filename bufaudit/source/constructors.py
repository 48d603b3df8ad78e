"""Which class an expression makes a module of."""

from __future__ import annotations

import ast
from collections import ChainMap
from typing import TYPE_CHECKING

from bufaudit import torch_state
from bufaudit.source.syntax import Definition, dotted, last_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Calls whose result is, as far as state goes, the module that they are given.
MODULE_WRAPPERS = frozenset(
    {"deepcopy", "copy", "DistributedDataParallel", "DDP", "DataParallel", "compile",
    "FullyShardedDataParallel", "FSDP",
     "unwrap_model", "convert_sync_batchnorm"}
)  # fmt: skip
_MODULE_METHODS = frozenset(
    {
        "to",
        "cuda",
        "cpu",
        "eval",
        "train",
        "half",
        "float",
        "bfloat16",
        "requires_grad_",
        "to_empty",
        "double",
        "share_memory",
    }
)


def constructed_type(node: ast.expr, types: Mapping[str, str]) -> str | None:
    """The class that an expression makes an object of, seen through wrappers and chained module methods."""
    match node:
        case ast.Call(func=ast.Attribute(value=inner, attr=method)) if method in _MODULE_METHODS:
            return constructed_type(inner, types)
        case ast.Call(func=function, args=[first, *_]) if last_name(dotted(function)) in MODULE_WRAPPERS:
            return constructed_type(first, types)
        case ast.Call(func=ast.Name() | ast.Attribute() as function):
            name = dotted(function)
            return name if last_name(name)[:1].isupper() and "(" not in name else None
        case ast.Name() | ast.Attribute():
            return types.get(dotted(node))
    return None


def annotated_types(definition: Definition) -> dict[str, str]:
    """The classes that a function's parameters are annotated with, where they say more than that it is a module."""
    arguments = definition.args
    types = {}
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        name = dotted(argument.annotation) if isinstance(argument.annotation, ast.Name | ast.Attribute) else ""
        if last_name(name)[:1].isupper() and last_name(name) not in torch_state.PLAIN_BASES | {"Any"}:
            types[argument.arg] = name
    return types


def attribute_types(node: ast.ClassDef) -> dict[str, str]:
    """The class that each `self.x` of a class is made from, where its methods agree on one."""
    types: dict[str, str] = {}
    disputed = set()
    for statement in node.body:
        given = annotated_types(statement) if isinstance(statement, Definition) else {}
        known = ChainMap(types, given)
        for assignment in statements((statement,)):
            if not isinstance(assignment, ast.Assign):
                continue
            for target in assignment.targets:
                text = dotted(target)
                made = constructed_type(assignment.value, known) if text.startswith("self.") else None
                if made is not None and types.setdefault(text, made) != made:
                    disputed.add(text)
    return {text: made for text, made in types.items() if text not in disputed}


def statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements and those within them, in order."""
    for statement in body:
        yield statement
        for name in ("body", "orelse", "finalbody"):
            yield from statements(getattr(statement, name, ()))
