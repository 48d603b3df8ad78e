"""The text of one file to its facts, in one pass."""

from __future__ import annotations

import ast
import re
from bisect import bisect_left
from itertools import accumulate, chain
from typing import TYPE_CHECKING

from bufaudit.source import attributes, casts, drops, registrations, restores, vocabulary
from bufaudit.source.attributes import attributes_of_class
from bufaudit.source.blocks import blocks, code_of, skeleton
from bufaudit.source.callers import arguments_given, walked_parameters
from bufaudit.source.constructors import attribute_types, statements
from bufaudit.source.facts import ClassFact, FileFacts, HandoverFact, RestoreFact
from bufaudit.source.flow import read_function
from bufaudit.source.registrations import RegistrationReader
from bufaudit.source.restores import restores_of_class, sparings_of_class
from bufaudit.source.scope import read_scope
from bufaudit.source.suppressions import parse_suppressions
from bufaudit.source.syntax import Definition, Places, dotted
from bufaudit.source.text import Unreadable, parse, split_lines
from bufaudit.source.upkeep import methods_of_class, uses_of_buffers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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

#: Words without one of which a function does nothing to state that any rule asks about.
_STATE_WORDS = (
    "parameters(",
    "buffers(",
    "_parameters",
    "_buffers",
    "state_dict",
    "setattr",
    "register_parameter",
    "param_shapes",
    "load_weights",
    "set_module_tensor",
)
#: Methods by which a class has a say in how its state dict is made or loaded, and words without which it has none.
_STATE_DICT_METHODS = frozenset(
    {"state_dict", "_save_to_state_dict", "load_state_dict", "_load_from_state_dict", "set_extra_state",
     "on_save_checkpoint", "on_load_checkpoint"}
)  # fmt: skip
_HANDLING = ("state_dict", "set_extra_state", "on_save_checkpoint", "on_load_checkpoint")
#: Words without one of which a top-level block gives no facts but its header.
WORDS = tuple(dict.fromkeys((*registrations.WORDS, *_STATE_WORDS, *_HANDLING, *drops.WORDS)))

#: Shorter texts are parsed as they are, which finds errors of syntax where no fact comes from too.
_WORTH_GATING = 4000
_GENERATED = re.compile(r"automatically generated from[ \t]+(\S+?modular_\w+\.py)")


