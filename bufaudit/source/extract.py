"""The text of one file to its facts, in one pass."""

from __future__ import annotations

import ast
from bisect import bisect_left
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern
from bufaudit.source import attributes, casts, drops, registrations, restores, vocabulary
from bufaudit.source.attributes import attributes_of_class
from bufaudit.source.blocks import Gate, any_word, blocks, code_of, found_by, skeleton
from bufaudit.source.callers import arguments_given, walked_parameters
from bufaudit.source.constructors import attribute_types, statements
from bufaudit.source.facts import ClassFact, FileFacts, HandoverFact, RestoreFact
from bufaudit.source.flow import read_function
from bufaudit.source.registrations import RegistrationReader
from bufaudit.source.restores import restores_of_class, sparings_of_class
from bufaudit.source.scope import read_scope
from bufaudit.source.suppressions import parse_suppressions
from bufaudit.source.syntax import Definition, Places, dotted, last_name, walk
from bufaudit.source.text import Unreadable, parse
from bufaudit.source.upkeep import methods_of_class, uses_of_buffers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bufaudit.source.facts import (
        Argument,
        DropFact,
        DtypeUse,
        FillFact,
        Function,
        MethodFact,
        RegistrationFact,
        SparingFact,
        TensorAttribute,
    )
    from bufaudit.source.scope import Scope

#: Without one of these words a function does nothing to state that any rule asks about, but by a cast.
_PARAMETERS = any_word("parameters(")
_WORDS = any_word(
    "._parameters",
    "buffers(",
    "._buffers",
    "state_dict",
    "setattr(",
    "register_parameter",
    "param_shapes",
    "load_weights",
    "set_module_tensor",
)
#: What may stand before the `parameters(` of a walk.
_BEFORE_PARAMETERS = (".", "named_", "trainable_", "broadcast_")


def _offsets_of_state(text: str) -> Iterator[int]:
    yield from _WORDS(text)
    yield from (found for found in _PARAMETERS(text) if text.endswith(_BEFORE_PARAMETERS, 0, found))


_STATE = Gate(_offsets_of_state)
#: Methods by which a class has a say in how its state dict is made or loaded. Without one of the words of two gates it
#: has none; what the first asks for is among what `_STATE` does.
_STATE_DICT_METHODS = frozenset(
    {"state_dict", "_save_to_state_dict", "load_state_dict", "_load_from_state_dict", "set_extra_state",
     "on_save_checkpoint", "on_load_checkpoint"}
)  # fmt: skip
_STATE_DICT = Gate(any_word("state_dict"))
_HANDLING = Gate(any_word("set_extra_state", "on_save_checkpoint", "on_load_checkpoint"), reach="method")
_CLASS = Gate(any_word("class "))
#: What the parts of a file are parsed for; all else gives no facts but the headers of its blocks.
GATES = (
    registrations.GATE,
    restores.GATE,
    restores.PRETRAINED,
    attributes.GATE,
    casts.GATE,
    drops.GATE,
    _STATE,
    _HANDLING,
)

#: Shorter texts are parsed as they are, which finds errors of syntax where no fact comes from too.
_WORTH_GATING = 4000
_GENERATED = lazy_pattern(r"automatically generated from[ \t]+(\S+?modular_\w+\.py)")


def extract(text: str, *, gated: bool = True) -> FileFacts:
    """The facts of a file; ungated, every block is parsed, which gives the same facts more slowly.

    Only what is parsed can turn out not to be Python: of a long file, gated, that is not all.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        return _extract(text, gated=gated)
    except RecursionError:
        return FileFacts(unreadable=Unreadable("nesting", "the code is nested too deeply to be read"))


def gated_source(text: str) -> tuple[str, frozenset[Gate]]:
    """What is parsed of a file's text, whose lines end in newlines only, and the gates that find nothing there."""
    if len(text) <= _WORTH_GATING:
        return text, frozenset()
    found = found_by(GATES, text)
    return skeleton(text, blocks(text), found), frozenset(gate for gate, offsets in found.items() if not offsets)


