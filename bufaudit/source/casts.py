"""Casts of whole modules to another dtype, and what a class makes of the dtype of a buffer that it registers."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from bufaudit.patterns import lazy_pattern
from bufaudit.source import vocabulary
from bufaudit.source.blocks import Gate, any_word
from bufaudit.source.facts import DtypeUse
from bufaudit.source.syntax import Definition, dotted, last_name, source_text, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bufaudit.source.facts import Cast, RegistrationFact
    from bufaudit.source.syntax import Places

#: Methods that cast to half precision without being told a dtype.
_HALVES = {"half": "torch.float16", "bfloat16": "torch.bfloat16"}
_HALVED = any_word(*(f".{method}()" for method in _HALVES))
_TO = lazy_pattern(r"\.to\([^()]*+(?:\([^()]*+\)[^()]*+)*+\)(?=[ \t]*(?:[.#;\n]|$))")
_STATEMENT = lazy_pattern(r"[ \t]*(?P<module>[A-Za-z_][\w.\[\]]*)$")
_ASSIGNMENT = lazy_pattern(r"[ \t]*(?P<module>[A-Za-z_][\w.]*) = (?P=module)$")
_DTYPE = lazy_pattern(r"dtype|float16|half|precision|torch_type")
_FULL = lazy_pattern(
    r"float32|float64|\bfloat\b|double|fp32|int\d|\bint\b|long|bool|(orig|prev|old|saved|backup|master)\w*_"
)
_HALF = lazy_pattern(r"float16|half|bf16|fp16")
_CHAINED = frozenset({"eval", "train", "cuda", "cpu", "requires_grad_"})
#: Names of variables that hold a model rather than a layer or a tensor.
MODULE_NAME = lazy_pattern(
    r"(^|_)(model|module|network|net|transformer|policy|actor|critic|llm|student|learner|backbone)(_g)?$"
)
#: Methods that walk a tree's modules one by one.
_MODULE_WALKS = frozenset({"modules", "named_modules", "children", "named_children", "parameters", "named_parameters"})
#: Buffers whose values are small steps, exponents or statistics, which half precision rounds away.
PRECISE = lazy_pattern(
    r"inv_freq|(^|_)inverse_freq|(expert|correction|score|router|routing)\w*_bias|(^|_)running_(mean|var)",
)
_FLOAT32 = lazy_pattern(r"dtype=torch\.float(32)?\b|\.float\(\)|\.to\(torch\.float(32)?\)")
_OTHER_DTYPE = lazy_pattern(r"complex|polar|bool|float16|\.half\(|(empty|zeros|tensor)\((\(\)|\[\]|0\b)|^None$")
#: Arguments of a method that are positions, which rounding to their dtype is meant for.
_POSITIONS = lazy_pattern(r"^(t|seq|pos\w*|position\w*|time\w*|coord\w*|\w*_ids|freqs?)$")


def offsets(text: str) -> Iterator[int]:
    """Where in a text, in no order, a statement may cast a module."""
    yield from _calls_of_to(text)
    yield from _HALVED(text)


def _calls_of_to(text: str) -> Iterator[int]:
    position = text.find(".to(")
    while position >= 0:
        before = text[text.rfind("\n", 0, position) + 1 : position]
        if _STATEMENT.match(before) or ((found := _ASSIGNMENT.match(before)) and MODULE_NAME.search(found["module"])):
            match = _TO.match(text, position)
            if match is not None and _DTYPE.search(match[0]):
                yield position
        position = text.find(".to(", position + 1)


GATE = Gate(offsets)


def lowered_by(statement: ast.stmt) -> tuple[ast.Call, ast.expr, str] | None:
    """The call by which a statement casts a module to a lower dtype, the module and the dtype."""
    match statement:
        case ast.Expr(value=value):
            return _in_chain(value)
        case ast.Assign(targets=[ast.Name() | ast.Attribute() as target], value=value):
            found = _in_chain(value)
            if found is None or not MODULE_NAME.search(last_name(dotted(found[1]))):
                return None
            return found if MODULE_NAME.search(last_name(dotted(target))) else None
    return None


def lowered_arguments(statement: ast.stmt) -> Iterator[tuple[ast.Call, ast.expr, str]]:
    """The modules that a statement casts and hands to another call."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        for argument in statement.value.args:
            found = _in_chain(argument)
            if found is not None and MODULE_NAME.search(last_name(dotted(found[1]))):
                yield found


