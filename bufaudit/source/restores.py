"""What initialisers write: the buffers that a load through the meta device gets back."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

from bufaudit.source import vocabulary
from bufaudit.source.blocks import Gate, any_match, any_word
from bufaudit.source.facts import HandoverFact, RestoreFact, SparingFact
from bufaudit.source.guards import guards_of
from bufaudit.source.syntax import Definition, branches_of_test, constant_string, dotted, last_name, name_pattern, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bufaudit.source.facts import Guard
    from bufaudit.source.syntax import Places

How = Literal["function", "in-place", "assignment", "mark"]

#: An initialiser.
GATE = Gate(any_match("def[ \\t]+(?:" + "|".join(vocabulary.INITIALISERS) + ")"))
#: A part whose weights another library may load.
PRETRAINED = Gate(any_word("pretrained="))

#: What a variable holds that runs over the buffers of a module.
_A_TENSOR = "*tensor"
_OWN_CLASS = ("self.__class__", "type()")
#: Functions that are given a module and leave its state alone.
_HARMLESS = frozenset(
    {
        "isinstance",
        "issubclass",
        "hasattr",
        "getattr",
        "setattr",
        "type",
        "id",
        "print",
        "len",
        "repr",
        "str",
        "callable",
    }
)
_PARAMETER_WALKS = frozenset({"named_parameters", "parameters", "state_dict"})
_TENSOR_WALKS = frozenset({"named_buffers", "buffers", "named_non_persistent_buffers"})
_DEEPEST_INLINING = 2
#: Of one block, for the classes that the conditions around it ask for; and facts of one class.
_MOST_READINGS = 1_000
_MOST = 5_000

Fact = RestoreFact | HandoverFact


@dataclass(frozen=True, slots=True)
class _Reader:
    """What one initialiser does: `methods` are those of its class, which it may call with the module.

    Below a question for several classes a block is read once for each: `times` says how often this one is.
    """

    initialiser: str
    methods: Mapping[str, Definition]
    places: Places
    depth: int = 0
    needs: frozenset[str] = frozenset()
    times: int = 1

    def block(
        self, body: Sequence[ast.stmt], roots: Mapping[str, str | None], guards: frozenset[Guard]
    ) -> Iterator[Fact]:
        """The facts of some statements; `roots` are the variables that hold a module, with whose it is."""
        roots = dict(roots)
        asked_for: dict[str, str] = {}
        asked_before: set[str] = set()
        for statement in body:
            match statement:
                case ast.If():
                    yield from self._handed(walk(statement.test), roots, guards)
                    inner = guards | guards_of(statement.test)
                    if asked_before & set(_names(statement.test)):
                        inner |= {"initialized"}
                    asked = _classes_asked(statement.test)
                    if self.times * sum(map(len, asked.values())) > _MOST_READINGS:
                        asked = {}
                    reader = replace(
                        self,
                        needs=self.needs | _attributes_asked(statement.test, asked_for),
                        times=self.times * max(sum(map(len, asked.values())), 1),
                    )
                    for variable, targets in asked.items():
                        for target in targets:
                            yield from reader.block(statement.body, {**roots, variable: target}, inner)
                    if not asked:
                        yield from reader.block(statement.body, roots, inner)
                    yield from self.block(statement.orelse, roots, guards)
                    if isinstance(statement.body[-1], ast.Continue | ast.Return):
                        guards = inner
                case ast.For():
                    yield from self._handed(walk(statement.iter), roots, guards)
                    yield from self.block(statement.body, {**roots, **_loop_roots(statement, roots)}, guards)
                case ast.While() | ast.With() | ast.Try():
                    yield from self.block(statement.body, roots, guards)
                case ast.Match():
                    for case in statement.cases:
                        yield from self.block(case.body, roots, guards)
                case _:
                    calls = [node for node in walk(statement) if isinstance(node, ast.Call)]
                    for fact in _writes(statement, calls, self.initialiser, roots, guards, self.places):
                        yield replace(fact, needs=self.needs) if self.needs else fact
                    yield from self._handed(calls, roots, guards)
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if _stands_for_part(value, roots):
                    roots[name] = "*"
                case ast.Assign(
                    targets=[ast.Name(id=name)],
                    value=ast.Call(
                        func=ast.Name(id="getattr"), args=[ast.Name(), ast.Constant(value=str(attribute)), _]
                    ),
                ):
                    asked_for[name] = attribute
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if "initialized" in guards_of(value):
                    asked_before.add(name)

    def _handed(
        self, nodes: Iterable[ast.AST], roots: Mapping[str, str | None], guards: frozenset[Guard]
    ) -> Iterator[Fact]:
        for call in nodes:
            match call:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=root), attr=method)) if root in roots and not any(
                    _root_of(argument, roots) for argument in call.args
                ):
                    yield HandoverFact(self.initialiser, roots[root], method, of_module=True)
                case ast.Call(func=function, args=arguments):
                    callee = dotted(function)
                    leaves_alone = last_name(callee) in _HARMLESS or callee.endswith("_")
                    if not leaves_alone and any(_root_of(argument, roots) for argument in arguments):
                        yield from self._given(call, callee, roots, guards)

    def _given(
        self, call: ast.Call, callee: str, roots: Mapping[str, str | None], guards: frozenset[Guard]
    ) -> Iterator[Fact]:
        """A call that is given a module: read as if it stood here where it is a method of the same class."""
        method = self.methods.get(last_name(callee)) if callee.startswith(("self.", "cls.")) else None
        if method is None or self.depth == _DEEPEST_INLINING:
            for root in dict.fromkeys(root for argument in call.args if (root := _root_of(argument, roots))):
                yield HandoverFact(self.initialiser, roots[root], callee, of_module=False)
            return
        parameters = [argument.arg for argument in method.args.args]
        parameters = parameters[1:] if parameters[:1] in (["self"], ["cls"]) else parameters
        inner: dict[str, str | None] = {"self": None}
        for parameter, argument in zip(parameters, call.args, strict=False):
            given = _root_of(argument, roots)
            if given is not None:
                inner[parameter] = roots[given]
        yield from replace(self, depth=self.depth + 1).block(method.body, inner, guards)


def restores_of_class(node: ast.ClassDef, qualified_name: str, places: Places) -> Iterator[Fact]:
    """The buffers that the initialisers of a class write, of its own and of the classes that they ask for.

    And what they leave to others. What an initialiser writes itself comes before what it has another method write.
    """
    methods = {method.name: method for method in node.body if isinstance(method, Definition)}
    initialisers = [method for method in methods.values() if method.name.startswith(vocabulary.INITIALISERS)]
    facts = ((method, fact) for method in initialisers for fact in _facts(method, qualified_name, methods, places))
    found = list(islice(facts, _MOST))
    yield from (fact for method, fact in found if _stands_in(method, fact))
    yield from (fact for method, fact in found if not _stands_in(method, fact))


def _facts(
    method: Definition, qualified_name: str, methods: Mapping[str, Definition], places: Places
) -> Iterator[Fact]:
    arguments = [argument.arg for argument in method.args.args]
    roots: dict[str, str | None] = {"self": None}
    if len(arguments) > 1:
        roots[arguments[1]] = "*"
    reader = _Reader(f"{qualified_name}.{method.name}", methods, places)
    flags: frozenset[str] | None = None
    for fact in reader.block(method.body, roots, frozenset()):
        if isinstance(fact, RestoreFact) and fact.how == "mark":
            flags = _flags_read(method) if flags is None else flags
            if fact.attribute in flags:
                fact = replace(fact, guards=fact.guards | {"initialized"})
        yield fact


def _stands_in(method: Definition, fact: Fact) -> bool:
    return isinstance(fact, HandoverFact) or method.lineno <= fact.place.line <= (method.end_lineno or method.lineno)


def sparings_of_class(node: ast.ClassDef, qualified_name: str, places: Places) -> Iterator[SparingFact]:
    """The initialisers of a class that spare loaded tensors only where an option tells them to.

    One of the kind that hands every module on to `_init_weights`, which may write in place.
    """
    for method in node.body:
        if not isinstance(method, Definition) or not method.name.startswith(vocabulary.INITIALISERS):
            continue
        options = {argument.arg for argument in (*method.args.args, *method.args.kwonlyargs)}
        for statement in method.body:
            match statement:
                case ast.If(test=ast.BoolOp(op=ast.And()) as test, body=[*_, ast.Return()]) if _asks_all_marks(test):
                    operands = branches_of_test(test)
                    option = next(
                        (each.id for each in operands if isinstance(each, ast.Name) and each.id in options), ""
                    )
                    if option and _hands_on(method):
                        yield SparingFact(f"{qualified_name}.{method.name}", option, places.of(test, statement))


def _hands_on(method: Definition) -> bool:
    """Whether a method calls `_init_weights` of its own object."""
    return any(isinstance(node, ast.Call) and dotted(node.func) == "self._init_weights" for node in walk(method))


def _asks_all_marks(test: ast.expr) -> bool:
    """Whether a condition asks if all tensors of a module are marked as loaded."""
    return any(
        isinstance(node, ast.Call) and dotted(node.func) == "all" and "initialized" in guards_of(node)
        for node in walk(test)
    )


def _attributes_asked(test: ast.expr, variables: Mapping[str, str]) -> frozenset[str]:
    """The attributes without which a condition does not hold; `variables` hold what some attributes gave."""
    found = set()
    for node in walk(test):
        match node:
            case ast.Call(func=ast.Name(id="hasattr"), args=[_, ast.Constant(value=str(attribute))]):
                found.add(attribute)
            case ast.Name(id=name) if name in variables:
                found.add(variables[name])
    return frozenset(found)


def _root_of(node: ast.expr, roots: Mapping[str, str | None]) -> str | None:
    """The variable that an expression is, if it holds a module other than the initialiser's own object."""
    return node.id if isinstance(node, ast.Name) and node.id in roots and node.id != "self" else None