def extract(text: str, *, gated: bool = True) -> FileFacts:
    """The facts of a file; ungated, every block is parsed, which gives the same facts more slowly.

    Only what is parsed can turn out not to be Python: of a long file, gated, that is not all.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        return _extract(text, gated=gated)
    except RecursionError:
        return FileFacts(unreadable=Unreadable("nesting", "the code is nested too deeply to be read"))


def _extract(text: str, *, gated: bool) -> FileFacts:
    definitions = blocks(text)
    gated = gated and len(text) > _WORTH_GATING
    cast_at = casts.offsets(text)
    tensor_lines = sorted(attributes.tensor_lines(text))
    starts = (match.start() for match in restores.START.finditer(text)) if gated else ()
    tree = parse(skeleton(text, definitions, WORDS, chain(cast_at, tensor_lines, starts)) if gated else text)
    if gated and (isinstance(tree, Unreadable) or ("Buffer" in text and read_scope(tree.body).renames_buffer)):
        tree = parse(text)
    if isinstance(tree, Unreadable):
        return FileFacts(unreadable=tree, suppressions=parse_suppressions(text))
    return _Extraction(text, cast_at, tensor_lines).facts(tree)


class _Extraction:
    """One file's extraction."""

    def __init__(self, text: str, cast_at: Sequence[int], tensor_lines: Sequence[int]) -> None:
        self._text = text
        self._cast_at = cast_at
        self._tensor_lines = tensor_lines
        self._lines = split_lines(text)
        # The offset of each line, less the newlines before it.
        self._lengths = [0, *accumulate(map(len, self._lines))]
        self._present: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._places = Places(self._lines)
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
        scope = read_scope(tree.body)
        self._reader = RegistrationReader(self._places, scope.buffer_names)
        self._read_definitions(tree.body, "", nested=False)
        code = [statement for statement in tree.body if not isinstance(statement, ast.Import | ast.ImportFrom)]
        self._functions += self._module_code(code)
        touches, read = uses_of_buffers(self._text, self._registrations)
        generated = _GENERATED.search(self._text, 0, 3000)
        return FileFacts(
            imports=scope.imports,
            star_imports=scope.stars,
            aliases=scope.aliases,
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
        initialises = restores.START.search(self._text, *self._extent(node)) is not None
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
                    and self._mentions(node, ("pretrained=",))
                    and _wraps_pretrained(node),
                    handles_state_dict=self._mentions(node, _HANDLING) and _handles_state_dict(node),
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
        return list(self._reader.of_class(node, name)) if self._mentions(node, self._registering_words()) else []

    def _registering_words(self) -> tuple[str, ...]:
        spelled = {name.rpartition(".")[2] + "(" for name in self._reader.buffer_names}
        return (*registrations.WORDS, *sorted(spelled))

    def _class_restores(self, node: ast.ClassDef, name: str) -> list[RestoreFact]:
        found = dict.fromkeys(restores_of_class(node, name, self._places))
        self._handovers += (fact for fact in found if isinstance(fact, HandoverFact))
        self._sparings += sparings_of_class(node, name, self._places)
        return [fact for fact in found if isinstance(fact, RestoreFact)]

    def _class_attributes(self, node: ast.ClassDef, name: str) -> list[TensorAttribute]:
        start, end = self._extent(node)
        position = bisect_left(self._tensor_lines, start)
        if position == len(self._tensor_lines) or self._tensor_lines[position] >= end:
            return []
        return list(attributes_of_class(node, name, self._places))

    def _read_free_function(self, node: Definition, name: str) -> None:
        if "<locals>" not in name and self._concerns_state(node):
            self._functions += self._function(node, name, None, {})
        if "<locals>" not in name and self._mentions(node, self._registering_words()):
            self._registrations += self._reader.of_function(node, None)
        if "<locals>" not in name and self._lets_go(node):
            self._drops += drops.drops_of_block({name: node}, None, {}, self._places)
        self._read_nested(node, name)

    def _lets_go(self, node: ast.stmt) -> bool:
        # Words so rare are not worth a search through the whole text first.
        start, end = self._extent(node)
        if any(self._text.find(word, start, end) >= 0 for word in drops.WORDS):
            return True
        return self._text.find(drops.EMPTY, start, end) >= 0 and self._mentions(node, drops.WALKED)

    def _read_nested(self, node: Definition, name: str) -> None:
        if self._mentions(node, ("class ",)):
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
        return tuple(arguments_given([node for node in body if self._mentions(node, _STATE_WORDS)], helpers))

    def _class_dtype_uses(
        self, node: ast.ClassDef, name: str, registered: Sequence[RegistrationFact]
    ) -> Iterable[DtypeUse]:
        precise = frozenset(fact.name for fact in registered if fact.receiver == "self" and casts.is_precise(fact))
        return casts.uses_of_class(node, name, precise, self._places, self._source) if precise else ()

    def _source(self, node: ast.stmt) -> str:
        return self._text[slice(*self._extent(node))]

    def _concerns_state(self, node: ast.stmt) -> bool:
        start, end = self._extent(node)
        first = bisect_left(self._cast_at, start)
        casts_here = first < len(self._cast_at) and self._cast_at[first] < end
        return casts_here or self._mentions(node, _STATE_WORDS)

    def _mentions(self, node: ast.stmt, words: tuple[str, ...]) -> bool:
        if words not in self._present:
            self._present[words] = tuple(word for word in words if word in self._text)
        start, end = self._extent(node)
        return any(self._text.find(word, start, end) >= 0 for word in self._present[words])

    def _text_of(self, node: ast.stmt) -> str:
        start, end = self._extent(node)
        return self._text[start:end]

    def _extent(self, node: ast.stmt) -> tuple[int, int]:
        """The offsets of the first line of a statement and of what follows its last."""
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        return self._lengths[first] + first, self._lengths[last] + last

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
    return any(isinstance(child, ast.Attribute) and child.attr.endswith(hooks) for child in ast.walk(node))


def _wraps_pretrained(node: ast.ClassDef) -> bool:
    """Whether a class has another library build a module with its weights loaded, not merely where it is told to."""
    off_by_default = {
        target.id
        for statement in statements(node.body)
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call)
        for target in statement.targets
        if isinstance(target, ast.Name) and any(_is_false(argument) for argument in statement.value.args)
    }
    for child in ast.walk(node):
        if isinstance(child, ast.keyword) and child.arg == "pretrained" and not _is_false(child.value):
            return dotted(child.value) not in off_by_default
    return False


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