def _extract(text: str, *, gated: bool) -> FileFacts:
    source, absent = gated_source(text) if gated else (text, frozenset[Gate]())
    gated = source is not text
    tree = parse(source)
    if isinstance(tree, Unreadable):
        return (
            _extract(text, gated=False) if gated else FileFacts(unreadable=tree, suppressions=parse_suppressions(text))
        )
    scope = read_scope(tree.body)
    if gated and scope.renames_buffer:
        # No gate knows such a name.
        return _extract(text, gated=False)
    return _Extraction(text, source, scope, absent).facts(tree)


class _Extraction:
    """One file's extraction; `source` is what of its text was parsed, where `absent` gates find nothing."""

    def __init__(self, text: str, source: str, scope: Scope, absent: frozenset[Gate]) -> None:
        self._text = text
        self._source = source
        self._scope = scope
        self._offsets: dict[Gate, list[int]] = {gate: [] for gate in absent}
        self._places = Places(source)
        self._reader = RegistrationReader(self._places, scope.buffer_names)
        self._registering = registrations.gate_of(scope.buffer_names) if scope.renames_buffer else registrations.GATE
        self._classes: list[ClassFact] = []
        self._functions: list[Function] = []
        self._registrations: list[RegistrationFact] = []
        self._fills: list[FillFact] = []
        self._restores: list[RestoreFact] = []
        self._handovers: list[HandoverFact] = []
        self._sparings: list[SparingFact] = []
        self._methods: list[MethodFact] = []
        self._dtype_uses: list[DtypeUse] = []
        self._drops: list[DropFact] = []
        self._attributes: list[TensorAttribute] = []

    def facts(self, tree: ast.Module) -> FileFacts:
        """All facts of the parsed file."""
        self._read_definitions(tree.body, "", nested=False)
        code = [statement for statement in tree.body if not isinstance(statement, ast.Import | ast.ImportFrom)]
        self._functions += self._module_code(code)
        touches, read = uses_of_buffers(self._text, self._registrations)
        generated = _GENERATED.search(self._text, 0, 3000)
        return FileFacts(
            imports=self._scope.imports,
            star_imports=self._scope.stars,
            aliases=self._scope.aliases,
            classes=tuple(self._classes),
            functions=tuple(self._functions),
            arguments=self._arguments(tree.body),
            registrations=tuple(self._registrations),
            fills=tuple(self._fills),
            restores=tuple(self._restores),
            handovers=tuple(self._handovers),
            sparings=tuple(self._sparings),
            methods=tuple(self._methods),
            touches=touches,
            buffers_read=read,
            dtype_uses=tuple(self._dtype_uses),
            drops=tuple(self._drops),
            attributes=tuple(self._attributes),
            words=self._words(),
            suppressions=parse_suppressions(self._text),
            generated_from=generated[1] if generated else None,
        )

    def _read_definitions(self, body: Sequence[ast.stmt], prefix: str, *, nested: bool) -> None:
        for statement in body:
            match statement:
                case ast.ClassDef():
                    self._read_class(statement, f"{prefix}{statement.name}", nested=nested)
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self._read_free_function(statement, f"{prefix}{statement.name}")
                case ast.If() | ast.Try() | ast.With() | ast.For() | ast.While():
                    self._read_definitions(statement.body, prefix, nested=nested)
                    for handler in getattr(statement, "handlers", ()):
                        self._read_definitions(handler.body, prefix, nested=nested)
                    self._read_definitions(getattr(statement, "orelse", []), prefix, nested=nested)
                    self._read_definitions(getattr(statement, "finalbody", []), prefix, nested=nested)

    def _read_class(self, node: ast.ClassDef, name: str, *, nested: bool) -> None:
        own_registrations = self._class_registrations(node, name)
        initialises = self._mentions(node, restores.GATE)
        own_restores = self._class_restores(node, name) if initialises else []
        self._fills += self._reader.fills(node, name, own_registrations)
        self._registrations += own_registrations
        buffers = {fact.name.partition("{")[0] for fact in own_registrations if fact.persistent is not True}
        if buffers or initialises:
            self._methods += methods_of_class(node, name, self._text_of, sorted(buffers) or None)
        self._restores += own_restores
        self._dtype_uses += self._class_dtype_uses(node, name, own_registrations)
        own_attributes = self._class_attributes(node, name)
        self._attributes += own_attributes
        if not nested or own_registrations or own_restores or own_attributes:
            self._classes.append(
                ClassFact(
                    name=name,
                    line=node.lineno,
                    bases=tuple(base for base in map(_base_name, node.bases) if base),
                    wraps_pretrained=bool(own_restores)
                    and self._mentions(node, restores.PRETRAINED)
                    and _wraps_pretrained(node),
                    handles_state_dict=self._speaks_of_state_dict(node) and _handles_state_dict(node),
                )
            )
        types: dict[str, str] | None = None
        if self._lets_go(node):
            types = attribute_types(node)
            methods = {f"{name}.{child.name}": child for child in node.body if isinstance(child, Definition)}
            self._drops += drops.drops_of_block(methods, name, types, self._places)
        for child in node.body:
            match child:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    if self._concerns_state(child):
                        types = attribute_types(node) if types is None else types
                        self._functions += self._function(child, f"{name}.{child.name}", name, types)
                    self._read_nested(child, f"{name}.{child.name}")
                case ast.ClassDef():
                    self._read_class(child, f"{name}.{child.name}", nested=True)

    def _class_registrations(self, node: ast.ClassDef, name: str) -> list[RegistrationFact]:
        return list(self._reader.of_class(node, name)) if self._mentions(node, self._registering) else []

    def _class_restores(self, node: ast.ClassDef, name: str) -> list[RestoreFact]:
        found = dict.fromkeys(restores_of_class(node, name, self._places))
        self._handovers += (fact for fact in found if isinstance(fact, HandoverFact))
        self._sparings += sparings_of_class(node, name, self._places)
        return [fact for fact in found if isinstance(fact, RestoreFact)]

    def _class_attributes(self, node: ast.ClassDef, name: str) -> list[TensorAttribute]:
        return list(attributes_of_class(node, name, self._places)) if self._mentions(node, attributes.GATE) else []

    def _read_free_function(self, node: Definition, name: str) -> None:
        if "<locals>" not in name and self._concerns_state(node):
            self._functions += self._function(node, name, None, {})
        if "<locals>" not in name and self._mentions(node, self._registering):
            self._registrations += self._reader.of_function(node, None)
        if "<locals>" not in name and self._lets_go(node):
            self._drops += drops.drops_of_block({name: node}, None, {}, self._places)
        self._read_nested(node, name)

    def _lets_go(self, node: ast.stmt) -> bool:
        if self._mentions(node, drops.GATE):
            return True
        return self._mentions(node, drops.EMPTY) and self._mentions(node, drops.WALKED)

    def _read_nested(self, node: Definition, name: str) -> None:
        if self._mentions(node, _CLASS):
            self._read_definitions(node.body, f"{name}.<locals>.", nested=True)

    def _function(
        self, node: Definition, name: str, class_name: str | None, types: Mapping[str, str]
    ) -> tuple[Function, ...]:
        return read_function(
            node.body, node, name=name, class_name=class_name, attribute_types=types, places=self._places
        )

    def _module_code(self, body: Sequence[ast.stmt]) -> tuple[Function, ...]:
        code = [node for node in body if not isinstance(node, Definition | ast.ClassDef)]
        if not code or not any(self._concerns_state(node) for node in code):
            return ()
        functions = read_function(code, None, name="<module>", class_name=None, attribute_types={}, places=self._places)
        return tuple(function for function in functions if function.name == "<module>")

    def _arguments(self, body: Sequence[ast.stmt]) -> tuple[Argument, ...]:
        """What calls give to the functions that walk a parameter's state, from blocks that every gate lets through."""
        helpers = [function for function in self._functions if walked_parameters(function)]
        if not helpers:
            return ()
        calls = Gate(any_word(*sorted({f"{last_name(helper.name)}(" for helper in helpers})))
        callers = [node for node in body if self._mentions(node, _STATE) and self._mentions(node, calls)]
        return tuple(arguments_given(callers, helpers))

    def _class_dtype_uses(
        self, node: ast.ClassDef, name: str, registered: Sequence[RegistrationFact]
    ) -> Iterable[DtypeUse]:
        precise = frozenset(fact.name for fact in registered if fact.receiver == "self" and casts.is_precise(fact))
        return casts.uses_of_class(node, name, precise, self._places, self._text_of) if precise else ()

    def _speaks_of_state_dict(self, node: ast.ClassDef) -> bool:
        return (self._mentions(node, _STATE) and self._mentions(node, _STATE_DICT)) or self._mentions(node, _HANDLING)

    def _concerns_state(self, node: ast.stmt) -> bool:
        return self._mentions(node, _STATE) or self._mentions(node, casts.GATE)

    def _mentions(self, node: ast.stmt, gate: Gate) -> bool:
        """Whether a statement has what a gate asks for."""
        if gate not in self._offsets:
            self._offsets |= found_by((gate,), self._source)
        offsets = self._offsets[gate]
        if not offsets:
            return False
        start, end = self._extent(node)
        index = bisect_left(offsets, start)
        return index < len(offsets) and offsets[index] < end

    def _text_of(self, node: ast.stmt) -> str:
        start, end = self._extent(node)
        return self._source[start:end]

    def _extent(self, node: ast.stmt) -> tuple[int, int]:
        """The offsets of the first line of a statement and of what follows its last."""
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        return self._lengths[first] + first, self._lengths[last] + last

    @cached_property
    def _lengths(self) -> list[int]:
        """The offset of each line, less the newlines before it."""
        return [0, *accumulate(map(len, self._source.split("\n")))]

    def _words(self) -> frozenset[str]:
        """What the whole file says that it knows of, asked only where something happens to state."""
        if not (self._functions or self._drops):
            return frozenset()
        found = vocabulary.statistics_in(self._text)
        if "buffers" in self._text:
            found.add("buffers")
        found |= {word for word in vocabulary.RANK_SYNC if word in self._text}
        found |= {word for word in vocabulary.FOLLOWERS if word in self._text}
        if vocabulary.puts_copy_into_evaluation(self._text):
            found.add(vocabulary.EVALUATED_COPY)
        if any(function.casts for function in self._functions):
            found |= vocabulary.training_marks(code_of(self._text))
        return frozenset(found)


def _base_name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        node = node.value
    name = dotted(node)
    return "" if "(" in name else name


def _handles_state_dict(node: ast.ClassDef) -> bool:
    """Whether a class overrides a method that makes or loads its state dict, or registers a hook for it."""
    if any(isinstance(child, Definition) and child.name in _STATE_DICT_METHODS for child in node.body):
        return True
    hooks = ("state_dict_hook", "state_dict_pre_hook", "state_dict_post_hook")
    return any(isinstance(child, ast.Attribute) and child.attr.endswith(hooks) for child in walk(node))


def _wraps_pretrained(node: ast.ClassDef) -> bool:
    """Whether a class has another library build a module with its weights loaded, not merely where it is told to."""
    off_by_default = {
        target.id
        for statement in statements(node.body)
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call)
        for target in statement.targets
        if isinstance(target, ast.Name) and any(_is_false(argument) for argument in statement.value.args)
    }
    for child in walk(node):
        if isinstance(child, ast.keyword) and child.arg == "pretrained" and not _is_false(child.value):
            return dotted(child.value) not in off_by_default
    return False


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