def _loop_roots(loop: ast.For, roots: Mapping[str, str | None]) -> dict[str, str | None]:
    """The variables of a loop over parts of a module, or over its buffers."""
    source = {node.id for node in walk(loop.iter) if isinstance(node, ast.Name)}
    if source.isdisjoint(roots):
        return {}
    if any(isinstance(node, ast.Attribute) and node.attr in _PARAMETER_WALKS for node in walk(loop.iter)):
        return {}
    variables = [node.id for node in walk(loop.target) if isinstance(node, ast.Name)]
    tensors = any(isinstance(node, ast.Attribute) and node.attr in _TENSOR_WALKS for node in walk(loop.iter))
    return dict.fromkeys(variables[-1:], _A_TENSOR if tensors else "*")


def _stands_for_part(value: ast.expr, roots: Mapping[str, str | None]) -> bool:
    found = _attribute(value) if isinstance(value, ast.Attribute | ast.Subscript) else None
    return found is not None and found[0] in roots


def _writes(
    statement: ast.stmt,
    calls: Sequence[ast.Call],
    initialiser: str,
    roots: Mapping[str, str | None],
    guards: frozenset[Guard],
    places: Places,
) -> Iterator[RestoreFact]:
    for how, target in _written(statement, calls):
        found = _attribute(target)
        if isinstance(target, ast.Name) and roots.get(target.id) == _A_TENSOR:
            found = target.id, "{}"
        if found is not None and found[0] in roots:
            place = places.of(statement, statement)
            owner = roots[found[0]]
            asked = "*" if owner == _A_TENSOR else owner
            yield RestoreFact(initialiser, asked, found[1], how, place, guards, _picks(target))


