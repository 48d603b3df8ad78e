"""What the methods of a class do about its own buffers, and where a file reads and writes them."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern
from bufaudit.source import vocabulary
from bufaudit.source.facts import MethodFact, Touch
from bufaudit.source.syntax import Definition, dotted, last_name, name_pattern, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bufaudit.source.facts import RegistrationFact

#: Attributes that tell something of a tensor other than its value.
_ABOUT = frozenset({"device", "dtype", "shape", "size", "numel", "ndim", "dim", "is_cuda", "is_meta", "requires_grad"})
#: In-place methods after which a tensor still holds something of its old value.
_UPDATES = lazy_pattern(r"^(add\w*|sub|mul|div|lerp|pow|clamp|sqrt|masked_\w+|index_\w+|scatter\w*|resize|t)_$")
_FILLS = r"copy_|fill_|zero_|set_|normal_|uniform_|trunc_normal_"

#: What else a method that writes buffers may speak of than their names.
_COMPUTED_NAMES = ("setattr(", "_buffers", "register_buffer(")
_OWN_CALL = lazy_pattern(r"(?:\bself|\bsuper\(\))\.(?:(\w+)\(|(\w+))")
#: What stands before the dot of an attribute, and whether it is given to a function that writes it.
_OWNER = lazy_pattern(r"(?P<given>\w_\(\s*)?(?<![\w.])(?P<owner>\w+(?:\.\w+|\[[^\[\]\n]*\]|\(\))*)$")


def methods_of_class(
    node: ast.ClassDef, class_name: str, text_of: Callable[[ast.stmt], str], buffers: Iterable[str] | None = None
) -> Iterator[MethodFact]:
    """What the methods of a class do about the `buffers` that it registers; of one with none, its initialisers."""
    methods = [child for child in node.body if isinstance(child, Definition)]
    names = frozenset(method.name for method in methods)
    telling = (*buffers, *_COMPUTED_NAMES) if buffers is not None else ()
    for method in methods:
        if buffers is None and not method.name.startswith(vocabulary.INITIALISERS):
            continue
        text = text_of(method)
        calls = [call or given for call, given in _OWN_CALL.findall(text) if call or given in names]
        # What `__init__` writes is what is lost.
        tells = method.name != "__init__" and any(word in text for word in telling)
        writes = _writes(method) if tells else ()
        yield MethodFact(
            class_name=class_name,
            name=method.name,
            line=method.lineno,
            end_line=method.end_lineno or method.lineno,
            writes=tuple(dict.fromkeys(writes)),
            calls=tuple(dict.fromkeys(calls)),
        )


def _writes(method: Definition) -> Iterator[str]:
    for node in walk(method):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from _assigned(target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield from _assigned(target, value)
            case ast.Call():
                yield from _written_by(node)


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            yield from _assigned(element, value)
        return
    name = _own_attribute(target)
    if name is not None and not _is_made_of(value, name):
        yield name


def _written_by(call: ast.Call) -> Iterator[str]:
    """The attributes of `self` that a call gives a new value."""
    name: str | None = None
    given: list[ast.expr] = []
    match call:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr="register_buffer"), args=[first, *given]):
            name = name_pattern(first) or "{}"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr="register_buffer"), keywords=keywords):
            values = {keyword.arg: keyword.value for keyword in keywords}
            name = name_pattern(values["name"]) if "name" in values else None
            given = [value for key, value in values.items() if key == "tensor"]
        case ast.Call(func=ast.Name(id="setattr"), args=[ast.Name(id="self"), first, *given]):
            name = name_pattern(first) or "{}"
        case ast.Call(func=ast.Attribute(value=owner, attr=method), args=given) if method.endswith("_"):
            if not _UPDATES.match(method):
                name = _own_attribute(owner)
            if name is None and given:
                name, given = _own_attribute(given[0]), given[1:]
    if name is not None and not any(_is_made_of(value, name) for value in given):
        yield name


def _own_attribute(node: ast.expr) -> str | None:
    """`x` for `self.x`, `self.x.data`, `self.x[…]`, `getattr(self, "x")` and `self._buffers["x"]`."""
    match node:
        case ast.Subscript(value=ast.Attribute(value=ast.Name(id="self"), attr="_buffers"), slice=key):
            return name_pattern(key) or "{}"
        case ast.Subscript(value=value) | ast.Attribute(value=value, attr="data"):
            return _own_attribute(value)
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return name
        case ast.Call(func=ast.Name(id="getattr"), args=[ast.Name(id="self"), name, *_]):
            return name_pattern(name) or "{}"
    return None


def _is_made_of(value: ast.expr, name: str) -> bool:
    """Whether a value is that of `self.<name>`, changed or moved, or another attribute of `self` as it is."""
    if _is_moved_attribute(value):
        return True
    about = {id(node.value) for node in walk(value) if isinstance(node, ast.Attribute) and node.attr in _ABOUT}
    return any(
        isinstance(node, ast.Attribute) and dotted(node) == f"self.{name}" and id(node) not in about
        for node in walk(value)
    )


def _is_moved_attribute(value: ast.expr) -> bool:
    match value:
        case ast.Attribute(value=ast.Name(id="self")):
            return True
        case ast.Call(func=ast.Attribute(value=inner, attr="to" | "cuda" | "cpu" | "float" | "clone" | "type_as")):
            return _is_moved_attribute(inner)
    return False


def uses_of_buffers(text: str, registrations: Iterable[RegistrationFact]) -> tuple[tuple[Touch, ...], frozenset[str]]:
    """Where a file writes the buffers that it registers as non-persistent, other than on `self`; which it reads."""
    names = sorted({last_name(fact.name) for fact in registrations if fact.persistent is not True})
    patterns = [name for name in names if not name.isidentifier()]
    names = [name for name in names if name.isidentifier()]
    if not names:
        return (), frozenset(patterns)
    touches: list[Touch] = []
    read = set(patterns)
    for name in names:
        uses, quoted = _uses_of(name)
        for match in uses.finditer(text):
            owner = _OWNER.search(text, text.rfind("\n", 0, match.start()) + 1, match.start())
            if owner is None:
                continue
            if match["write"] or owner["given"]:
                if owner["owner"] != "self":
                    touches.append(Touch(name, text.count("\n", 0, match.start()) + 1))
            elif not match["about"]:
                read.add(name)
        if name not in read and quoted.search(text):
            read.add(name)
    return tuple(touches), frozenset(read)


@lru_cache(maxsize=512)
def _uses_of(name: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What finds an attribute, and what finds its name given to `getattr`."""
    uses = (
        rf"\.{name}\b(?:\[[^\[\]\n]*\]|\.data\b)*[ \t]*"
        rf"(?P<write>=(?!=)|\.(?:{_FILLS})\()?(?P<about>\.(?:{'|'.join(sorted(_ABOUT))})\b)?"
    )
    return re.compile(uses), re.compile(rf"getattr\(\s*[\w.\[\]]+,\s*[\"']{name}[\"']")