def _in_chain(node: ast.expr) -> tuple[ast.Call, ast.expr, str] | None:
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        dtype = lower_dtype(node)
        if dtype:
            return node, node.func.value, dtype
        if node.func.attr not in _CHAINED:
            return None
        node = node.func.value
    return None


def lower_dtype(call: ast.Call) -> str:
    """The dtype that a method call casts to, "" where it casts to none or to full precision."""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if method in _HALVES and not call.args and not call.keywords:
        return _HALVES[method]
    if method != "to":
        return ""
    named = next((keyword.value for keyword in call.keywords if keyword.arg == "dtype"), None)
    given = [named] if named is not None else call.args
    texts = [text for text in map(source_text, given) if named is not None or _DTYPE.search(text)]
    if not texts or (_FULL.search(texts[0]) and not _HALF.search(texts[0])):
        return ""
    return texts[0]


def module_variables(target: ast.expr, iterable: ast.expr) -> Iterator[str]:
    """The variables of a loop that takes a tree's modules, or parameters, one by one."""
    walked = any(
        isinstance(node, ast.Call) and last_name(dotted(node.func)) in _MODULE_WALKS for node in walk(iterable)
    )
    if walked:
        yield from (node.id for node in walk(target) if isinstance(node, ast.Name))


def going_on(found: Sequence[Cast], body: Sequence[ast.stmt]) -> tuple[Cast, ...]:
    """Casts in some statements, told which of their modules go on to be trained there, or generate for it.

    A dtype that is a variable is half precision where the statements name one: it is one of its values.
    """
    receivers = {cast.receiver for cast in found}
    trained: set[str] = set()
    half = False
    for node in (node for statement in body for node in walk(statement)) if receivers else ():
        if isinstance(node, ast.Attribute) and _HALF.search(node.attr):
            half = True
        if isinstance(node, ast.Call) and last_name(dotted(node.func)) in vocabulary.GOES_ON:
            owner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
            trained.update(map(source_text, (*owner, *node.args)))
    return tuple(
        replace(cast, goes_on=cast.receiver in trained, half=half or _HALF.search(cast.dtype) is not None)
        for cast in found
    )


def is_precise(fact: RegistrationFact) -> bool:
    """Whether a buffer is of float32 and holds what half precision rounds away, by its name or as its code says."""
    if _OTHER_DTYPE.search(fact.made_from):
        return False
    return PRECISE.search(fact.name) is not None or is_float32(fact)


def is_float32(fact: RegistrationFact) -> bool:
    """Whether a registration says that its buffer is of float32."""
    return _FLOAT32.search(f"{fact.value} {fact.made_from}") is not None


def uses_of_class(
    node: ast.ClassDef, name: str, attributes: frozenset[str], places: Places, text_of: Callable[[ast.stmt], str]
) -> Iterator[DtypeUse]:
    """What a class makes, once an object is built, of the dtype of buffers that it registers.

    `text_of` gives a method's source.
    """
    texts = {method: text_of(method) for method in node.body if isinstance(method, Definition)}
    late = _run_later({method.name: text for method, text in texts.items()})
    for method, text in texts.items():
        if method.name not in late or not any(attribute in text for attribute in attributes):
            continue
        nodes = list(_with_statements(method.body))
        activations = _activation_dtypes(method, [child for child, _ in nodes])
        read: set[str] = set()
        for child, statement in nodes:
            if not isinstance(child, _TELLING):
                continue
            how, attribute = _use(child, activations)
            if attribute not in attributes or (how == "read" and attribute in read):
                continue
            read.add(attribute)
            place = places.of(child, statement)
            yield DtypeUse(name, attribute, how, f"{name}.{method.name}", place)


