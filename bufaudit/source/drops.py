"""What functions let go of, and what they do about it before and afterwards on the same path."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern
from bufaudit.source import vocabulary
from bufaudit.source.blocks import Gate, any_word
from bufaudit.source.constructors import constructed_type
from bufaudit.source.facts import DropFact, Step
from bufaudit.source.syntax import Definition, dotted, identifiers, last_name, source_text, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bufaudit.source.facts import DropKind
    from bufaudit.source.syntax import Places

#: Words without one of which nothing is let go of, but by a walk over buffers that makes empty ones.
GATE = Gate(any_word("to_empty(", "include_buffers", "offload_tags", ".pause(", "materialize_"))
EMPTY = Gate(any_word("empty_like("))
WALKED = Gate(any_word("buffers(", "._buffers"))

_ALLOCATOR = lazy_pattern(r"alloc|mem_?pool", re.IGNORECASE)
_WAKES = lazy_pattern(r"(alloc\w*|mem_?pool|memory_?saver\w*)\.(wake_up|resume)$", re.IGNORECASE)
#: Callees that build a model: a class, by its name or by a variable's, or the classmethods of transformers' models.
_BUILDER = lazy_pattern(r"(^|\.)([A-Z]\w*|\w*_(cls|class)|from_config|_from_config|from_pretrained)$")
#: How code says that what it builds goes to the meta device.
_META = lazy_pattern(r"^(torch\.)?device\('meta'\)$|^'meta'$")
_MEMORY_SAVER = lazy_pattern(r"memory_?saver", re.IGNORECASE)

#: Drops of one function, each of which tells all that comes before and after it.
_MOST = 50

#: Which branch of each compound statement around it a step stands in.
_Path = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Passed:
    """A statement or call that a function passes, and where it stands."""

    step: Step
    path: _Path
    leaves: bool = False


@dataclass(frozen=True, slots=True)
class _Drop:
    """A drop, and after how many steps of its function it comes."""

    how: DropKind
    node: ast.expr
    statement: ast.stmt
    module: str
    module_type: str | None
    path: _Path
    position: int
    #: How many assignments come before it.
    made: int


@dataclass(frozen=True, slots=True)
class _Made:
    """What a variable or attribute is assigned: the call that builds it on the meta device, None for anything else."""

    name: str
    built: Step | None
    path: _Path


def drops_of_block(
    definitions: Mapping[str, Definition], class_name: str | None, types: Mapping[str, str], places: Places
) -> Iterator[DropFact]:
    """The drops of functions that know of each other: the methods of a class, or one function and those in it.

    What their callers and the functions that they call do is followed one level.
    """
    units = {name: _Unit(definition, types) for name, definition in _with_nested(definitions).items()}
    by_name = {last_name(name): unit for name, unit in units.items()}
    for name, unit in units.items():
        own_name = last_name(name)
        others = {called: other for called, other in by_name.items() if other is not unit}
        for drop in unit.drops[:_MOST]:
            before, after = unit.around(drop.position, drop.path)
            for caller in others.values():
                for position, passed in enumerate(caller.passed):
                    if _called_nearby(passed.step) == own_name:
                        earlier, later = caller.around(position, passed.path)
                        before, after = before + earlier, after + later[1:]
            before, after = _followed(before, others), _followed(after, others)
            yield DropFact(
                function=name,
                class_name=class_name,
                doc=ast.get_docstring(unit.definition) or "",
                how=drop.how,
                module=drop.module,
                module_type=drop.module_type,
                place=places.of(drop.node, drop.statement),
                given=drop.module.partition(".")[0] in unit.parameters,
                before=tuple(dict.fromkeys(before)),
                after=tuple(dict.fromkeys(after)),
                wakes=_wakes(units.values()) if drop.how == "pool" else None,
                built=_built(drop, unit, units.values()),
            )


def _followed(steps: tuple[Step, ...], units: Mapping[str, _Unit]) -> tuple[Step, ...]:
    """Steps, and those of the functions that they call."""
    names = (name for step in steps for name in (_called_nearby(step), _applied(step)))
    called = [units[name] for name in names if name in units]
    return (*steps, *(passed.step for unit in called for passed in unit.passed))


def _called_nearby(step: Step) -> str:
    """The name of the function of the same class, or within the same function, that a step may call."""
    receiver, _, name = step.callee.rpartition(".")
    return name if receiver in ("", "self", "cls", "super()", "model", "module") else ""


def _applied(step: Step) -> str:
    """The function that a step gives to `apply`, which calls it with each module."""
    return step.text if last_name(step.callee) == "apply" and step.text.isidentifier() else ""


def _built(drop: _Drop, unit: _Unit, units: Iterable[_Unit]) -> Step | None:
    """The call that built the module of a drop on the meta device, before it or, of an attribute, anywhere nearby."""
    for made in reversed(unit.made[: drop.made]):
        if made.name == drop.module and _same_path(made.path, drop.path):
            if made.built is not None:
                return made.built
            if set(made.path) <= set(drop.path):
                return None
    if not drop.module.startswith("self."):
        return None
    elsewhere = (made for other in units if other is not unit for made in other.made)
    return next((made.built for made in elsewhere if made.name == drop.module and made.built), None)


def _wakes(units: Iterable[_Unit]) -> int | None:
    """Where a pool gets its memory back."""
    steps = (passed.step for unit in units for passed in unit.passed)
    return next((step.line for step in steps if _WAKES.search(step.callee)), None)


def _with_nested(definitions: Mapping[str, Definition]) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    for name, definition in definitions.items():
        found[name] = definition
        inner = [node for node in walk(definition) if isinstance(node, Definition) and node is not definition]
        found |= {f"{name}.{node.name}": node for node in inner}
    return found


class _Unit:
    """One function, read once from top to bottom."""

    def __init__(self, definition: Definition, types: Mapping[str, str]) -> None:
        self.definition = definition
        arguments = definition.args
        self.parameters = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)} - {"self"}
        self.passed: list[_Passed] = []
        self.drops: list[_Drop] = []
        self.made: list[_Made] = []
        self._on_meta = 0
        self._types = dict(types)
        self._compounds = 0
        self._block(definition.body, ())

    def around(self, position: int, path: _Path) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """The steps before and after a position that are on its path, up to where the function is left."""
        before = tuple(passed.step for passed in self.passed[:position] if _same_path(passed.path, path))
        after = []
        for passed in self.passed[position:]:
            if _same_path(passed.path, path):
                after.append(passed.step)
                if passed.leaves and set(passed.path) <= set(path):
                    break
        return before, tuple(after)

    def _block(self, body: Sequence[ast.stmt], path: _Path) -> None:
        for statement in body:
            self._statement(statement, path)

    def _statement(self, statement: ast.stmt, path: _Path) -> None:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return
            case ast.If() | ast.Try() | ast.TryStar() | ast.Match():
                self._expressions(statement, path)
                self._compounds += 1
                here = self._compounds
                for branch, block in enumerate(_branches(statement)):
                    self._block(block, (*path, (here, branch)))
                if isinstance(statement, ast.Try | ast.TryStar):
                    self._block(statement.finalbody, path)
            case ast.For() if (emptied := _emptied_module(statement)) is not None:
                # The walk and what it puts in place of each buffer bring nothing back.
                how: DropKind = "unsaved" if "non_persistent" in source_text(statement.iter) else "empty_like"
                self._drop(how, statement.iter, statement, emptied, path)
                start = len(self.passed)
                self._block(statement.body, path)
                self.passed[start:] = [passed for passed in self.passed[start:] if passed.step.callee != "="]
            case ast.For() | ast.AsyncFor() | ast.While():
                self._expressions(statement, path)
                if isinstance(statement, ast.For):
                    self._copies_over(statement, path)
                self._block((*statement.body, *statement.orelse), path)
            case ast.With() | ast.AsyncWith():
                self._expressions(statement, path)
                on_meta = any(_goes_to_meta(item.context_expr) for item in statement.items)
                self._on_meta += on_meta
                self._block(statement.body, path)
                self._on_meta -= on_meta
                self._with(statement, path)
            case _:
                self._expressions(statement, path)
                self._assignment(statement, path)
                if isinstance(statement, ast.Return | ast.Raise):
                    self._pass("return", source_text(getattr(statement, "value", None)), statement, path, leaves=True)

    def _pass(self, callee: str, text: str, node: ast.expr | ast.stmt, path: _Path, *, leaves: bool = False) -> None:
        self.passed.append(_Passed(Step(callee, text, node.lineno), path, leaves))

    def _drop(
        self, how: DropKind, node: ast.expr, statement: ast.stmt, module: str, path: _Path, made: str | None = None
    ) -> None:
        self.drops.append(_Drop(how, node, statement, module, made, path, len(self.passed), len(self.made)))

    def _expressions(self, statement: ast.stmt, path: _Path) -> None:
        """The calls of a statement, those of its blocks not included."""
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.expr | ast.withitem):
                for node in walk(child):
                    if isinstance(node, ast.Call):
                        self._call(node, statement, path)

    def _call(self, call: ast.Call, statement: ast.stmt, path: _Path) -> None:
        callee = dotted(call.func)
        receiver = callee.rpartition(".")[0]
        named = (f"{keyword.arg or '**'}={source_text(keyword.value)}" for keyword in call.keywords)
        arguments = ", ".join((*map(source_text, call.args), *named))
        match call.func:
            case ast.Attribute(value=module, attr="to_empty"):
                text = source_text(module)
                self._drop("to_empty", call, statement, text, path, constructed_type(module, self._types))
                return
            case ast.Attribute(attr="sleep") if _ALLOCATOR.search(receiver) and _may_forget_weights(call):
                self._drop("pool", call, statement, receiver, path)
            case ast.Attribute(attr="pause") if _MEMORY_SAVER.search(receiver) and "weight" in arguments.lower():
                self._drop("pool", call, statement, receiver, path)
        self._pass(callee or last_name(source_text(call.func)), arguments, call, path)

    def _assignment(self, statement: ast.stmt, path: _Path) -> None:
        if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign) or statement.value is None:
            return
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            if isinstance(target, ast.Name | ast.Attribute):
                self._makes(source_text(target), statement.value, path)
            if isinstance(target, ast.Name):
                made = constructed_type(statement.value, self._types)
                self._types.pop(target.id, None)
                self._types |= {target.id: made} if made else {}
            for element in target.elts if isinstance(target, ast.Tuple | ast.List) else [target]:
                if isinstance(element, ast.Attribute | ast.Subscript):
                    self._pass("=", source_text(element), statement, path)

    def _makes(self, name: str, value: ast.expr, path: _Path) -> None:
        """Whether a name is built on the meta device; what is given the module and takes its name only wraps it."""
        match value:
            case ast.Call(func=function) if self._on_meta or any(_goes_to_meta(each) for each in value.keywords):
                self.made.append(_Made(name, Step(dotted(function), "", value.lineno), path))
            case ast.Call(func=function, args=arguments, keywords=keywords) if name in (
                *map(source_text, arguments),
                *(source_text(keyword.value) for keyword in keywords),
                dotted(function).rpartition(".")[0],
            ):
                pass
            case _:
                self.made.append(_Made(name, None, path))

    def _with(self, statement: ast.With | ast.AsyncWith, path: _Path) -> None:
        """Models that are built while buffers too go to the meta device; they are what their variables are called."""
        for item in statement.items:
            call = item.context_expr
            if not _empties_buffers(call):
                continue
            built = [
                target.id
                for node in walk(statement)
                if isinstance(node, ast.Assign) and _BUILDER.search(dotted(getattr(node.value, "func", node.value)))
                for target in node.targets
                if isinstance(target, ast.Name)
            ]
            for name in dict.fromkeys(built):
                self._drop("meta", call, statement, name, path, self._types.get(name))

    def _copies_over(self, loop: ast.For, path: _Path) -> None:
        """A loop that writes each of a module's former buffers from what the module was materialised with."""
        if not any("materialize_" in passed.step.callee for passed in self.passed):
            return
        match loop.target:
            case ast.Tuple(elts=[ast.Name(id=name), ast.Name(id=tensor)]) if "buffers" in source_text(loop.iter):
                pass
            case _:
                return
        if any("persistent" in word for word in identifiers(loop)):
            return
        for statement in loop.body:
            match statement:
                case ast.Expr(value=ast.Call(func=function, args=[ast.Call() as value, *_]) as call) if dotted(
                    function
                ) in (f"{tensor}.copy_", f"{tensor}.data.copy_") and _is_getattr(value, name):
                    self._drop("reload", call, statement, source_text(loop.iter), path)


