"""How the methods of a class use one tensor that it keeps as an attribute of self."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bufaudit.source import vocabulary
from bufaudit.source.syntax import Definition, dotted, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bufaudit.source.facts import TensorUse

#: What is asked of a tensor by code that minds on which device it is.
_MOVES = vocabulary.MOVES | {"type_as", "device", "get_device", "is_cuda"}
#: Functions, methods and attributes that give no tensor.
_QUESTIONS = frozenset(
    {
        "shape", "size", "dim", "ndim", "dtype", "numel", "nelement", "item", "tolist", "numpy", "requires_grad",
        "len", "int", "float", "bool", "range", "isinstance", "hasattr", "print", "str", "repr", "type", "is_tensor",
        "is_floating_point", "requires_grad_",
    }
)  # fmt: skip
_TORCH = frozenset({"torch", "F", "torch.nn.functional", "nn.functional", "torch.linalg", "torch.special"})
#: Methods that put one tensor together with others.
_OPERATIONS = frozenset(
    {
        "mul", "add", "sub", "div", "matmul", "mm", "bmm", "mv", "dot", "where", "gather", "scatter", "index_select",
        "masked_fill", "lerp", "outer", "maximum", "minimum", "mul_", "add_", "sub_", "div_", "masked_fill_",
    }
)  # fmt: skip
_LIST_CHANGES = frozenset({"append", "extend", "insert", "pop", "remove", "clear"})
_PLAIN_TYPES = frozenset({"int", "float", "bool", "str"})

_Kind = Literal["operation", "average", "read", "moved", "rewritten", "named", "nothing"]


@dataclass(frozen=True, slots=True)
class _Fate:
    """Where an expression that stands for the tensor ends; `named` is a variable that stands for it then."""

    kind: _Kind
    node: ast.AST
    name: str = ""
    listed: bool = False


def own_attribute(node: ast.AST) -> str | None:
    """The name of an attribute of self itself."""
    match node:
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return name
    return None


def keeps_dimension(index: ast.expr) -> bool:
    """Whether what an index picks of a tensor surely has a dimension: `[:, 0]`, `[None]`."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    return any(
        isinstance(part, ast.Slice) or (isinstance(part, ast.Constant) and part.value in (None, ...)) for part in parts
    )


