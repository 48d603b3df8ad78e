"""Tensors that a constructor keeps as plain attributes of self, where `forward` uses them.

What is neither parameter nor buffer stays behind when a module is moved or saved. Whether that hurts depends on the
use, so an attribute that `forward` never reaches gives no fact.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern
from bufaudit.source import vocabulary
from bufaudit.source.blocks import Gate
from bufaudit.source.facts import TensorAttribute
from bufaudit.source.phases import calls_on_self, reached_from
from bufaudit.source.syntax import Definition, constant_string, dotted, identifiers, walk, whole_text
from bufaudit.source.uses import Uses, is_none, keeps_dimension, own_attribute

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bufaudit.source.facts import TensorMade
    from bufaudit.source.syntax import Places

_RANDOM = frozenset({"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "normal", "bernoulli"})
_RANDOM_IN_PLACE = frozenset({"normal_", "uniform_", "random_", "bernoulli_", "trunc_normal_"})
_TABLES = frozenset(
    {
        "arange", "linspace", "logspace", "eye", "zeros", "ones", "full", "from_numpy", "Tensor", "FloatTensor",
        "LongTensor", "BoolTensor", "IntTensor", "DoubleTensor", "hann_window", "hamming_window",
    }
)  # fmt: skip
#: Of one number they make a tensor without dimensions, which goes along with tensors of any device.
_CONVERSIONS = frozenset({"tensor", "as_tensor"})
_WIDENING = frozenset({"view", "reshape", "unsqueeze", "repeat", "expand"})
#: What they give is no tensor, or one without dimensions.
_REDUCTIONS = frozenset({"sum", "mean", "prod", "max", "min", "std", "var", "norm", "item", "tolist", "numpy"})
_TORCH = frozenset({"torch", "F", "torch.nn.functional", "nn.functional", "torch.linalg"})

_MAKER = lazy_pattern(
    r"torch\.(?:empty|stack|cat|triu|tril|" + "|".join(sorted(_RANDOM | _TABLES | _CONVERSIONS)) + r")\("
)
_ATTRIBUTE = lazy_pattern(r"[ \t]+self\.\w+[ \t]*(?::[^=\n]+)?=(?!.*(?:Parameter|Buffer)\()")
_GIVEN = lazy_pattern(r"def __init__\([^)]*\bTensor\b")

#: Functions that keep nothing that they are given.
_KEEPS_NOTHING = frozenset(
    {
        "len",
        "zip",
        "enumerate",
        "list",
        "tuple",
        "sum",
        "range",
        "map",
        "iter",
        "reversed",
        "sorted",
        "isinstance",
        "print",
    }
)

_ENTRIES = frozenset({"forward", "__call__", "transform"})
#: A class with one of these methods sees to its tensors itself: when it is moved, and when it is saved.
_MOVES_ITSELF = frozenset({"_apply", "to", "cuda"})
_SAVES_ITSELF = frozenset({"get_extra_state", "state_dict", "_save_to_state_dict"})
_DEEPEST = 5


def tensor_lines(text: str) -> Iterator[int]:
    """Offsets, in no order, outside of which no constructor keeps a tensor as a plain attribute."""
    for match in _MAKER.finditer(text):
        if _ATTRIBUTE.match(text, text.rfind("\n", 0, match.start()) + 1, match.start()):
            yield match.start()
    for match in _GIVEN.finditer(text):
        yield match.start()


GATE = Gate(tensor_lines)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor, or a list of some, that a constructor makes or is given."""

    made: TensorMade
    listed: bool = False
    placed: bool = False
    scalar: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    """A tensor and the statement that keeps it."""

    tensor: _Tensor
    method: str
    statement: ast.stmt
    target: ast.expr


def attributes_of_class(node: ast.ClassDef, qualified_name: str, places: Places) -> Iterator[TensorAttribute]:
    """The plain tensors that the constructor of a class keeps and its `forward` uses."""
    methods = [child for child in node.body if isinstance(child, Definition)]
    names = {method.name for method in methods}
    calls = calls_on_self(methods)
    built = reached_from(vocabulary.CONSTRUCTORS, calls)
    running = reached_from((name for name in names if name in _ENTRIES or name.startswith("forward_")), calls)
    kept = _kept(methods, built) if running else {}
    if not kept:
        return
    noisy = any(_draws(method) for method in methods if method.name in running)
    parents = {child: parent for parent in walk(node) for child in ast.iter_child_nodes(parent)}
    for name, found in kept.items():
        uses = Uses(name, parents, listed=found.tensor.listed)
        for method in methods:
            if method.name in running or method.name not in built:
                uses.read(method, counts=method.name in running)
        if uses.use is None or uses.rewritten or _is_registered(node, name):
            continue
        if not _is_handed_on(name, methods, built, listed=found.tensor.listed):
            yield TensorAttribute(
                class_name=qualified_name,
                method=found.method,
                name=name,
                made="table" if noisy and found.tensor.made == "random" else found.tensor.made,
                optional=found.tensor.optional,
                placed=found.tensor.placed,
                moved=uses.moved or not names.isdisjoint(_MOVES_ITSELF),
                saved=not names.isdisjoint(_SAVES_ITSELF),
                use=uses.use,
                use_line=uses.line,
                place=places.of(found.target, found.statement),
            )