def _empties_buffers(node: ast.expr) -> bool:
    """`init_empty_weights(include_buffers=True)`."""
    if not (isinstance(node, ast.Call) and last_name(dotted(node.func)) == "init_empty_weights"):
        return False
    asked = [k.value for k in node.keywords if k.arg == "include_buffers"] + node.args[:1]
    return any(isinstance(value, ast.Constant) and value.value is True for value in asked)


def _goes_to_meta(node: ast.expr | ast.keyword) -> bool:
    """Whether a context manager, or an argument of a constructor, has modules built on the meta device."""
    if isinstance(node, ast.keyword):
        return node.arg == "device" and _META.match(source_text(node.value)) is not None
    return _empties_buffers(node) or (isinstance(node, ast.Call) and _META.match(source_text(node)) is not None)


def _branches(statement: ast.If | ast.Try | ast.TryStar | ast.Match) -> Iterator[Sequence[ast.stmt]]:
    """The blocks of which one is passed; a `try` that fails half-way is not thought of."""
    match statement:
        case ast.If():
            yield statement.body
            yield statement.orelse
        case ast.Match():
            yield from (case.body for case in statement.cases)
        case _:
            yield (*statement.body, *statement.orelse)
            yield from (handler.body for handler in statement.handlers)


def _same_path(one: _Path, other: _Path) -> bool:
    """Whether no compound statement takes two steps apart."""
    branches = dict(other)
    return all(branches.get(compound, branch) == branch for compound, branch in one)


