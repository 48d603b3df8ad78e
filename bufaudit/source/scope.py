"""The names that a module's own code binds, under `if` and `try` too: imports, and plain aliases."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern
from bufaudit.source.facts import Import
from bufaudit.source.syntax import dotted, last_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TORCH_NN = lazy_pattern(r"^(torch\.nn(\.modules(\.\w+)?|\.parameter)?|torch\.nn\.modules)\.Buffer$")


@dataclass(frozen=True, slots=True)
class Scope:
    """A module's imports, the modules that it imports everything of, and its aliases.

    `buffer_names` are the dotted names that stand for `torch.nn.Buffer` here.
    """

    imports: tuple[Import, ...]
    stars: tuple[str, ...]
    aliases: tuple[Import, ...]
    buffer_names: frozenset[str]

    @property
    def renames_buffer(self) -> bool:
        """Whether one of those names is of the module's own making, which no search for words knows."""
        return any(last_name(name) != "Buffer" for name in self.buffer_names)


def read_scope(body: Sequence[ast.stmt]) -> Scope:
    """What the statements of a module bind."""
    imports: list[Import] = []
    stars: list[str] = []
    aliases: list[Import] = []
    for statement in _own_statements(body):
        match statement:
            case ast.Import():
                for alias in statement.names:
                    target = alias.name if alias.asname else alias.name.partition(".")[0]
                    imports.append(Import(alias.asname or target, target))
            case ast.ImportFrom():
                origin = "." * statement.level + (statement.module or "")
                separator = "" if origin.endswith(".") else "."
                for alias in statement.names:
                    if alias.name == "*":
                        stars.append(origin)
                    else:
                        imports.append(Import(alias.asname or alias.name, f"{origin}{separator}{alias.name}"))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name() | ast.Attribute() as value):
                target = dotted(value)
                if target and "(" not in target and "[" not in target:
                    aliases.append(Import(name, target))
    return Scope(tuple(imports), tuple(stars), tuple(aliases), _buffer_names(stars, (*imports, *aliases)))


def _buffer_names(stars: Sequence[str], bindings: Sequence[Import]) -> frozenset[str]:
    names = {"nn.Buffer", "torch.nn.Buffer", "nn.parameter.Buffer", "torch.nn.parameter.Buffer"}
    if any(_TORCH_NN.match(f"{origin}.Buffer") for origin in stars):
        names.add("Buffer")
    for binding in bindings:
        target = binding.target
        if target in names or (target.endswith(".Buffer") and _TORCH_NN.match(target)):
            names.add(binding.name)
        elif target in ("torch.nn", "torch.nn.parameter", "torch.nn.modules", ".parameter"):
            names.add(f"{binding.name}.Buffer")
        elif target == "torch":
            names |= {f"{binding.name}.nn.Buffer", f"{binding.name}.nn.parameter.Buffer"}
        elif target.endswith(".parameter.Buffer") and target.startswith("."):
            names.add(binding.name)
    return frozenset(names)


def _own_statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            yield from _own_statements(statement.body)
            for handler in getattr(statement, "handlers", ()):
                yield from _own_statements(handler.body)
            yield from _own_statements(statement.orelse)
