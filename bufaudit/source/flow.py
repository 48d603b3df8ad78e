"""One function read from top to bottom: which state it walks, and what becomes of it.

A loop is read once and branches are merged, so this is no proof; it is what a reader sees who knows what
`named_parameters()` yields and follows the variables.
"""

from __future__ import annotations

import ast
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern
from bufaudit.source import casts, values, vocabulary
from bufaudit.source.constructors import MODULE_WRAPPERS, annotated_types, constructed_type
from bufaudit.source.facts import Function
from bufaudit.source.guards import guards_of, one_rank
from bufaudit.source.record import FullError, Record
from bufaudit.source.syntax import Definition, dotted, last_name, source_text
from bufaudit.source.values import NOTHING, Names, Value
from bufaudit.source.words import telling_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bufaudit.source.facts import EffectKind, Guard, Origin, StateKind
    from bufaudit.source.syntax import Places

_DTYPE = lazy_pattern(r"dtype|torch\.(float|bfloat|half|double|int|long|bool)")
_LONGEST_DOC = 1000
#: No function has a longer name, and looking for words in one takes time that grows with its square.
_LONGEST_NAME = 1000
_LOADS = frozenset(
    {"load_state_dict", "_load_from_state_dict", "set_model_state_dict", "load_model", "load_weights", "to_empty"}
)
#: Calls that matter whatever they are given.
_TELLING_CALLS = _LOADS | vocabulary.COLLECTIVES | vocabulary.RANK_SYNC | vocabulary.BARRIERS
_GROWERS = frozenset({"append", "add", "extend", "insert", "update", "setdefault", "put", "appendleft"})


def read_function(
    body: Sequence[ast.stmt],
    definition: Definition | None,
    *,
    name: str,
    class_name: str | None,
    attribute_types: Mapping[str, str],
    places: Places,
    closure: frozenset[str] = frozenset(),
) -> tuple[Function, ...]:
    """A function and the functions nested in it, those left out in which nothing happens to state.

    `definition` is None for a module's own code; `attribute_types` maps `self.x` to the class that it is made
    from.
    """
    record = Record(places)
    reader = _Reader(record, class_name, attribute_types, closure)
    parameters: tuple[str, ...] = ()
    if definition is not None:
        arguments = definition.args
        parameters = tuple(a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))
        reader.containers.difference_update(parameters)
        reader.types.update(annotated_types(definition))
    with suppress(FullError):
        reader.read_block(body)
    nested: list[Function] = []
    for inner in reader.inner:
        nested += read_function(
            inner.body,
            inner,
            name=f"{name}.{inner.name}" if definition is not None else inner.name,
            class_name=class_name,
            attribute_types=attribute_types,
            places=places,
            closure=frozenset(reader.containers),
        )
    if not (record.walks or record.calls or record.casts):
        return tuple(nested)
    own = Function(
        name=name,
        class_name=class_name,
        line=definition.lineno if definition else 1,
        end_line=(definition.end_lineno or definition.lineno) if definition else (body[-1].end_lineno or 1),
        doc=(ast.get_docstring(definition) or "")[:_LONGEST_DOC] if definition else "",
        parameters=parameters,
        words=telling_words(body),
        walks=tuple(record.walks),
        effects=tuple(record.effects),
        calls=tuple(record.calls),
        casts=casts.going_on(record.casts, body),
    )
    return (own, *nested)


@lru_cache(maxsize=4096)
def _kind_by_name(text: str) -> StateKind | None:
    """What a variable of which nothing is known holds, by its name."""
    if vocabulary.SHAPES_NAME.search(text):
        return "shapes"
    if vocabulary.CHECKPOINT_NAME.search(text) and not vocabulary.NO_MODULE.search(text):
        return "saved"
    return None