def _draws(method: Definition) -> bool:
    """Whether a method draws random numbers: what its class has drawn once is noise too, and no weight."""
    return any(
        isinstance(node, ast.Call) and dotted(node.func).removeprefix("torch.") in _RANDOM for node in walk(method)
    )


def _is_handed_on(name: str, methods: Iterable[Definition], built: frozenset[str], *, listed: bool) -> bool:
    """Whether another object is built with an attribute, or a function is given a list that it may store into."""
    for method in methods:
        local = _locals_for(name, method) if method.name in built else set()
        for call in (node for node in walk(method) if isinstance(node, ast.Call)):
            owner, _, called = dotted(call.func).rpartition(".")
            builds = called[:1].isupper() and owner not in _TORCH and method.name in built
            keeps = listed and method.name not in built and owner not in _TORCH and called not in _KEEPS_NOTHING
            if (builds or keeps) and any(
                own_attribute(given) == name or (isinstance(given, ast.Name) and given.id in local)
                for given in (*call.args, *(keyword.value for keyword in call.keywords))
            ):
                return True
    return False


def _locals_for(name: str, method: Definition) -> set[str]:
    """The local variables that an attribute is assigned from."""
    return {
        value.id
        for statement in walk(method)
        for target, value in _assignments(statement)
        if own_attribute(target) == name and isinstance(value, ast.Name)
    }


def _is_registered(node: ast.ClassDef, name: str) -> bool:
    """Whether a class registers or deletes an attribute anywhere, by whatever name that may be it."""
    for child in walk(node):
        match child:
            case ast.Call(func=ast.Attribute(attr="register_buffer" | "register_parameter"), args=[first, *_]):
                spelled = constant_string(first)
            case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[_, second, *_]):
                spelled = constant_string(second)
            case ast.Delete(targets=targets) if any(own_attribute(target) == name for target in targets):
                return True
            case _:
                continue
        if spelled is None or spelled == name:
            return True
    return False


def _kept(methods: Sequence[Definition], built: frozenset[str]) -> dict[str, _Kept]:
    """The tensors that are made while an object is built, each with the statement that first keeps it."""
    kept: dict[str, _Kept] = {}
    disputed: set[str] = set()
    optional: set[str] = set()
    for method in methods:
        if method.name not in built:
            continue
        maker = _Maker(method, kept)
        for statement in (node for node in walk(method) if isinstance(node, ast.stmt)):
            for target, value in _assignments(statement):
                name = own_attribute(target)
                if name is None or maker.tells_nothing(value):
                    optional |= {name} if name and not is_none(value) else set()
                    continue
                tensor = maker.tensor(value) if value is not None else None
                if tensor is None:
                    disputed.add(name)
                elif name not in kept:
                    kept[name] = _Kept(tensor, method.name, statement, target)
                else:
                    kept[name] = replace(kept[name], tensor=_agreeing(kept[name].tensor, tensor))
    return {
        name: replace(found, tensor=replace(found.tensor, optional=found.tensor.optional or name in optional))
        for name, found in kept.items()
        if name not in disputed and not found.tensor.scalar
    }


def _agreeing(one: _Tensor, other: _Tensor) -> _Tensor:
    """What may be either of two tensors: of one that is given, nothing is known."""
    return replace(
        other if one.made == "argument" else one,
        placed=one.placed or other.placed,
        scalar=one.scalar and other.scalar,
        listed=one.listed or other.listed,
        optional=one.optional or other.optional,
    )