def _may_forget_weights(call: ast.Call) -> bool:
    """Whether an allocator that goes to sleep is told to back up nothing, always or under a condition."""
    told = [keyword.value for keyword in call.keywords if keyword.arg == "offload_tags"]
    choices = [
        choice for value in told for choice in ([value.body, value.orelse] if isinstance(value, ast.IfExp) else [value])
    ]
    return any(source_text(choice) in ("()", "[]", "tuple()", "list()", "None") for choice in choices)


def _emptied_module(loop: ast.For) -> str | None:
    """The module of whose buffers a loop puts an empty tensor in place of each."""
    walked = [node for node in walk(loop.iter) if _walked_module(node) is not None]
    tensor = loop.target.elts[-1] if isinstance(loop.target, ast.Tuple) and loop.target.elts else loop.target
    for node in walk(ast.Module(loop.body, [])) if walked else ():
        match node:
            case ast.Call(args=[ast.Name(id=emptied), *_]) if last_name(dotted(node.func)) == "empty_like":
                if emptied == dotted(tensor):
                    return _walked_module(walked[0])
    return None


def _walked_module(node: ast.AST) -> str | None:
    """The module whose buffers an expression gives."""
    match node:
        case ast.Call(func=ast.Attribute(value=module, attr=method)) if vocabulary.WALKS.get(method) == "buffers":
            return source_text(module)
        case ast.Attribute(value=module, attr="_buffers"):
            return source_text(module)
    return None


def _is_getattr(node: ast.Call, name: str) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Name(id=attribute), *_]):
            return attribute == name
    return False
