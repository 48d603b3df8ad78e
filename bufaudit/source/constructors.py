"""Which class an expression makes a module of."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from bufaudit.source.syntax import dotted, last_name

if TYPE_CHECKING:
    from collections.abc import Mapping

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