def _written(statement: ast.stmt, calls: Sequence[ast.Call]) -> Iterator[tuple[How, ast.expr]]:
    match statement:
        case ast.Assign(targets=targets):
            for target in targets:
                yield _how(target, statement.value), target
        case ast.AugAssign(target=target):
            yield "in-place", target
    for node in calls:
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


def _picks(node: ast.expr) -> bool:
    """Whether an expression stands for what an index picks of a tensor."""
    match node:
        case ast.Subscript(slice=index):
            whole = isinstance(index, ast.Slice) and index.lower is index.upper is None
            return not whole and not (isinstance(index, ast.Constant) and index.value is ...)
        case ast.Attribute(value=value):
            return _picks(value)
    return False


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
    return ast.Attribute(owner, pattern or "{}", ast.Store())


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
            return root, name_pattern(name) or "{}"
        case ast.Call(func=ast.Attribute(value=value)):
            return _attribute(value)
    return None


def _classes_asked(test: ast.expr) -> dict[str, list[str | None]]:
    """By variable: the classes that a condition asks it to be, None for that of the initialiser's own object."""
    asked: dict[str, list[str | None]] = {}
    for node in walk(test):
        match node:
            case ast.Call(func=ast.Name(id="isinstance"), args=[ast.Name(id=variable), classes]):
                names = [name for name in map(dotted, _alternatives(classes)) if name]
                if names:
                    asked.setdefault(variable, []).extend(None if name in _OWN_CLASS else name for name in names)
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
