"""The statements of a class or function that register a buffer, in every form that PyTorch knows."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Literal

from bufaudit.source import vocabulary
from bufaudit.source.blocks import Gate, any_word
from bufaudit.source.facts import FillFact, RegistrationFact
from bufaudit.source.hazards import hazards_of
from bufaudit.source.phases import calls_on_self, each_time, fits_of_more, phases, reached_from
from bufaudit.source.syntax import Definition, constant_string, dotted, last_name, name_pattern, source_text, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bufaudit.source.syntax import Places

#: Words without one of which no statement registers a buffer; aliases of `Buffer` come on top.
WORDS = ("register_buffer", "Buffer(", "._buffers")
#: The methods around tell when one is called that registers, with which names, and what becomes of the buffers.
GATE = Gate(any_word(*WORDS))


def gate_of(buffer_names: Iterable[str]) -> Gate:
    """The gate of a file that has names of its own for `torch.nn.Buffer`."""
    return Gate(any_word(*WORDS, *sorted({f"{last_name(name)}(" for name in buffer_names})))


#: Facts of one class; a loop over literals in which much is registered may mean millions.
_MOST = 5_000

How = Literal["register_buffer", "nn.Buffer", "setattr", "_buffers"]


#: A test, or words about what must happen first; text is made of tests only where something is registered.
_Condition = ast.expr | str


@dataclass(frozen=True, slots=True)
class _Context:
    """Where a statement stands: in which method, under which conditions, after which assignments."""

    method: str = ""
    on_cpu: bool = False
    conditions: tuple[_Condition, ...] = ()
    literals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buffers: Mapping[str, ast.Call] = field(default_factory=dict)
    assigned: Mapping[str, ast.expr] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegistrationReader:
    """Reads registrations in one file; `buffer_names` are the dotted names that stand for `torch.nn.Buffer`."""

    places: Places
    buffer_names: frozenset[str]

    def of_class(self, node: ast.ClassDef, qualified_name: str) -> Iterator[RegistrationFact]:
        """What the methods of a class register, those of nested classes not included."""
        methods = [child for child in node.body if isinstance(child, Definition)]
        facts = ((method, fact) for method in methods for fact in self.of_function(method, qualified_name))
        found = list(islice(facts, _MOST))
        if all(method.name == "__init__" for method, _ in found):
            yield from (fact for _, fact in found)
            return
        calls = calls_on_self(methods)
        built = reached_from(vocabulary.CONSTRUCTORS, calls)
        when = phases(calls)
        callers = _Callers(methods)
        always = {statement.lineno for statement in each_time(methods)}
        of_more = fits_of_more(methods, calls, {fact.name for _, fact in found})
        for method, fact in found:
            anew = fact.condition is None and fact.place.line in always and not _speaks_of(fact.value, fact.name)
            fact = replace(fact, when=when[method.name], each_time=anew, in_fit_of_more=method.name in of_more)
            if method.name not in built:
                late = f"{method.name}() is called"
                fact = replace(fact, condition=f"{late} and {fact.condition}" if fact.condition else late)
            yield from callers.named(fact, method)

    def of_function(self, node: Definition, class_name: str | None) -> Iterator[RegistrationFact]:
        """What a function registers."""
        yield from self._block(node.body, class_name, _Context(method=node.name))

    def fills(
        self, node: ast.ClassDef, qualified_name: str, registered: Sequence[RegistrationFact]
    ) -> Iterator[FillFact]:
        """Where methods of a class assign a value to a buffer that it has `registered` as None."""
        names = {fact.name for fact in registered if fact.made_from == "None" and fact.receiver == "self"}
        if not names:
            return
        methods = [child for child in node.body if isinstance(child, Definition)]
        calls = calls_on_self(methods)
        when = phases(calls)
        always = each_time(methods)
        of_more = fits_of_more(methods, calls, {fact.name for fact in registered})
        for method in methods:
            for statement in (each for each in walk(method) if isinstance(each, ast.stmt)):
                value, attributes = _assigned_on_self(statement)
                for name in sorted(attributes & names):
                    place = self.places.of(statement, statement)
                    made_from = source_text(value)
                    anew = statement in always and not _speaks_of(made_from, name)
                    phase, more = when[method.name], method.name in of_more
                    yield FillFact(qualified_name, name, made_from, method.name, phase, anew, more, place)

    def _block(self, body: Sequence[ast.stmt], class_name: str | None, context: _Context) -> Iterator[RegistrationFact]:
        for statement in body:
            yield from self._statement(statement, class_name, context)
            context = _after_assignment(statement, context)
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                    context = replace(context, literals={**context.literals, name: (text,)})
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call) if self._is_buffer(call):
                    context = replace(context, buffers={**context.buffers, name: call})
                case ast.If(orelse=[]) if isinstance(statement.body[-1], ast.Return | ast.Raise | ast.Continue):
                    negated = ast.UnaryOp(ast.Not(), statement.test)
                    if not isinstance(statement.body[-1], ast.Raise):
                        context = replace(context, conditions=(*context.conditions, negated))

    def _statement(self, statement: ast.stmt, class_name: str | None, context: _Context) -> Iterator[RegistrationFact]:
        match statement:
            case ast.ClassDef():
                return
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                called = replace(context, conditions=(*context.conditions, f"{statement.name}() is called"))
                yield from self._block(statement.body, class_name, called)
            case ast.If():
                test = statement.test
                yield from self._block(
                    statement.body, class_name, replace(context, conditions=(*context.conditions, test))
                )
                negated = ast.UnaryOp(ast.Not(), statement.test)
                yield from self._block(
                    statement.orelse, class_name, replace(context, conditions=(*context.conditions, negated))
                )
            case ast.For() | ast.AsyncFor():
                literals = {**context.literals, **_loop_literals(statement)}
                yield from self._block(statement.body, class_name, replace(context, literals=literals))
                yield from self._block(statement.orelse, class_name, context)
            case ast.While():
                yield from self._block(statement.body, class_name, context)
            case ast.With() | ast.AsyncWith():
                on_cpu = context.on_cpu or any(map(_is_cpu, statement.items))
                yield from self._block(statement.body, class_name, replace(context, on_cpu=on_cpu))
            case ast.Try() | ast.TryStar():
                yield from self._block(statement.body, class_name, context)
                for handler in statement.handlers:
                    conditions = (*context.conditions, f"except {source_text(handler.type)}".strip())
                    yield from self._block(handler.body, class_name, replace(context, conditions=conditions))
                yield from self._block(statement.orelse, class_name, context)
                yield from self._block(statement.finalbody, class_name, context)
            case ast.Match():
                for case in statement.cases:
                    matched = f"{source_text(statement.subject)} is {source_text(case.pattern)}"
                    yield from self._block(
                        case.body, class_name, replace(context, conditions=(*context.conditions, matched))
                    )
            case _:
                yield from self._simple(statement, class_name, context)

    def _simple(self, statement: ast.stmt, class_name: str | None, context: _Context) -> Iterator[RegistrationFact]:
        match statement:
            case ast.Assign(value=value):
                for target in statement.targets:
                    yield from self._assignment(statement, target, value, class_name, context)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield from self._assignment(statement, target, value, class_name, context)
            case ast.Expr(value=value):
                yield from self._expression(statement, value, class_name, context)

    def _expression(
        self, statement: ast.stmt, value: ast.expr, class_name: str | None, context: _Context
    ) -> Iterator[RegistrationFact]:
        match value:
            case ast.Call():
                yield from self._call(statement, value, class_name, context)
            case ast.IfExp(test=test, body=chosen) | ast.BoolOp(op=ast.And(), values=[test, chosen]):
                inner = replace(context, conditions=(*context.conditions, test))
                yield from self._expression(statement, chosen, class_name, inner)
            case ast.ListComp(elt=made):
                yield from self._expression(statement, made, class_name, context)

    def _call(
        self, statement: ast.stmt, call: ast.Call, class_name: str | None, context: _Context
    ) -> Iterator[RegistrationFact]:
        given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        match call.func:
            case ast.Attribute(value=receiver, attr="register_buffer"):
                positional = call.args
                if last_name(dotted(receiver)) == "Module" and positional:
                    receiver, *positional = positional
                arguments = dict(zip(("name", "tensor", "persistent"), positional, strict=False)) | given
                if "name" in arguments:
                    yield from self._facts(
                        statement, call, receiver, arguments["name"], arguments.get("tensor"),
                        arguments.get("persistent"), "register_buffer", class_name, context,
                    )  # fmt: skip
            case ast.Name(id="setattr") if len(call.args) == 3:
                for condition, buffer in self._buffer_calls(call.args[2], context):
                    inner = replace(context, conditions=(*context.conditions, *condition))
                    yield from self._facts(
                        statement, call, call.args[0], call.args[1], _buffer_value(buffer),
                        _keyword(buffer, "persistent"), "setattr", class_name, inner,
                    )  # fmt: skip

    def _assignment(
        self,
        statement: ast.stmt,
        target: ast.expr,
        value: ast.expr,
        class_name: str | None,
        context: _Context,
    ) -> Iterator[RegistrationFact]:
        match target:
            case ast.Tuple() | ast.List() if isinstance(value, ast.Tuple | ast.List):
                for inner, element in zip(target.elts, value.elts, strict=False):
                    yield from self._assignment(statement, inner, element, class_name, context)
            case ast.Attribute(value=receiver, attr=name):
                for condition, buffer in self._buffer_calls(value, context):
                    inner_context = replace(context, conditions=(*context.conditions, *condition))
                    yield from self._facts(
                        statement, target, receiver, ast.Constant(name), _buffer_value(buffer),
                        _keyword(buffer, "persistent"), "nn.Buffer", class_name, inner_context,
                    )  # fmt: skip
            case ast.Subscript(value=ast.Attribute(value=receiver, attr="_buffers"), slice=key):
                if name_pattern(key) is not None or (isinstance(key, ast.Name) and key.id in context.literals):
                    yield from self._facts(
                        statement, target, receiver, key, value, None, "_buffers", class_name, context
                    )

    def _facts(
        self,
        statement: ast.stmt,
        node: ast.expr,
        receiver: ast.expr,
        name: ast.expr,
        value: ast.expr | None,
        persistent: ast.expr | None,
        how: How,
        class_name: str | None,
        context: _Context,
    ) -> Iterator[RegistrationFact]:
        for spelled in _names(name, context):
            yield RegistrationFact(
                class_name=class_name,
                receiver="self" if dotted(receiver) == "super()" else source_text(receiver),
                name=spelled,
                persistent=_persistence(persistent),
                value=source_text(value),
                made_from=_made_from(value, context),
                how=how,
                place=self.places.of(node, statement),
                condition=_all_of(context.conditions),
                method=context.method,
                when="construction" if context.method == "__init__" else "later",
                each_time=False,
                in_fit_of_more=False,
                hazards=() if context.on_cpu else hazards_of(value, context.assigned),
            )

    def _is_buffer(self, call: ast.Call) -> bool:
        return dotted(call.func) in self.buffer_names

    def _buffer_calls(self, value: ast.expr, context: _Context) -> Iterator[tuple[tuple[_Condition, ...], ast.Call]]:
        """The `nn.Buffer` calls that an expression may be, each with the condition of its branch."""
        match value:
            case ast.Call() if self._is_buffer(value):
                yield (), value
            case ast.Name(id=name) if name in context.buffers:
                yield (), context.buffers[name]
            case ast.IfExp(test=test, body=body, orelse=orelse):
                for condition, call in self._buffer_calls(body, context):
                    yield (test, *condition), call
                for condition, call in self._buffer_calls(orelse, context):
                    yield (ast.UnaryOp(ast.Not(), test), *condition), call
            case ast.NamedExpr(value=inner):
                yield from self._buffer_calls(inner, context)


def _speaks_of(made_from: str, name: str) -> bool:
    """Whether a value may be made from what was there under a name."""
    return re.search(rf"\b{re.escape(name)}\b", made_from) is not None


def _all_of(conditions: Sequence[_Condition]) -> str | None:
    """Conditions as one, in parentheses where they would mean something else without."""
    texts = [condition if isinstance(condition, str) else source_text(condition) for condition in conditions]
    alternative = (" or ", " if ")
    apart = len(texts) > 1
    return (
        " and ".join(f"({text})" if apart and any(word in text for word in alternative) else text for text in texts)
        or None
    )


def _after_assignment(statement: ast.stmt, context: _Context) -> _Context:
    match statement:
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ):
            return replace(context, assigned={**context.assigned, name: value})
    return context


def _made_from(value: ast.expr | None, context: _Context) -> str:
    """The expression that a value comes from, a local variable replaced by what it was last assigned."""
    if isinstance(value, ast.Name) and value.id in context.assigned:
        return source_text(context.assigned[value.id])
    return source_text(value)


def _is_cpu(item: ast.withitem) -> bool:
    """Whether a `with` item is `torch.device("cpu")`."""
    match item.context_expr:
        case ast.Call(args=[ast.Constant(value="cpu"), *_]):
            return True
    return False


def _assigned_on_self(statement: ast.stmt) -> tuple[ast.expr | None, set[str]]:
    """What a statement assigns, and the attributes of self that get it, or one of it, unless it is None."""
    match statement:
        case ast.Assign(targets=targets, value=value):
            pass
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            targets = [target]
        case _:
            return None, set()
    if isinstance(value, ast.Constant) and value.value is None:
        return None, set()
    flat = [inner for target in targets for inner in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return value, {
        target.attr for target in flat if isinstance(target, ast.Attribute) and dotted(target.value) == "self"
    }


def _buffer_value(call: ast.Call) -> ast.expr | None:
    return call.args[0] if call.args else _keyword(call, "data")


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _persistence(node: ast.expr | None) -> bool | str:
    if node is None:
        return True
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return node.value
    return source_text(node)


def _names(node: ast.expr, context: _Context) -> tuple[str, ...]:
    """The names that an expression takes: several where it is a loop variable over literals."""
    literals = context.literals
    match node:
        case ast.Name(id=variable) if variable in literals:
            return literals[variable]
        case ast.Name(id=variable) if variable in context.assigned:
            return (name_pattern(context.assigned[variable]) or "{}",)
        case ast.JoinedStr(values=[*parts]):
            variables = [
                part.value.id
                for part in parts
                if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name)
            ]
            if len(variables) == 1 and variables[0] in literals:
                pattern = name_pattern(node) or "{}"
                return tuple(pattern.replace("{}", literal) for literal in literals[variables[0]])
    return (name_pattern(node) or "{}",)


def _loop_literals(loop: ast.For | ast.AsyncFor) -> dict[str, tuple[str, ...]]:
    """For a loop over literal strings, or over literal tuples that start with one: the variable and its values."""
    source = loop.iter
    loop_target = loop.target
    match source, loop_target:
        case ast.Call(func=ast.Attribute(value=items, attr="items" | "keys")), _:
            source = items
        case ast.Call(func=ast.Name(id="enumerate"), args=[items, *_]), ast.Tuple(elts=[_, counted]):
            source, loop_target = items, counted
    match source:
        case ast.Dict():
            firsts = [constant_string(key) for key in source.keys]
        case ast.Tuple() | ast.List():
            firsts = [
                constant_string(element.elts[0] if isinstance(element, ast.Tuple) and element.elts else element)
                for element in source.elts
            ]
        case _:
            return {}
    target = loop_target.elts[0] if isinstance(loop_target, ast.Tuple) and loop_target.elts else loop_target
    literals = tuple(first for first in firsts if first is not None)
    if not isinstance(target, ast.Name) or len(literals) != len(firsts) or not literals:
        return {}
    return {target.id: literals}


class _Callers:
    """The methods of a class as callers of each other, for those that register under a name which they are given."""

    def __init__(self, methods: Sequence[Definition]) -> None:
        self._methods = methods
        self._given: dict[Definition, tuple[str, ...]] = {}

    def named(self, fact: RegistrationFact, method: Definition) -> Iterator[RegistrationFact]:
        """A method's registration under its name, or one fact for each literal that the class itself gives it."""
        if fact.name != "{}":
            yield fact
            return
        if method not in self._given:
            self._given[method] = self._names_given(method)
        if not self._given[method]:
            yield replace(fact, condition=fact.condition or "the name is computed")
        for name in self._given[method]:
            yield replace(fact, name=name, condition=fact.condition)

    def _names_given(self, method: Definition) -> tuple[str, ...]:
        parameters = [argument.arg for argument in method.args.args[1:]]
        names = _naming_variables(method)
        given: list[str] = []
        for call in self._calls.get(f"self.{method.name}", ()):
            arguments = dict(zip(parameters, call.args, strict=False))
            arguments |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
            values = [value for parameter, value in arguments.items() if parameter in names]
            given += [text for value in values if (text := name_pattern(value)) and text.isidentifier()]
        return tuple(dict.fromkeys(given))

    @cached_property
    def _calls(self) -> Mapping[str, Sequence[ast.Call]]:
        """The calls in all methods, by what they call."""
        found: dict[str, list[ast.Call]] = {}
        for method in self._methods:
            for node in walk(method):
                if isinstance(node, ast.Call):
                    found.setdefault(dotted(node.func), []).append(node)
        return found


def _naming_variables(method: Definition) -> frozenset[str]:
    """The variables by whose values a method names what it registers."""
    found = set()
    for node in walk(method):
        match node:
            case ast.Call(func=ast.Attribute(attr="register_buffer")) if node.args or node.keywords:
                name = node.args[0] if node.args else _keyword(node, "name")
            case ast.Call(func=ast.Name(id="setattr"), args=[_, name, _]):
                pass
            case ast.Subscript(value=ast.Attribute(attr="_buffers"), slice=name):
                pass
            case _:
                continue
        if isinstance(name, ast.Name):
            found.add(name.id)
    return frozenset(found)