def _assignments(statement: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """Targets and their values, None where one of several values is meant."""
    match statement:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                if isinstance(target, ast.Tuple | ast.List):
                    yield from ((element, None) for element in target.elts)
                else:
                    yield target, value
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield target, value
        case ast.AugAssign(target=target):
            yield target, None


class _Maker:
    """Tells what the expressions of one constructor make."""

    def __init__(self, method: Definition, kept: Mapping[str, _Kept]) -> None:
        arguments = [*method.args.args, *method.args.kwonlyargs]
        self._kept = kept
        self._given = {argument.arg for argument in arguments if method.name == "__init__" and _is_tensor(argument)}
        self._unknown = {argument.arg for argument in arguments} - self._given
        self._has_device = any(argument.arg == "device" for argument in arguments)
        self._seeded = any("seed" in word or "generator" in word for word in identifiers(method))
        self._locals: dict[str, list[ast.expr | None]] = {}
        for statement in walk(method):
            for target, value in _assignments(statement):
                if isinstance(target, ast.Name):
                    self._locals.setdefault(target.id, []).append(value)

    def tells_nothing(self, value: ast.expr | None) -> bool:
        """Whether a value leaves open what an attribute is: None, a number, or an argument of whatever type."""
        match value:
            case ast.Constant():
                return True
            case ast.Name(id=name):
                return name in self._unknown and name not in self._locals
            case ast.BinOp(left=ast.Constant(), right=ast.Name()):
                return self.tensor(value) is None
        return False

    def tensor(self, node: ast.expr, depth: int = _DEEPEST) -> _Tensor | None:
        """The tensor that an expression makes; None where it makes none, or something else."""
        if depth == 0:
            return None
        match node:
            case ast.List(elts=[_, *_] as elements) | ast.Tuple(elts=[_, *_] as elements):
                return self._list(elements, depth)
            case ast.ListComp(elt=element):
                return self._list([element], depth)
            case ast.Call():
                return self._call(node, depth)
            case ast.BinOp(left=left, right=right):
                return self._first((left, right), depth)
            case ast.UnaryOp(operand=operand):
                return self.tensor(operand, depth)
            case ast.Subscript(value=value, slice=index):
                tensor = self.tensor(value, depth)
                return replace(tensor, scalar=not keeps_dimension(index)) if tensor else None
            case ast.IfExp(body=body, orelse=orelse):
                chosen = [branch for branch in (body, orelse) if not self.tells_nothing(branch)]
                tensor = self._all([self.tensor(branch, depth) for branch in chosen])
                others = [branch for branch in (body, orelse) if branch not in chosen and not is_none(branch)]
                return replace(tensor, optional=True) if tensor and others else tensor
            case ast.Name(id=name) if name in self._locals:
                values = self._locals[name]
                return self._all([self.tensor(value, depth - 1) if value else None for value in values])
            case ast.Name(id=name) if name in self._given:
                return _Tensor("argument", placed=self._has_device)
            case ast.Attribute(attr="T" | "data" | "mT", value=value):
                return self.tensor(value, depth)
            case ast.Attribute():
                found = self._kept.get(own_attribute(node) or "")
                return found.tensor if found else None
        return None

    def _call(self, node: ast.Call, depth: int) -> _Tensor | None:
        owner, _, called = dotted(node.func).rpartition(".")
        placed = any(keyword.arg == "device" for keyword in node.keywords)
        if owner in _TORCH:
            tensor = self._torch_call(called, node, depth)
        elif isinstance(node.func, ast.Attribute):
            tensor = self._method_call(called, node.func.value, depth)
            placed = placed or called in vocabulary.MOVES
        else:
            return None
        if tensor is None:
            return None
        return replace(tensor, placed=tensor.placed or placed, scalar=tensor.scalar or called in _REDUCTIONS)

    def _torch_call(self, called: str, node: ast.Call, depth: int) -> _Tensor | None:
        first = node.args[0] if node.args else None
        if called in _RANDOM:
            return _Tensor("table" if self._seeded else "random", scalar=_is_empty(first))
        if called in _TABLES:
            return None if _is_placeholder(node) else _Tensor("table", scalar=_is_empty(first))
        made = self._first(node.args, depth)
        if called in _CONVERSIONS:
            sequence = isinstance(first, ast.List | ast.Tuple | ast.ListComp)
            made = made or _Tensor("table", scalar=not sequence)
        return replace(made, listed=False) if made else None

    def _method_call(self, called: str, owner: ast.expr, depth: int) -> _Tensor | None:
        if called in _RANDOM_IN_PLACE and dotted(owner).startswith("torch."):
            return _Tensor("table" if self._seeded else "random")
        tensor = self.tensor(owner, depth)
        if tensor is not None and called in _WIDENING:
            return replace(tensor, scalar=False)
        return tensor

    def _list(self, elements: Sequence[ast.expr], depth: int) -> _Tensor | None:
        tensor = self._all([self.tensor(element, depth) for element in elements])
        return replace(tensor, listed=True) if tensor and not tensor.listed else None

    def _first(self, nodes: Iterable[ast.expr], depth: int) -> _Tensor | None:
        """What an operation on several expressions makes: random where one of them is, placed where one is."""
        found = [tensor for tensor in (self.tensor(node, depth) for node in nodes) if tensor is not None]
        return self._all(found)

    @staticmethod
    def _all(tensors: Sequence[_Tensor | None]) -> _Tensor | None:
        """One tensor for several that may be it, None where one of them is none."""
        found = [tensor for tensor in tensors if tensor is not None]
        if not found or len(found) < len(tensors):
            return None
        made = {tensor.made for tensor in found}
        return _Tensor(
            "random" if "random" in made else "argument" if "argument" in made else "table",
            listed=any(tensor.listed for tensor in found),
            placed=any(tensor.placed for tensor in found),
            optional=any(tensor.optional for tensor in found),
            scalar=all(tensor.scalar for tensor in found),
        )


def _is_empty(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Tuple | ast.List) and not node.elts


def _is_placeholder(call: ast.Call) -> bool:
    """Whether a call makes a tensor without elements: `torch.zeros(0)`, `torch.Tensor()`."""
    match call.args:
        case [] | [ast.Constant(value=0)]:
            return True
    return False


def _is_tensor(argument: ast.arg) -> bool:
    """Whether an argument is annotated as a tensor, be it an optional one or one that may be a function instead."""
    if argument.annotation is None:
        return False
    names = set(re.findall(r"\w+", whole_text(argument.annotation)))
    return "Tensor" in names and names <= {"Tensor", "torch", "Optional", "Union", "None", "Callable"}