class _Reader:
    """The state of reading one function."""

    def __init__(
        self, record: Record, class_name: str | None, attribute_types: Mapping[str, str], containers: frozenset[str]
    ) -> None:
        self._record = record
        self._class_name = class_name
        self.names = Names()
        self.containers = set(containers)
        self.types: dict[str, str] = dict(attribute_types)
        self.inner: list[Definition] = []
        self._loaded_from: dict[str, str] = {}
        self._parts: set[str] = set()
        self._looped: set[str] = set()
        self._saved: dict[str, int] = {}
        self._assigned_from: dict[str, str] = {}
        self._assigned_under: dict[str, frozenset[Guard]] = {}

    # Statements

    def read_block(self, body: Sequence[ast.stmt]) -> None:
        """Read statements in order; an early exit's condition guards what follows it in the same block."""
        depth = len(self._record.conditions)
        for statement in body:
            self._record.statement = statement
            self._read_casts(statement)
            self._read_statement(statement)
            if isinstance(statement, ast.If) and _leaves(statement.body) and not statement.orelse:
                self._record.under(self._branch_guards(statement.test, taken=False))
        del self._record.conditions[depth:]

    def _read_statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.inner.append(statement)
            case ast.ClassDef():
                pass
            case ast.Assign():
                value = self._evaluate(statement.value)
                for target in statement.targets:
                    self._assign(target, value, statement.value)
            case ast.AnnAssign(value=ast.expr() as assigned):
                self._assign(statement.target, self._evaluate(assigned), assigned)
            case ast.AugAssign():
                self._augment(statement)
            case ast.For() | ast.AsyncFor():
                self._parts.update(casts.module_variables(statement.target, statement.iter))
                self._bind(statement.target, self._evaluate(statement.iter))
                self._looped.update(node.id for node in ast.walk(statement.target) if isinstance(node, ast.Name))
                self.read_block(statement.body)
                self.read_block(statement.orelse)
            case ast.While():
                self._evaluate(statement.test)
                self.read_block(statement.body)
                self.read_block(statement.orelse)
            case ast.If():
                self._read_if(statement)
            case ast.With() | ast.AsyncWith():
                for item in statement.items:
                    value = self._evaluate(item.context_expr)
                    if item.optional_vars is not None:
                        self._assign(item.optional_vars, value, item.context_expr)
                self.read_block(statement.body)
            case ast.Try() | ast.TryStar():
                for block in (statement.body, *(handler.body for handler in statement.handlers)):
                    self.read_block(block)
                self.read_block(statement.orelse)
                self.read_block(statement.finalbody)
            case ast.Match():
                self._evaluate(statement.subject)
                for case in statement.cases:
                    self.read_block(case.body)
            case ast.Return(value=ast.expr() as returned):
                self._hand_out(self._evaluate(returned), returned, "return")
            case ast.Expr():
                self._evaluate(statement.value, used=False)
            case _:
                for child in ast.iter_child_nodes(statement):
                    if isinstance(child, ast.expr):
                        self._evaluate(child)

    def _read_casts(self, statement: ast.stmt) -> None:
        """Note the modules that a statement casts, each with the class that it is made or loaded from."""
        cast = casts.lowered_by(statement)
        for found in (cast,) if cast else casts.lowered_arguments(statement):
            node, receiver, dtype = found
            _, made = self._module(receiver)
            self._record.cast(
                node,
                receiver,
                made or self._loaded_from.get(dotted(receiver)),
                dtype,
                one_of_many=dotted(receiver).partition(".")[0] in self._parts,
                handed_on=cast is None,
            )
        match statement:
            case ast.Assign(targets=[target], value=ast.Call(func=function)):
                loader, _, method = dotted(function).rpartition(".")
                loader = loader or method
                if loader == "cls":
                    loader = self._class_name or ""
                elif method.lstrip("_") not in ("from_pretrained", "from_config"):
                    return
                if last_name(loader)[:1].isupper():
                    self._loaded_from[dotted(target)] = loader

    def _read_if(self, statement: ast.If) -> None:
        self._evaluate(statement.test)
        branches = []
        for body, taken in ((statement.body, True), (statement.orelse, False)):
            self.names.branch()
            self._record.under(self._branch_guards(statement.test, taken=taken))
            self.read_block(body)
            self._record.conditions.pop()
            branches.append(self.names.undo())
        self.names.merge(*branches)

    def _branch_guards(self, test: ast.expr, *, taken: bool) -> frozenset[Guard]:
        guards = guards_of(test)
        match test:
            case ast.Compare(left=ast.Name() as left, ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(None)]):
                if self._record.kinds(self.names.get(left.id, NOTHING)) == {"parameters"}:
                    guards |= {"parameter"}
        return guards | {"rank"} if one_rank(test) is taken else guards

    # Names

    def _assign(self, target: ast.expr, value: Value, source: ast.expr) -> None:
        match target:
            case ast.Name():
                self.names[target.id] = value
                self._looped.discard(target.id)
                self._assigned_from[target.id] = source_text(source)
                self._assigned_under[target.id] = self._record.guards
                self.containers.discard(target.id)
                if _is_container(source):
                    self.containers.add(target.id)
                made = constructed_type(source, self.types)
                self.types.pop(target.id, None)
                if made:
                    self.types[target.id] = made
                self._keep(target.id, value, target)
            case ast.Tuple() | ast.List():
                self._bind(target, value)
            case ast.Starred():
                self._assign(target.value, value, source)
            case ast.Attribute():
                if _is_container(source):
                    self.containers.add(dotted(target))
                self._assign_attribute(target, value, source)
            case ast.Subscript():
                self._assign_item(target, value)

    def _bind(self, target: ast.expr, iterable: Value) -> None:
        """Bind what iterating over a value gives, or unpack a tuple."""
        item = iterable
        if iterable.kind in ("iterable", "map"):
            item = iterable.item or NOTHING
            if iterable.kind == "map":
                named = values.name(iterable.walks)
                unpacked = isinstance(target, ast.Tuple) and len(target.elts) == 2
                item = Value("tuple", iterable.walks, elements=(named, item)) if unpacked else named
        if not isinstance(target, ast.Tuple | ast.List):
            self._assign(target, item, target)
            return
        elements: Sequence[Value] = item.elements
        if len(elements) != len(target.elts):
            whole = item if item.kind == "name" else values.tensors_in(item)
            elements = [whole] * len(target.elts)
        for element, value in zip(target.elts, elements, strict=True):
            if isinstance(element, ast.Tuple | ast.List):
                self._bind(element, value)
            else:
                self._assign(element, value, element)

    def _keep(self, container: str, value: Value, node: ast.expr) -> None:
        """A container built here gets a name: that stores the tensors in it."""
        held = values.tensors_in(value)
        if value.fresh and held.kind == "tensor":
            self._record.effect("store", node, held, held, container)

    def _assign_attribute(self, target: ast.Attribute, value: Value, source: ast.expr) -> None:
        owner = self._evaluate(target.value)
        stored = values.tensors_in(value)
        if owner.kind == "tensor" and owner.alias:
            if target.attr == "data":
                self._record.effect("write", target, owner, value, "data" if not _is_empty_tensor(source) else "freed")
            elif target.attr not in vocabulary.GRADIENTS and target.attr != "requires_grad":
                self._record.effect("mark", target, owner, NOTHING, target.attr)
            return
        text = dotted(target)
        self.names[text] = value
        self._keep(text, value, target)
        if stored.kind == "tensor" and "parameter" in value.origins:
            self._record.effect("assign", target, stored, value, text)

    def _assign_item(self, target: ast.Subscript, value: Value) -> None:
        container = self._evaluate(target.value)
        key = self._evaluate(target.slice)
        text = dotted(target.value)
        stored = values.tensors_in(value)
        if last_name(text) in vocabulary.STATE_ATTRIBUTES:
            if stored.kind == "tensor" or key.kind == "name":
                subject = values.union(stored, replace(key, kind="tensor"))
                self._record.effect("assign", target, subject, _under_name(value, key), text)
        elif container.kind == "tensor" and container.alias:
            self._record.effect("write", target, container, value, text)
        elif container.kind == "map" and not container.fresh and "saved" not in self._record.kinds(container):
            self._record.effect("write", target, replace(container, kind="tensor"), value, text)
        elif stored.kind == "tensor":
            self._record.effect("store", target, stored, _under_name(stored, key), text)
            base = text.removesuffix("[]")
            if base in self.containers and self.names.get(base, NOTHING).kind == "other":
                held = replace(values.mapping(stored.walks, stored.origins, alias=False), fresh=True)
                self.names[base] = values.filtered(held, self._record.guards)
        elif key.kind == "name" and self._record.kinds(key) == {"shapes"}:
            self._record.effect("store", target, replace(key, kind="tensor"), NOTHING, text)

    def _augment(self, statement: ast.AugAssign) -> None:
        value = self._evaluate(statement.value)
        target = self._evaluate(statement.target)
        if target.kind == "tensor" and target.alias:
            mixed = replace(values.union(values.tensors_in(value), NOTHING), kind="tensor")
            self._record.effect(
                "write", statement, target, replace(mixed, origins=mixed.origins | {"arithmetic"}), "augment"
            )
        elif isinstance(statement.op, ast.Sub) and self._names_missing(statement, target, value):
            return
        elif target.kind in ("iterable", "map", "other") and isinstance(statement.target, ast.Name):
            held = values.tensors_in(value)
            if held.kind == "tensor":
                self.names[statement.target.id] = values.union(target, value)
                self._record.effect("store", statement, held, held, statement.target.id)

    def _hand_out(self, value: Value, node: ast.expr, target: str) -> None:
        held = values.tensors_in(value)
        if held.kind == "tensor" and (value.fresh or target == "yield"):
            self._record.effect("store", node, held, held, target)

    # Expressions

    def _evaluate(self, node: ast.expr, *, used: bool = True) -> Value:
        match node:
            case ast.Name():
                known = self.names.get(node.id, NOTHING)
                return self._by_name(node.id, node) if known == NOTHING else known
            case ast.Attribute():
                return self._attribute(node)
            case ast.Call():
                return self._call(node, used=used)
            case ast.Subscript():
                return self._subscript(node)
            case ast.NamedExpr():
                value = self._evaluate(node.value)
                self._assign(node.target, value, node.value)
                return value
            case ast.Await() | ast.Starred():
                return self._evaluate(node.value, used=used)
            case ast.Yield(value=ast.expr() as yielded):
                self._hand_out(self._evaluate(yielded), node, "yield")
                return NOTHING
            case ast.IfExp():
                self._evaluate(node.test)
                self._record.under(self._branch_guards(node.test, taken=True))
                chosen = self._evaluate(node.body)
                self._record.conditions.pop()
                return values.union(chosen, self._evaluate(node.orelse))
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.Compare():
                return self._compare(node)
            case ast.BoolOp():
                return values.union(*[self._evaluate(operand) for operand in node.values])
            case ast.Tuple():
                elements = tuple(self._evaluate(element) for element in node.elts)
                walks = frozenset[int]().union(*(element.walks for element in elements))
                return values.shallow(Value("tuple", walks, elements=elements, fresh=bool(walks)))
            case ast.List() | ast.Set():
                items = [self._evaluate(element) for element in node.elts]
                return _fresh_iterable(values.union(*items)) if items else NOTHING
            case ast.Dict():
                return self._dictionary(node)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node)
            case ast.Lambda():
                return NOTHING
            case ast.FormattedValue() | ast.JoinedStr():
                parts = [self._evaluate(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
                return values.union(*[part for part in parts if part.kind == "name"])
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self._evaluate(child)
                return NOTHING

    def _by_name(self, text: str, node: ast.expr) -> Value:
        """A variable of which nothing is known: a checkpoint, if it is named like one and not built here."""
        if text in self.containers:
            return NOTHING
        kind = _kind_by_name(text)
        return NOTHING if kind is None else self._saved_state(text, node, kind)

    def _saved_state(self, text: str, node: ast.expr, kind: StateKind) -> Value:
        if text not in self._saved:
            self._saved[text] = self._record.walk(kind, text, None, node)
        return values.mapping(frozenset({self._saved[text]}), frozenset({"checkpoint"}), alias=False)

    def _attribute(self, node: ast.Attribute) -> Value:
        text = dotted(node)
        if self.names.get(text, NOTHING) != NOTHING:
            return self.names[text]
        owner = self._evaluate(node.value)
        if node.attr in vocabulary.STATE_ATTRIBUTES:
            walk = self._record.walk(vocabulary.STATE_ATTRIBUTES[node.attr], *self._module(node.value), node)
            return values.mapping(frozenset({walk}), frozenset({"raw"}), alias=True)
        if owner.kind == "tensor":
            if node.attr in vocabulary.SHARDED_ATTRIBUTES and self._record.kinds(owner) & {"state_dict", "saved"}:
                self._record.effect("attribute", node, owner, NOTHING, node.attr)
            if node.attr in vocabulary.GRADIENTS:
                return replace(owner, alias=False, origins=frozenset({"gradient"}))
            if node.attr in vocabulary.NO_TENSOR:
                return NOTHING
            return owner if node.attr in vocabulary.ALIASES else replace(owner, alias=False)
        if owner.kind == "other" and node.attr in vocabulary.STATISTICS:
            walk = self._record.walk("buffers", *self._module(node.value), node)
            return values.tensor(frozenset({walk}), frozenset({"raw"}), alias=True)
        if owner.kind == "other" and text:
            return self._by_name(text, node)
        return NOTHING

    def _subscript(self, node: ast.Subscript) -> Value:
        container = self._evaluate(node.value)
        key = self._evaluate(node.slice)
        return self._look_up(node, container, key)

    def _look_up(self, node: ast.expr, container: Value, key: Value) -> Value:
        if container.kind == "map":
            by_own_name = key.walks & container.walks
            if "parameters" in self._record.kinds(container) and not by_own_name and not _is_literal_key(node):
                self._record.effect(
                    "lookup", node, replace(container, kind="tensor"), replace(key, kind="tensor"), "[]"
                )
            return container.item or NOTHING
        if container.kind == "tensor":
            return container
        if container.kind == "iterable":
            # One tensor, picked by its position, is no state.
            return NOTHING if _is_literal_key(node) else container.item or NOTHING
        if container.kind == "tuple":
            return values.union(*container.elements)
        return NOTHING

    def _arithmetic(self, node: ast.BinOp) -> Value:
        left, right = self._evaluate(node.left), self._evaluate(node.right)
        if isinstance(node.op, ast.Sub) and self._names_missing(node, left, right):
            return NOTHING
        both = values.union(left, right)
        if "tensor" in (left.kind, right.kind):
            return replace(both, kind="tensor", alias=False, origins=both.origins | {"arithmetic"})
        if "iterable" in (left.kind, right.kind) and isinstance(node.op, ast.Add):
            return replace(both, kind="iterable")
        if "map" in (left.kind, right.kind) and isinstance(node.op, ast.BitOr):
            return replace(both, kind="map", fresh=True)
        return both if both.kind == "name" else NOTHING

    def _names_missing(self, node: ast.expr | ast.stmt, left: Value, right: Value) -> bool:
        if "parameters" in self._record.kinds(left) and {"saved"} & self._record.kinds(right):
            target = self._assignment_target()
            self._record.effect("missing", node, replace(left, kind="tensor"), replace(right, kind="tensor"), target)
            return True
        return False

    def _compare(self, node: ast.Compare) -> Value:
        left = self._evaluate(node.left)
        others = [self._evaluate(comparator) for comparator in node.comparators]
        if isinstance(node.ops[0], ast.NotIn) and left.kind == "name" and others[0].kind in ("map", "iterable"):
            self._names_missing(node, left, others[0])
        return NOTHING

    def _dictionary(self, node: ast.Dict) -> Value:
        merged = []
        for key, item in zip(node.keys, node.values, strict=True):
            value = self._evaluate(item)
            if key is None:
                merged.append(value)
                continue
            self._evaluate(key)
            held = values.tensors_in(value)
            if held.kind == "tensor":
                merged.append(Value("map", held.walks, held.origins, item=held))
        found = values.union(*merged)
        return replace(found, kind="map", fresh=True) if found != NOTHING else NOTHING

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
        self.names.branch()
        depth = len(self._record.conditions)
        filters: frozenset[Guard] = frozenset()
        for generator in node.generators:
            self._bind(generator.target, self._evaluate(generator.iter))
            for test in generator.ifs:
                self._evaluate(test)
                filters |= guards_of(test)
                self._record.under(filters)
        if isinstance(node, ast.DictComp):
            key = self._evaluate(node.key)
            item = self._evaluate(node.value)
            held = values.tensors_in(item)
            result = NOTHING
            if held.kind == "tensor":
                keyed: frozenset[Origin] = frozenset({"keyed"} if key.walks & held.walks else ())
                held = replace(held, origins=held.origins | keyed)
                result = Value("map", held.walks, held.origins, fresh=True, item=held)
        else:
            item = self._evaluate(node.elt)
            result = _fresh_iterable(item)
        if result.fresh and self._record.conditions[depth:]:
            self._effect_on_filtered(result, node)
            result = values.filtered(replace(result, fresh=False), filters)
        del self._record.conditions[depth:]
        self.names.undo()
        return result

    def _effect_on_filtered(self, result: Value, node: ast.expr) -> None:
        """A filtered comprehension stores what it lets through, whatever name it then gets."""
        held = values.tensors_in(result)
        if held.kind == "tensor":
            self._record.effect("store", node, held, held, self._assignment_target())

    def _assignment_target(self) -> str:
        match self._record.statement:
            case ast.Assign(targets=[target]):
                return dotted(target)
            case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
                return dotted(target)
            case ast.Return():
                return "return"
        return "comprehension"

    # Calls

    def _call(self, node: ast.Call, *, used: bool) -> Value:
        callee = dotted(node.func)
        if len(callee) > _LONGEST_NAME:
            callee = ""
        method = last_name(callee) or (node.func.attr if isinstance(node.func, ast.Attribute) else "")
        walked, owner = self._walk_call(node, method)
        if walked is not None:
            return walked
        if owner is None:
            owner = self._evaluate(node.func.value) if isinstance(node.func, ast.Attribute) else NOTHING
        arguments = [self._evaluate(argument) for argument in node.args]
        keywords = {keyword.arg or "**": self._evaluate(keyword.value) for keyword in node.keywords}
        self._record_call(node, callee, method, arguments, used=used)
        if owner.kind == "tensor":
            return self._tensor_method(node, method, owner, arguments, keywords)
        if owner.kind == "name" and method not in ("append", "add"):
            return owner
        if owner.kind in ("map", "iterable", "tuple"):
            inside = self._container_method(node, method, callee, owner, arguments)
            if inside is not None:
                return inside
        return self._function_call(node, callee, method, arguments, keywords)

    def _walk_call(self, node: ast.Call, method: str) -> tuple[Value | None, Value | None]:
        """What a call that walks state gives, None for any other; and what it is called upon, if that was asked.

        Nothing is evaluated twice: in a chain of calls that would double the time with each.
        """
        kind = vocabulary.WALKS.get(method)
        if kind is not None and isinstance(node.func, ast.Attribute) and len(node.args) <= 2:
            receiver = source_text(node.func.value)
            if vocabulary.NO_MODULE.search(receiver):
                return NOTHING, None
            owner = self._evaluate(node.func.value)
            if owner.kind == "tensor" and self._record.kinds(owner) != {"saved"}:
                return None, owner
            walk = frozenset({self._record.walk(kind, *self._module(node.func.value), node)})
            if method == "state_dict":
                return values.mapping(walk, frozenset({"state"}), alias=True), owner
            named = values.pairs if method in vocabulary.NAMED_WALKS else values.tensors
            return named(walk, frozenset({"raw"}), alias=True), owner
        if method in vocabulary.STATE_DICT_FUNCTIONS and node.args:
            walk = frozenset({self._record.walk("state_dict", *self._module(node.args[0]), node)})
            return values.mapping(walk, frozenset({"state"}), alias=True), None
        if vocabulary.CHECKPOINT_READERS.search(dotted(node.func)):
            known = self._evaluate(node.func.value) if isinstance(node.func, ast.Attribute) else None
            if known is not None and known.kind == "map":
                return None, known
            for argument in node.args:
                self._evaluate(argument)
            return self._saved_state(source_text(node.func), node, "saved"), known
        return None, None

    def _tensor_method(
        self, node: ast.Call, method: str, owner: Value, arguments: list[Value], keywords: Mapping[str, Value]
    ) -> Value:
        inputs = values.union(*map(values.tensors_in, [*arguments, *keywords.values()]))
        if method.endswith("_") and not method.startswith("__") and method != "requires_grad_":
            if owner.alias:
                value = replace(inputs, kind="tensor")
                if method not in vocabulary.COPIES:
                    value = replace(value, origins=value.origins | {"arithmetic"})
                if method in vocabulary.INITS:
                    value = replace(value, origins=value.origins | {"other"})
                self._record.effect("write", node, owner, value, method)
            return values.union(owner, replace(inputs, alias=False)) if inputs != NOTHING else owner
        if method in vocabulary.STORAGES:
            return owner
        if method in vocabulary.NO_TENSOR:
            return NOTHING
        if method in vocabulary.ALIASES:
            return owner
        origins: frozenset[Origin] = owner.origins - {"raw"}
        text = " ".join(source_text(argument) for argument in [*node.args, *(k.value for k in node.keywords)])
        if "meta" in text and method in vocabulary.MOVES:
            origins |= {"meta"}
        elif method in vocabulary.CASTS or (method == "to" and _is_dtype(text)):
            origins |= {"cast"}
        elif method in vocabulary.MOVES:
            origins |= {"moved"}
        else:
            origins |= {"copied"}
        result = replace(owner, alias=False, origins=origins)
        return values.union(result, replace(inputs, alias=False)) if inputs != NOTHING else result

    def _container_method(
        self, node: ast.Call, method: str, callee: str, owner: Value, arguments: list[Value]
    ) -> Value | None:
        held = owner.item or NOTHING
        match method:
            case "items" if owner.kind == "map":
                item = Value("tuple", owner.walks, elements=(values.name(owner.walks), held))
                return Value("iterable", owner.walks, owner.origins, item=item)
            case "values" if owner.kind == "map":
                return Value("iterable", owner.walks, owner.origins, item=held)
            case "keys" if owner.kind == "map":
                return Value("iterable", owner.walks, item=values.name(owner.walks))
            case "get" | "pop" | "get_tensor" | "get_slice" if arguments:
                return self._look_up(node, owner, arguments[0])
            case "copy":
                return owner
            case "difference" if arguments:
                self._names_missing(node, owner, arguments[0])
                return NOTHING
        if method in _GROWERS:
            return self._grow(node, callee, owner, arguments)
        return None

    def _grow(self, node: ast.Call, callee: str, owner: Value, arguments: list[Value]) -> Value | None:
        added = values.union(*map(values.tensors_in, arguments))
        if added.kind != "tensor":
            return None
        container = callee.rpartition(".")[0]
        self._record.effect("store", node, added, added, container)
        if container in self.names:
            bigger = values.union(self.names[container], _fresh_iterable(values.union(*arguments)))
            self.names[container] = replace(bigger, fresh=False)
        return NOTHING

    def _function_call(
        self, node: ast.Call, callee: str, method: str, arguments: list[Value], keywords: Mapping[str, Value]
    ) -> Value:
        everything = [*arguments, *keywords.values()]
        first = arguments[0] if arguments else NOTHING
        if method in ("zip", "zip_longest", "zip_equal"):
            columns = tuple(_items(argument) for argument in arguments)
            walks = frozenset[int]().union(*(column.walks for column in columns))
            zipped = Value("iterable", walks, item=Value("tuple", walks, elements=columns))
            return values.shallow(zipped) if walks else NOTHING
        if method == "enumerate":
            counted = Value("tuple", first.walks, elements=(NOTHING, _items(first)))
            return values.shallow(Value("iterable", first.walks, item=counted))
        if method in ("chain", "from_iterable"):
            return values.union(*arguments)
        if method in ("dict", "OrderedDict") and first != NOTHING:
            pair = _items(first)
            held = pair.elements[1] if len(pair.elements) == 2 else values.tensors_in(first)
            return Value("map", first.walks, held.origins, item=held)
        if method in (
            "list",
            "tuple",
            "sorted",
            "reversed",
            "iter",
            "set",
            "frozenset",
            "tqdm",
            "track",
            "deque",
        ):
            return first if first.kind != "map" else Value("iterable", first.walks, item=values.name(first.walks))
        if method == "filter" and len(arguments) == 2:
            self._record.under(guards_of(node.args[0]))
            self._record.effect("store", node, values.tensors_in(arguments[1]), NOTHING, "filter")
            self._record.conditions.pop()
            return NOTHING
        if method == "next":
            return NOTHING
        if method in (
            "str",
            "len",
            "isinstance",
            "hasattr",
            "id",
            "type",
            "print",
            "repr",
            "sum",
            "any",
            "all",
            "max",
            "min",
        ):
            return NOTHING
        if method == "getattr" and len(node.args) >= 2:
            return self._getattr(node, first)
        if method == "setattr" and len(arguments) == 3:
            self._set_attribute(node, arguments)
            return NOTHING
        if method in ("discard", "remove") and first.kind == "name":
            self._record.effect("settle", node, replace(first, kind="tensor"), NOTHING, callee.rpartition(".")[0])
            return NOTHING
        if method.endswith("_like"):
            return NOTHING
        if method in vocabulary.SAVERS and first.kind in ("map", "iterable"):
            self._save(node, callee, first)
            return NOTHING
        if method == "Parameter" and first != NOTHING:
            return self._wrap_in_parameter(values.tensors_in(first))
        if method in _GROWERS and isinstance(node.func, ast.Attribute):
            self._grow_other(node, dotted(node.func.value), arguments)
            return NOTHING
        if method.startswith("_foreach_") and method.endswith("_") and first.walks:
            self._write_each(node, method, arguments)
            return NOTHING
        passed = values.union(*(found for found in map(values.tensors_in, everything) if found.kind == "tensor"))
        named = values.union(*(value for value in everything if value.kind == "name"))
        if passed.kind == "tensor" or named.kind == "name":
            return self._pass(node, callee, passed, named, [value for value in everything if value.kind == "tensor"])
        if method in MODULE_WRAPPERS and first != NOTHING:
            return first
        return NOTHING

    def _write_each(self, node: ast.Call, method: str, arguments: list[Value]) -> None:
        """`torch._foreach_mul_(tensors, …)` and the like write every tensor of their first argument."""
        value = replace(values.union(*map(values.tensors_in, arguments[1:])), kind="tensor")
        self._record.effect("write", node, values.tensors_in(arguments[0]), _mixed(value), method)

    def _save(self, node: ast.Call, callee: str, saved: Value) -> None:
        """A container of tensors that is written to a file: what it holds by name is stored under that name."""
        held = values.filtered(values.tensors_in(saved), saved.filters)
        if held.kind == "tensor":
            self._record.effect("store", node, held, replace(held, origins=held.origins | {"keyed"}), callee)

    def _wrap_in_parameter(self, held: Value) -> Value:
        """What `nn.Parameter` gives; where the code asks first whether it was a parameter, it may be either."""
        if held == NOTHING:
            return NOTHING
        asked = self._record.guards & {"parameter", "buffer"}
        origins: frozenset[Origin] = held.origins if asked else held.origins | {"parameter"}
        return replace(held, alias=False, origins=origins)

    def _pass(self, node: ast.Call, callee: str, passed: Value, named: Value, direct: list[Value]) -> Value:
        """A call that is given tensors, `direct` or in containers, or names.

        With both, what it gives is of the kind that it is given itself.
        """
        subject = passed if passed.kind == "tensor" else replace(named, kind="tensor")
        origins = _under_name(passed, named).origins
        texts = [source_text(argument) for argument in [*node.args, *(k.value for k in node.keywords)]]
        if any(text in ("'meta'", "torch.device('meta')") for text in texts):
            origins |= {"meta"}
        if not any("parameters" in self._record.kinds(value) for value in direct):
            origins |= {"whole"}
        self._record.effect("pass", node, subject, replace(passed, origins=origins), callee)
        if last_name(callee)[:1].isupper() or vocabulary.GIVES_NO_TENSOR.search(last_name(callee)):
            return NOTHING
        if named.kind == "name" and not direct:
            return named
        shared = last_name(callee) in ("cast", "deepcopy", "clone")
        return (
            replace(passed, alias=False, fresh=False, origins=(passed.origins - {"raw"}) | {"copied"})
            if not shared
            else passed
        )

    def _grow_other(self, node: ast.Call, container: str, arguments: list[Value]) -> None:
        added = values.union(*map(values.tensors_in, arguments))
        if added.kind != "tensor" or not container:
            return
        self._record.effect("store", node, added, added, container)
        if container in self.containers and self.names.get(container, NOTHING) == NOTHING:
            self.names[container] = replace(_fresh_iterable(values.union(*arguments)), fresh=False)

    def _getattr(self, node: ast.Call, owner: Value) -> Value:
        attribute = node.args[1]
        aliased = isinstance(attribute, ast.Constant) and attribute.value in vocabulary.ALIASES
        return owner if owner.kind == "tensor" and aliased else NOTHING

    def _set_attribute(self, node: ast.Call, arguments: list[Value]) -> None:
        owner, key, value = arguments
        held = values.tensors_in(value)
        if owner.kind == "tensor" and owner.alias:
            attribute = node.args[1]
            target = (
                attribute.value if isinstance(attribute, ast.Constant) and isinstance(attribute.value, str) else "{}"
            )
            kind: EffectKind = "write" if target == "data" else "mark"
            self._record.effect(kind, node, owner, value if target == "data" else NOTHING, target)
        elif held.kind == "tensor":
            whole = isinstance(node.args[1], ast.Name) and node.args[1].id in self._looped
            # A name with dots in it is no attribute: these are the tensors of one layer.
            self._record.effect("assign", node, held, value if whole else _under_name(value, key), "setattr")

    def _record_call(self, node: ast.Call, callee: str, method: str, arguments: list[Value], *, used: bool) -> None:
        walks = any(argument.walks for argument in arguments)
        if method not in _TELLING_CALLS and not (
            walks
            and (
                method in vocabulary.SAVERS
                or vocabulary.AVERAGERS.search(callee)
                or vocabulary.ENGINE_SYNC.search(callee)
            )
        ):
            return
        first = node.args[0] if node.args else next((k.value for k in node.keywords if k.arg == "state_dict"), None)
        origin = self._assigned_from.get(first.id, "") if isinstance(first, ast.Name) else source_text(first)
        made_under = self._assigned_under.get(callee.partition(".")[0], frozenset())
        self._record.call(node, callee or method, arguments, origin=origin, used=used, made_under=made_under)

    def _module(self, node: ast.expr) -> tuple[str, str | None]:
        """A module's source text and the class that it is made from, where the code around says so."""
        text = source_text(node)
        if text == "self" and self._class_name:
            return text, self._class_name
        return text, constructed_type(node, self.types)


def _leaves(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Continue | ast.Return | ast.Raise | ast.Break)


def _under_name(value: Value, key: Value) -> Value:
    """A value that is put somewhere under a name, which may be the name of the tensor in it."""
    if key.kind == "name" and key.walks & values.tensors_in(value).walks:
        return replace(value, origins=value.origins | {"keyed"})
    return value


def _is_dtype(arguments: str) -> bool:
    """Whether the arguments of `.to(…)` name a dtype and no device."""
    return "device" not in arguments and _DTYPE.search(arguments) is not None


def _mixed(value: Value) -> Value:
    return replace(value, origins=value.origins | {"arithmetic"})


def _is_literal_key(node: ast.expr) -> bool:
    match node:
        case ast.Subscript(slice=ast.Constant()) | ast.Call(args=[ast.Constant(), *_]):
            return True
    return False


def _is_empty_tensor(node: ast.expr) -> bool:
    match node:
        case ast.Call(args=[ast.Constant(value=0) | ast.Tuple(elts=[ast.Constant(value=0)]) | ast.List(elts=[]), *_]):
            return last_name(dotted(node.func)) in ("empty", "tensor", "new_empty", "zeros", "Tensor")
    return False


def _is_container(node: ast.expr) -> bool:
    match node:
        case ast.Dict() | ast.List():
            return True
        case ast.Call():
            return last_name(dotted(node.func)) in (
                "dict",
                "list",
                "set",
                "OrderedDict",
                "defaultdict",
                "deque",
            )
    return False


def _items(iterable: Value) -> Value:
    if iterable.kind == "map":
        return values.name(iterable.walks)
    return (iterable.item or NOTHING) if iterable.kind == "iterable" else NOTHING


def _fresh_iterable(item: Value) -> Value:
    if not item.walks:
        return NOTHING
    return values.shallow(Value("iterable", item.walks, item.origins, fresh=True, item=item))
