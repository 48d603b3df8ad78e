"""What in the making of a value does not suit the meta device: tensors on the CPU, and questions about values.

A reader's view: `torch.arange(n)` is a tensor on the default device, `torch.from_numpy(a)` one on the CPU, and a
local variable is what it was last assigned. Of what came in as an argument nothing is known.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Literal

from bufaudit import torch_state
from bufaudit.source.facts import MetaHazard
from bufaudit.source.syntax import dotted, source_text, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_Device = Literal["default", "cpu"]


def hazards_of(value: ast.expr | None, assigned: Mapping[str, ast.expr]) -> tuple[MetaHazard, ...]:
    """The hazards in an expression and in the local variables that it is made from, each once."""
    if value is None:
        return ()
    return tuple(dict.fromkeys(_Making(assigned).hazards(value)))


class _Making:
    """The making of one value."""

    def __init__(self, assigned: Mapping[str, ast.expr]) -> None:
        self._assigned = assigned
        self._open: set[str] = set()

    def hazards(self, value: ast.expr) -> Iterator[MetaHazard]:
        for node in walk(value):
            match node:
                case ast.Name(id=name) if name in self._assigned and name not in self._open:
                    self._open.add(name)
                    yield from self.hazards(self._assigned[name])
                case ast.Call():
                    yield from self._of_call(node)
                case ast.BinOp(left=left, right=right):
                    if {self._device(left), self._device(right)} == {"cpu", "default"}:
                        yield MetaHazard("raises", source_text(node))

    def _of_call(self, call: ast.Call) -> Iterator[MetaHazard]:
        name = dotted(call.func)
        text = source_text(call)
        if name == "torch.Tensor":
            if self._gives_values(call):
                yield MetaHazard("sizes", text)
        elif name in torch_state.CPU_CONSTRUCTORS and call.args:
            yield MetaHazard("escapes", text)
        elif self._asks_values(call, name):
            yield MetaHazard("raises", text)

    def _asks_values(self, call: ast.Call, name: str) -> bool:
        """Whether a call needs to know the values of a tensor on the default device."""
        match call:
            case ast.Call(func=ast.Attribute(value=owner, attr=method)) if method in torch_state.READS_VALUES:
                return self._device(owner) == "default" or (
                    name == f"torch.{method}" and any(self._device(argument) == "default" for argument in call.args)
                )
            case ast.Call(func=ast.Attribute(attr="repeat_interleave"), args=[*_, repeats]):
                return self._device(repeats) == "default"
            case ast.Call(func=ast.Name(id="int" | "float" | "bool"), args=[argument]):
                return self._device(argument) == "default"
        return False

    def _gives_values(self, call: ast.Call) -> bool:
        """Whether `torch.Tensor` is given values rather than sizes."""
        given = call.args[0] if len(call.args) == 1 else None
        if isinstance(given, ast.Name):
            given = self._assigned.get(given.id)
        match given:
            case ast.List(elts=[_, *_]) | ast.Tuple(elts=[_, *_]) | ast.ListComp():
                return True
            case ast.Call(func=function):
                return dotted(function) == "list" or dotted(function).startswith(("np.", "numpy."))
        return False

    def _device(self, node: ast.expr, depth: int = 8) -> _Device | None:
        """Where a tensor is made under `torch.device("meta")`; None for what is no tensor, or is not known."""
        if depth == 0:
            return None
        match node:
            case ast.Name(id=name) if name in self._assigned:
                return self._device(self._assigned[name], depth - 1)
            case ast.BinOp(left=left, right=right):
                return self._device(left, depth - 1) or self._device(right, depth - 1)
            case ast.UnaryOp(operand=operand):
                return self._device(operand, depth - 1)
            case ast.Compare(left=left):
                return self._device(left, depth - 1)
            case ast.Call():
                return self._device_of_call(node, depth)
        return None

    def _device_of_call(self, call: ast.Call, depth: int) -> _Device | None:
        name = dotted(call.func)
        if any(keyword.arg == "device" for keyword in call.keywords):
            return None
        if name in torch_state.CPU_CONSTRUCTORS or (name == "torch.Tensor" and self._gives_values(call)):
            return "cpu"
        if name in torch_state.FACTORIES:
            return "default"
        match call:
            case ast.Call(func=ast.Attribute(value=owner, attr=method)) if method in torch_state.KEEPS_DEVICE:
                return self._device(owner, depth - 1)
        return None
