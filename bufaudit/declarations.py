"""The lines that register the tensors of a model, found in the source of its classes."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bufaudit.collector import collector_paused
from bufaudit.project import same_name
from bufaudit.source.cache import FactsCache
from bufaudit.source.reading import FactsStore
from bufaudit.source.syntax import last_name
from bufaudit.version import build_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


def declared_at(model: Any, *, cache_dir: Path | None = None) -> dict[str, str]:
    """The line that registers each parameter and buffer of a `torch.nn.Module`, as `package/file.py:line`.

    Names are those of `named_parameters()` and `named_buffers()`, tied ones included; where no line was found, there is
    no entry. Only files of classes that the model has are read. What is known of them is kept in `cache_dir`, if given.
    """
    store = FactsStore(None if cache_dir is None else FactsCache(cache_dir, build_id()))
    places = _Declarations(store, dict(model.named_modules(remove_duplicate=False)))
    names = [(name, False) for name, _ in model.named_parameters(remove_duplicate=False)]
    names += [(name, True) for name, _ in model.named_buffers(remove_duplicate=False)]
    with collector_paused():
        found = {name: places.of(name, buffer=buffer) for name, buffer in names}
    store.save()
    return {name: place for name, place in found.items() if place is not None}


def package_path(path: str) -> str:
    """A file's path from its outermost package on, `package/file.py`; only its name where it is in none."""
    folder, shown = os.path.split(os.path.abspath(path))
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        shown = f"{package}/{shown}"
    return shown


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that gives `receiver` a tensor under a name, or a pattern with `{}`.

    `class_name` is the class around it, None in a function. One that is `empty` only keeps the name for later.
    """

    place: str
    class_name: str | None
    receiver: str
    name: str
    empty: bool
    buffer: bool

    @property
    def own(self) -> bool:
        """Whether an object registers it for itself."""
        return self.class_name is not None and self.receiver in ("self", "cls")


@dataclass(frozen=True, slots=True)
class _ClassLines:
    """What the files of a class and of its base classes, the nearest first, say of its objects.

    `own` are lines of these classes for themselves, `others` their lines for other objects, and `free` the lines of
    functions in the same files.
    """

    own: tuple[_Line, ...]
    others: tuple[_Line, ...]
    free: tuple[_Line, ...]


class _Declarations:
    """Places of one model's tensors; `modules` are its modules by their paths. Each file is read once."""

    def __init__(self, store: FactsStore, modules: Mapping[str, Any]) -> None:
        self._store = store
        self._modules = modules
        self._files: dict[str, tuple[_Line, ...]] = {}
        self._classes: dict[type, _ClassLines] = {}
        self._named: dict[tuple[type, str, bool], str | None] = {}

    def of(self, name: str, *, buffer: bool) -> str | None:
        """The place that registers a tensor, the likeliest where several may."""
        path, _, attribute = name.rpartition(".")
        return (
            self._replaced(path, attribute)
            or self._by_name(type(self._modules[path]), attribute, buffer)
            or self._from_around(path, attribute, buffer)
            or self._by_computed_name(type(self._modules[path]), buffer)
        )

    def _replaced(self, path: str, attribute: str) -> str | None:
        """The line of a module around that puts a tensor of its own into the module at `path`, which it spells out."""
        for around, inside in _ways(path):
            receiver = ".".join(("self", *inside))
            for line in self._lines(type(self._modules[around])).others:
                if (line.receiver, line.name, line.empty) == (receiver, attribute, False):
                    return line.place
        return None

    def _by_name(self, kind: type, attribute: str, buffer: bool) -> str | None:
        """The line of a class for its own objects that has the name of a tensor, at least in part."""
        key = kind, attribute, buffer
        if key not in self._named:
            own = self._lines(kind).own
            exact = [line for line in own if line.name == attribute]
            alike = [line for line in own if line.name != "{}" and same_name(line.name, attribute)]
            alike.sort(key=lambda line: len(line.name), reverse=True)
            self._named[key] = _best(exact or alike, buffer)
        return self._named[key]

    def _from_around(self, path: str, attribute: str, buffer: bool) -> str | None:
        """The line of a module around that registers a tensor in the module at `path`, or that makes it a container."""
        for around, inside in _ways(path):
            lines = self._lines(type(self._modules[around]))
            found = [line for line in lines.own if inside == (line.name,)]
            found += [line for line in lines.others if line.name == attribute and _may_be(line.receiver, inside)]
            if found:
                return _best(found, buffer)
        return None

    def _by_computed_name(self, kind: type, buffer: bool) -> str | None:
        """The line of a class, or of a function beside it, that registers a tensor under a name which it computes."""
        lines = self._lines(kind)
        own = [line for line in lines.own if line.name == "{}"]
        return _best(own or [line for line in lines.free if line.name == "{}"], buffer)

    def _lines(self, kind: type) -> _ClassLines:
        if kind not in self._classes:
            self._classes[kind] = self._read_class(kind)
        return self._classes[kind]

    def _read_class(self, kind: type) -> _ClassLines:
        own: list[_Line] = []
        others: list[_Line] = []
        free: dict[_Line, None] = {}
        for base in kind.__mro__:
            for line in self._of_file(_file_of(base)):
                if line.class_name == base.__qualname__:
                    (own if line.own else others).append(line)
                elif line.class_name is None:
                    free[line] = None
        return _ClassLines(tuple(own), tuple(others), tuple(free))

    def _of_file(self, path: str | None) -> tuple[_Line, ...]:
        if path is None:
            return ()
        if path not in self._files:
            self._files[path] = tuple(self._read_file(path))
        return self._files[path]

    def _read_file(self, path: str) -> Iterator[_Line]:
        shown = package_path(path)
        facts = self._store.load(path)
        for fact in facts.registrations if facts is not None else ():
            place = f"{shown}:{fact.place.line}"
            yield _Line(place, fact.class_name, fact.receiver, fact.name, fact.value == "None", buffer=True)
        for each in self._store.parameters(path):
            place = f"{shown}:{each.line}"
            yield _Line(place, each.class_name, each.receiver, each.name, each.empty, buffer=False)


def _ways(path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The paths of the modules around the one at `path`, the nearest first, and the way from there."""
    steps = tuple(path.split(".")) if path else ()
    for depth in reversed(range(len(steps))):
        yield ".".join(steps[:depth]), steps[depth:]


def _best(lines: Iterable[_Line], buffer: bool) -> str | None:
    """The first line that registers a value, of the right kind if there is one."""
    best = min(lines, key=lambda line: (line.empty, line.buffer != buffer), default=None)
    return None if best is None else best.place


def _may_be(receiver: str, path: Sequence[str]) -> bool:
    """Whether an expression in the code of a module may stand for its module at `path`."""
    return not receiver.startswith("self.") or last_name(receiver) in path


def _file_of(kind: type) -> str | None:
    """The source file that defines a class; None for builtins, and for the base of all modules.

    That one only passes on what others register.
    """
    if kind.__module__ == "torch.nn.modules.module":
        return None
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return file if file is not None and file.endswith(".py") else None