def _run_later(texts: Mapping[str, str]) -> frozenset[str]:
    """Of methods, by their sources, those that may run after the object was built."""
    callers = {name: {caller for caller, text in texts.items() if f"self.{name}(" in text} for name in texts}
    late = {name for name in texts if name != "__init__" and callers[name] != {"__init__"}}
    while more := {name for name in texts if name not in late and callers[name] & late}:
        late |= more
    return frozenset(late - {"__init__"})


def _activation_dtypes(method: Definition, nodes: Sequence[ast.AST]) -> frozenset[str]:
    """The source texts that stand in a method for the dtype of what it is given, positions excepted."""
    arguments = (*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs)
    given = {argument.arg for argument in arguments if not _POSITIONS.search(argument.arg)}
    found = {f"{name}.dtype" for name in given} | {name for name in given if "dtype" in name}
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=assigned)):
                pairs = zip(names, assigned, strict=False)
            case ast.Assign(targets=[target], value=value):
                pairs = zip([target], [value], strict=True)
            case _:
                continue
        found.update(dotted(target) for target, value in pairs if dotted(value) in found)
    return frozenset(found)


#: The nodes that can make something of a dtype.
_TELLING = (ast.Call, ast.Compare, ast.Assign, ast.Attribute)
How = Literal["rounded", "positions", "raised", "asked", "renewed", "read"]


def _use(node: ast.AST, activations: frozenset[str]) -> tuple[How, str]:
    """What a node makes of the dtype of an attribute of self, "" where it makes nothing of any."""
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr="float" | "double")) if attribute := _buffer(value):
            return "raised", attribute
        case ast.Call(func=ast.Attribute(value=value, attr="half" | "bfloat16")) if attribute := _buffer(value):
            return "rounded", attribute
        case ast.Call(func=ast.Attribute(value=value, attr="to")) if attribute := _buffer(value):
            texts = [source_text(each) for each in (*node.args, *(keyword.value for keyword in node.keywords))]
            if any(_FULL.search(text) for text in texts):
                return "raised", attribute
            if any(text in activations for text in texts):
                return "rounded", attribute
        case ast.Call(func=ast.Attribute(attr="type_as"), args=[argument]) if attribute := _buffer(argument):
            return "positions", attribute
        case ast.Call() if last_name(dotted(node.func)) in ("arange", "to", "type"):
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                if isinstance(argument, ast.Attribute) and argument.attr == "dtype":
                    return "positions", _buffer(argument.value)
        case ast.Compare(left=ast.Attribute(value=value, attr="dtype")):
            return "asked", _buffer(value)
        case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=attribute)]):
            return "renewed", attribute
        case ast.Attribute(value=ast.Name(id="self"), attr=attribute, ctx=ast.Load()):
            return "read", attribute
    return "read", ""


def _buffer(node: ast.expr) -> str:
    """The attribute of self that an expression is made of without arithmetic."""
    while True:
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=attribute):
                return attribute
            case ast.Call(func=ast.Attribute(value=inner, attr="to" | "clone" | "detach" | "view" | "expand")):
                node = inner
            case ast.Subscript(value=inner) | ast.Attribute(value=inner, attr="data"):
                node = inner
            case _:
                return ""


def _with_statements(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.expr | ast.stmt, ast.stmt]]:
    """Everything below some statements, outer nodes first, each with the innermost statement that holds it."""
    level: list[tuple[ast.AST, ast.stmt]] = [(statement, statement) for statement in body]
    while level:
        yield from ((node, statement) for node, statement in level if isinstance(node, ast.expr | ast.stmt))
        level = [
            (child, child if isinstance(child, ast.stmt) else statement)
            for node, statement in level
            for child in ast.iter_child_nodes(node)
        ]