class Uses:
    """What is known of the uses of one attribute; `parents` has the parent of each node of the class.

    An average that is only told to somebody, as a loss is logged, counts as any other tensor that is read.
    """

    def __init__(self, name: str, parents: Mapping[ast.AST, ast.AST], *, listed: bool) -> None:
        self.moved = False
        self.rewritten = False
        self._lines: dict[_Kind, int] = {}
        self._name = name
        self._parents = parents
        self._listed = listed

    @property
    def use(self) -> TensorUse | None:
        """The use that says most."""
        if "operation" in self._lines:
            return "average" if "average" in self._lines else "operation"
        return "read" if "read" in self._lines else None

    @property
    def line(self) -> int:
        """The line of that use."""
        return self._lines[self.use] if self.use else 0

    def read(self, method: Definition, *, counts: bool) -> None:
        """Read a method, whose uses count where `forward` reaches it."""
        writes = [(node, value) for node in walk(method) if (value := self._written(node)) is not None]
        for statement, value in writes:
            self._note(self._write(statement, value), statement, counts=counts)
        inside = {id(node) for statement, _ in writes for node in walk(statement)}
        inputs = _inputs(method)
        pending = [
            (node, self._listed)
            for node in walk(method)
            if own_attribute(node) == self._name and id(node) not in inside
        ]
        followed = set()
        while pending:
            fate = self._fate(*pending.pop(), inputs)
            self._note(fate.kind, fate.node, counts=counts)
            if fate.kind == "named" and fate.name not in followed:
                followed.add(fate.name)
                never = {id(node) for other in self._instead_of(fate.node) for node in walk(other)}
                pending += [(node, fate.listed) for node in _loads(method, fate.name) if id(node) not in never]

    def _instead_of(self, statement: ast.AST) -> Iterator[ast.stmt]:
        """What does not run after a statement: the other branches of the conditions that it stands under."""
        while not isinstance(statement, Definition | ast.For | ast.While):
            parent = self._parents[statement]
            if isinstance(parent, ast.If):
                yield from parent.orelse if statement in parent.body else parent.body
            statement = parent

    def _note(self, kind: _Kind, node: ast.AST, *, counts: bool) -> None:
        if kind == "moved":
            self.moved = True
            kind = "read"
        elif kind == "rewritten":
            self.rewritten = True
        if counts:
            self._lines.setdefault(kind, getattr(node, "lineno", 0))

    def _written(self, node: ast.AST) -> ast.expr | None:
        """The value that a node gives to the attribute."""
        match node:
            case ast.Assign(targets=targets, value=value):
                parts = (child for target in targets for child in walk(target))
                return value if any(self._is_target(part) for part in parts) else None
            case ast.AnnAssign(target=target, value=value) | ast.AugAssign(target=target, value=value):
                return value if self._is_target(target) else None
            case ast.Call(func=ast.Attribute(value=owner, attr="copy_"), args=[value, *_]):
                return value if own_attribute(owner) == self._name else None
        return None

    def _is_target(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and own_attribute(node) == self._name

    def _write(self, statement: ast.AST, value: ast.expr) -> _Kind:
        of_itself = any(own_attribute(node) == self._name for node in walk(value))
        if of_itself and _asks_to_move(value):
            return "moved"
        average = of_itself if isinstance(statement, ast.AugAssign) else self._is_average(value)
        return "average" if average else "rewritten"

    def _is_average(self, value: ast.expr) -> bool:
        """Whether a sum has the attribute itself, weighted, for one of its terms."""
        return any(
            isinstance(term, ast.BinOp)
            and isinstance(term.op, ast.Mult)
            and self._name in (own_attribute(term.left), own_attribute(term.right))
            for sum_ in walk(value)
            if isinstance(sum_, ast.BinOp) and isinstance(sum_.op, ast.Add | ast.Sub)
            for term in (sum_.left, sum_.right)
        )

    def _fate(self, node: ast.AST, listed: bool, inputs: frozenset[str]) -> _Fate:
        """Climb for as long as what is around an expression still stands for the tensor."""
        while True:
            parent = self._parents[node]
            kind: _Kind | None = None
            match parent:
                case ast.Attribute(attr=name):
                    call = self._parents[parent]
                    if isinstance(call, ast.Call) and call.func is parent:
                        kind = self._fate_of_method(name, call, inputs)
                        parent = call
                    elif name in _MOVES:
                        kind = "moved"
                    elif name in _QUESTIONS:
                        kind = "nothing"
                case ast.Subscript(ctx=ast.Load(), value=value, slice=index):
                    if value is not node or not (listed or keeps_dimension(index)):
                        kind = "read"
                    listed = False
                case ast.Subscript():
                    kind = "rewritten"
                case ast.BinOp(left=left, right=right) | ast.Compare(left=left, comparators=[right]):
                    if isinstance(parent, ast.Compare) and isinstance(parent.ops[0], ast.Is | ast.IsNot):
                        kind = "nothing"
                    elif _mentions(right if left is node else left, inputs):
                        kind = "operation"
                case ast.Call():
                    kind = _fate_of_argument(parent, node, inputs)
                case ast.IfExp(test=test) if test is node:
                    kind = "nothing"
                case ast.IfExp() | ast.UnaryOp() | ast.Starred() | ast.List() | ast.Tuple() | ast.keyword():
                    pass
                case ast.Assign(targets=[ast.Name(id=name)]):
                    return _Fate("named", parent, name, listed)
                case ast.For(target=ast.Name(id=name)) | ast.comprehension(target=ast.Name(id=name)) if listed:
                    return _Fate("named", parent, name)
                case ast.AugAssign(target=target) if _mentions(target, inputs):
                    kind = "operation"
                case ast.If() | ast.While() | ast.Assert() | ast.Expr() | ast.FormattedValue():
                    kind = "nothing"
                case _:
                    kind = "read"
            if kind is not None:
                moved = kind == "operation" and _asks_to_move(self._whole(parent))
                return _Fate("moved" if moved else kind, parent)
            node = parent

    def _fate_of_method(self, name: str, call: ast.Call, inputs: frozenset[str]) -> _Kind | None:
        if name in _MOVES:
            return "moved"
        if name in _QUESTIONS:
            return "nothing"
        if name in _LIST_CHANGES:
            return "rewritten"
        if name.endswith("_") and not name.endswith("__"):
            after = self._parents[call]
            averages = name == "lerp_" or (
                name == "mul_" and isinstance(after, ast.Attribute) and after.attr in ("add_", "sub_")
            )
            return "average" if averages else "rewritten"
        if name in _OPERATIONS and any(_mentions(argument, inputs) for argument in call.args):
            return "operation"
        return None

    def _whole(self, node: ast.AST) -> ast.AST:
        """The outermost expression around a node."""
        while isinstance(node, ast.expr | ast.keyword) and not isinstance(self._parents[node], ast.stmt):
            node = self._parents[node]
        return node


def _fate_of_argument(call: ast.Call, argument: ast.AST, inputs: frozenset[str]) -> _Kind | None:
    owner, _, called = dotted(call.func).rpartition(".")
    others = [other for other in (*call.args, *call.keywords) if other is not argument]
    if called in _MOVES or any(keyword.arg == "device" for keyword in call.keywords):
        return "moved"
    if called in _QUESTIONS:
        return "nothing"
    if owner in _TORCH:
        together = any(_mentions(other, inputs) for other in (*others, *_neighbours(argument)))
        return "operation" if together else None
    if called in _OPERATIONS and isinstance(call.func, ast.Attribute) and _mentions(call.func.value, inputs):
        return "operation"
    return "read"


def _neighbours(argument: ast.AST) -> list[ast.expr]:
    """What stands in one list or tuple with an argument: `torch.cat([x, self.token])`."""
    return argument.elts if isinstance(argument, ast.List | ast.Tuple) else []


def _loads(method: Definition, name: str) -> Iterator[ast.AST]:
    for node in walk(method):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
            yield node


def _asks_to_move(node: ast.AST) -> bool:
    """Whether anything in an expression is taken to a device, or told one."""
    return any(
        (isinstance(child, ast.Attribute) and child.attr in _MOVES)
        or (isinstance(child, ast.keyword) and child.arg == "device")
        or (isinstance(child, ast.Name) and child.id == "to_device")
        for child in walk(node)
    )


def _inputs(method: Definition) -> frozenset[str]:
    """The arguments of a method that may be tensors on whatever device, and the variables that are made from them."""
    assigned = [pair for node in walk(method) for pair in _assigned(node)]
    on_cpu = {name for names, value in assigned if _goes_to_cpu(value) for name in names}
    found = frozenset(_tensor_arguments(method.args)) - on_cpu
    while True:
        made = {name for names, value in assigned if _mentions(value, found) for name in names}
        if made - on_cpu <= found:
            return found
        found |= made - on_cpu


def _assigned(node: ast.AST) -> Iterator[tuple[frozenset[str], ast.expr]]:
    """The variables that a statement binds, and what to."""
    match node:
        case ast.Assign(targets=targets, value=value):
            pass
        case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
            counts = isinstance(value, ast.Call) and dotted(value.func) == "enumerate"
            targets = target.elts[1:] if counts and isinstance(target, ast.Tuple) else [target]
        case ast.AugAssign(target=target, value=value):
            targets = [target]
        case _:
            return
    names = (child.id for target in targets for child in walk(target) if isinstance(child, ast.Name))
    yield frozenset(names) - {"self"}, value


def _goes_to_cpu(value: ast.expr) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr in ("cpu", "numpy") for node in walk(value))


def _tensor_arguments(arguments: ast.arguments) -> Iterator[str]:
    """The arguments that neither annotation nor default tells to be numbers or the like."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults, *arguments.kw_defaults]
    for argument, default in zip((*positional, *arguments.kwonlyargs), defaults, strict=True):
        plain = isinstance(argument.annotation, ast.Name) and argument.annotation.id in _PLAIN_TYPES
        if not plain and (default is None or is_none(default)) and argument.arg != "self":
            yield argument.arg
    for rest in (arguments.vararg, arguments.kwarg):
        if rest is not None:
            yield rest.arg


def is_none(node: ast.expr | None) -> bool:
    """Whether an expression is the word None."""
    return isinstance(node, ast.Constant) and node.value is None


def _mentions(node: ast.AST, names: frozenset[str]) -> bool:
    """Whether a value is made from one of some variables, and not merely from the shape of it."""
    match node:
        case ast.Name(id=name):
            return name in names
        case ast.Attribute(attr=attribute) if attribute in _QUESTIONS or attribute == "device":
            return False
        case ast.Call(func=ast.Name(id=called)) if called in _QUESTIONS:
            return False
    return any(_mentions(child, names) for child in ast.iter_child_nodes(node))
