"""Facts of many files as one index: what a name stands for, what a class inherits, which buffers it can reach.

Everything is asked from one file forward, along its imports, so that what is said of a file never depends on which
other files a run happens to name.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bufaudit import torch_state
from bufaudit.patterns import lazy_pattern
from bufaudit.source.package import PackageText, top_folder
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bufaudit.source.facts import ClassFact, FileFacts, MethodFact, RegistrationFact
    from bufaudit.source.mentions import Mentions
    from bufaudit.source.parts import Parts
    from bufaudit.source.requirements import Asked

#: Expressions whose value is the same each time: tables, masks, literals.
_CONSTANT = lazy_pattern(
    r"(ones|zeros|full|empty)\((\(\)|\[\]|0\b)|load_file|\.load\(|arange|linspace|logspace|tril|triu|\beye\b|meshgrid|"
    r"cartesian|hann_window|hamming|sin\(|cos\(|\*\*|"
    r"(torch\.)?(tensor|as_tensor|Tensor|LongTensor|FloatTensor|IntTensor)\(|from_numpy|np\.|numpy|math\."
)
#: A marker of device or dtype, or memory that construction does not write either.
_EMPTY = lazy_pattern(r"(torch\.)?(empty\(|(tensor|zeros|Tensor)\((0\b|\[\]|\(0,\)|\)))")
_DEEPEST_RESOLUTION = 12
_LARGEST_TREE = 400
#: A package with layers in so many files has models of its own.
_MODEL_FILES = 5
#: What a package says of models of its users, where its own have no such layer.
_STATISTICS = ("batch norm", "batch normalization", "batch normalisation")


@dataclass(frozen=True, slots=True)
class FoundClass:
    """A class of the project: the file that defines it, and what is known of it."""

    path: str
    fact: ClassFact

    @property
    def key(self) -> tuple[str, str]:
        """What tells one class from another."""
        return self.path, self.fact.name


@dataclass(frozen=True, slots=True)
class FoundRegistration:
    """A registration and the file that it stands in."""

    path: str
    fact: RegistrationFact


@dataclass(frozen=True, slots=True)
class Reach:
    """The persistent state besides parameters, and besides computed constants, that a module tree can hold.

    `complete` tells whether every class of the tree was found: only then does an empty tree mean that there is none.
    A tree that `builds` nothing is that of a base class, whose subclasses have the layers.
    """

    registrations: tuple[FoundRegistration, ...]
    stateful_layers: tuple[str, ...]
    complete: bool
    builds: bool = True

    @property
    def any(self) -> bool:
        """Whether the tree is known to hold any."""
        return bool(self.registrations or self.stateful_layers)

    @property
    def none(self) -> bool:
        """Whether the tree is known to hold none."""
        return self.complete and self.builds and not self.any


class Project:
    """The index over the files of a project, filled as it is asked.

    `load` gives the facts of a file by its path, None where there is no such file, `load_parts` the parts of its
    classes by their names, `load_mentions` what its definitions make things of; `roots` are the folders that absolute
    imports may start from.
    """

    def __init__(
        self,
        load: Callable[[str], FileFacts | None],
        load_parts: Callable[[str], Mapping[str, Parts]],
        load_mentions: Callable[[str], Mentions],
        roots: tuple[str, ...],
    ) -> None:
        self._load = load
        self._load_parts = load_parts
        self._load_mentions = load_mentions
        self._roots = roots
        self._facts: dict[str, FileFacts | None] = {}
        self._classes: dict[str, Mapping[str, ClassFact]] = {}
        self._parts: dict[str, Mapping[str, Parts]] = {}
        self._mentions: dict[str, Mentions] = {}
        self._packages: dict[str, PackageText] = {}
        self._asked: dict[str, Asked] = {}
        self._modules: dict[tuple[str, str], str | None] = {}
        self._names: dict[tuple[str, str, bool], FoundClass | str | None] = {}
        self._reaches: dict[tuple[str, str], Reach] = {}
        self._computed: dict[tuple[str, str], Reach] = {}

    def facts(self, path: str) -> FileFacts | None:
        """The facts of a file."""
        if path not in self._facts:
            self._facts[path] = self._load(path)
        return self._facts[path]

    def is_transformers(self, path: str) -> bool:
        """Whether a file's models are transformers' kind: one of its classes has PreTrainedModel above it."""
        facts = self.facts(path)
        if facts is None:
            return False
        bases = (base for fact in facts.classes for base in fact.bases)
        return any("PreTrainedModel" in name for name in (*(binding.target for binding in facts.imports), *bases))

    def module_name(self, path: str) -> str:
        """The dotted name under which a file is imported, as its packages' `__init__.py` files have it."""
        folder, name = os.path.split(path)
        parts = [] if name == "__init__.py" else [name.removesuffix(".py")]
        while folder and os.path.isfile(os.path.join(folder, "__init__.py")):
            folder, package = os.path.split(folder)
            parts.insert(0, package)
        return ".".join(parts)

    def find_class(self, path: str, name: str) -> FoundClass | None:
        """The class that `name` stands for in a file; None where the project does not have it."""
        found = self._resolved(path, name)
        return found if isinstance(found, FoundClass) else None

    def origin(self, path: str, name: str) -> str:
        """The dotted name outside the project that `name` stands for in a file, as far as imports tell."""
        found = self._resolved(path, name)
        return found if isinstance(found, str) else name

    def _resolved(self, path: str, name: str) -> FoundClass | str:
        return self._stands_for(path, name) or name

    def base(self, found: FoundClass, name: str) -> FoundClass | str:
        """What a class's header names: the class, or a dotted name outside the project.

        `class Attention(Attention)` means the one that was imported under that name, never itself.
        """
        base = self._stands_for(found.path, name, own=name != found.fact.name)
        return name if base is None else base

    def lineage(self, found: FoundClass) -> Iterator[FoundClass]:
        """A class and the base classes that the project has, nearest first, each once."""
        seen = {found.key}
        pending = [found]
        while pending:
            current = pending.pop(0)
            yield current
            for base in current.fact.bases:
                parent = self.base(current, base)
                if isinstance(parent, FoundClass) and parent.key not in seen:
                    seen.add(parent.key)
                    pending.append(parent)

    def foreign_bases(self, found: FoundClass) -> Iterator[str]:
        """The dotted names of base classes, direct or not, that the project does not have."""
        for member in self.lineage(found):
            for base in (self.base(member, name) for name in member.fact.bases):
                if isinstance(base, str):
                    yield base

    def registrations(self, found: FoundClass) -> Iterator[FoundRegistration]:
        """What a class's own code registers on itself."""
        facts = self.facts(found.path)
        for fact in facts.registrations if facts else ():
            if fact.class_name == found.fact.name and fact.receiver == "self":
                yield FoundRegistration(found.path, fact)

    def all_registrations(self, found: FoundClass) -> Iterator[FoundRegistration]:
        """What a class and its base classes register on it, the class's own first."""
        for member in self.lineage(found):
            yield from self.registrations(member)

    def methods(self, found: FoundClass) -> Iterator[MethodFact]:
        """What is known of a class's own methods."""
        facts = self.facts(found.path)
        for fact in facts.methods if facts else ():
            if fact.class_name == found.fact.name:
                yield fact

    def mentions(self, path: str) -> Mentions:
        """What the definitions of a file make things of."""
        if path not in self._mentions:
            self._mentions[path] = self._load_mentions(path)
        return self._mentions[path]

    def files_with(self, word: str, near: str, *, beside: bool = False) -> tuple[str, ...]:
        """The files in which a word occurs: of the package around a file, or those `beside` it, in its folder."""
        folder = os.path.dirname(near) if beside else top_folder(near)
        if folder not in self._packages:
            self._packages[folder] = PackageText(folder)
        return self._packages[folder].files_with(word)

    def transformers_asked_for(self, near: str) -> Asked:
        """Which releases of transformers the project around a file is installed with."""
        folder = top_folder(near)
        if folder not in self._asked:
            from bufaudit.source.requirements import transformers_asked_for

            self._asked[folder] = transformers_asked_for(folder)
        return self._asked[folder]

    def models_hold_no_state(self, near: str) -> bool:
        """Whether the package around a file builds models of its own, and none of them holds more than parameters.

        One that builds few is for the models of others.
        """
        if len(self.files_with("Linear", near)) < _MODEL_FILES or self.models_may_hold_state(near):
            return False
        if any(self.files_with(words, near) for words in _STATISTICS):
            return False
        found = (self.facts(path) for path in self.files_with("register_buffer", near))
        return not any(_holds_state(fact) for facts in found if facts for fact in facts.registrations)

    def models_may_hold_state(self, near: str) -> bool:
        """Whether the package around a file has layers with statistics, or loads whichever model of transformers."""
        kinds = (*sorted(torch_state.STATEFUL), *torch_state.ANY_PRETRAINED)
        return any(self.files_with(name, near) for name in kinds)

    def source_of(self, path: str, name: str) -> tuple[str, str] | None:
        """The file that defines what `name` stands for in a file, class or not, and its name there."""
        return self._source_of(path, name, _DEEPEST_RESOLUTION, set())

    def _source_of(self, path: str, name: str, depth: int, tried: set[tuple[str, str]]) -> tuple[str, str] | None:
        facts = self.facts(path)
        if facts is None or depth == 0:
            return None
        for binding in facts.imports:
            if binding.name == name:
                module, _, rest = binding.target.rpartition(".")
                prefix = binding.target[: len(binding.target) - len(binding.target.lstrip("."))]
                source = self._module_path(path, module if module.strip(".") else prefix)
                return self._source_of(source, rest, depth - 1, tried) if source and source != path else None
        if any(mention.name == name for mention in self.mentions(path).definitions):
            return path, name
        for star in facts.star_imports:
            source = self._module_path(path, star)
            if source is None or (source, name) in tried:
                continue
            tried.add((source, name))
            found = self._source_of(source, name, depth - 1, tried)
            if found is not None:
                return found
        return None

    def imports_module(self, path: str, module: str) -> bool:
        """Whether a file imports another one as a module."""
        facts = self.facts(path)
        return facts is not None and any(self._module_path(path, each.target) == module for each in facts.imports)

    def reach(self, path: str, name: str) -> Reach:
        """What the module tree of the class that `name` stands for can hold."""
        found = self.find_class(path, name)
        if found is None:
            return self._foreign_reach(self.origin(path, name))
        if found.key not in self._reaches:
            self._reaches[found.key] = self._walk_tree(found, _holds_state)
        return self._reaches[found.key]

    def unsaved(self, path: str, name: str) -> Reach:
        """The non-persistent buffers that the module tree of a class can hold: those that no state dict brings back."""
        found = self.find_class(path, name)
        if found is None:
            known = last_name(self.origin(path, name)) in torch_state.LAYERS | torch_state.BUFFERS.keys()
            return Reach((), (), complete=known)
        if found.key not in self._computed:
            self._computed[found.key] = replace(self._walk_tree(found, _is_unsaved), stateful_layers=())
        return self._computed[found.key]

    def _walk_tree(self, root: FoundClass, holds: Callable[[RegistrationFact], bool]) -> Reach:
        registrations: list[FoundRegistration] = []
        layers: list[str] = []
        complete = True
        builds = False
        seen = {root.key}
        pending = [root]
        while pending:
            current = pending.pop(0)
            registrations += [found for found in self.registrations(current) if holds(found.fact)]
            parts = self._parts_of(current)
            complete = complete and not parts.open
            bases = [self.base(current, name) for name in current.fact.bases]
            children = self._children(current)
            builds = builds or any(child != root and self.is_module(child) for child in children)
            for part in (*bases, *children):
                if isinstance(part, str):
                    foreign = self._foreign_reach(part, is_base=part in bases)
                    layers += foreign.stateful_layers
                    complete = complete and foreign.complete
                elif part.key not in seen:
                    seen.add(part.key)
                    pending.append(part)
            if len(seen) > _LARGEST_TREE:
                complete = False
                break
        return Reach(tuple(registrations), tuple(dict.fromkeys(layers)), complete, builds)

    def tree(self, path: str, name: str) -> Iterator[FoundClass | str]:
        """The classes of the module tree of the class that `name` stands for, those outside the project by name.

        Base classes that are known to register nothing are left out.
        """
        root = self._resolved(path, name)
        seen: set[FoundClass | str] = {root}
        pending = [root]
        while pending and len(seen) <= _LARGEST_TREE:
            current = pending.pop(0)
            yield current
            if isinstance(current, FoundClass):
                bases = (base for base in current.fact.bases if last_name(base) not in torch_state.PLAIN_BASES)
                parts = (*(self.base(current, base) for base in bases), *self._children(current))
                new = [part for part in dict.fromkeys(parts) if part not in seen]
                seen.update(new)
                pending += new

    def _children(self, found: FoundClass) -> list[FoundClass | str]:
        named = [name for name in self._parts_of(found).children if self._is_bound(found.path, name)]
        return [self._resolved(found.path, name) for name in named]

    def _parts_of(self, found: FoundClass) -> Parts:
        from bufaudit.source.parts import Parts

        if found.path not in self._parts:
            self._parts[found.path] = self._load_parts(found.path)
        return self._parts[found.path].get(found.fact.name, Parts())

    def _is_bound(self, path: str, name: str) -> bool:
        """Whether the start of a dotted name is known in a file, unlike that of `self.Part` or of a local variable."""
        facts = self.facts(path)
        head, dot, _ = name.partition(".")
        return not dot or (facts is not None and any(head == each.name for each in (*facts.imports, *facts.aliases)))

    def is_module(self, part: FoundClass | str) -> bool:
        """Whether a class, of the project or not, is one of layers."""
        names = (part,) if isinstance(part, str) else self.foreign_bases(part)
        return any(name.startswith(("torch.nn.", "nn.")) or last_name(name) in torch_state.LAYERS for name in names)

    def _foreign_reach(self, origin: str, *, is_base: bool = True) -> Reach:
        simple = last_name(origin)
        if simple in torch_state.STATEFUL:
            return Reach((), (simple,), complete=True)
        known = simple in torch_state.PLAIN_BASES or simple in torch_state.BUFFERS
        if is_base:
            found = known or origin.startswith("torch.nn.")
            return Reach((), (), complete=found, builds=found)
        top = origin.partition(".")[0]
        imported = "." in origin
        harmless = not imported or top in ("torch", "nn", "np", "numpy") or top in sys.stdlib_module_names
        return Reach((), (), complete=known or harmless)

    def _stands_for(self, path: str, name: str, *, own: bool = True) -> FoundClass | str | None:
        key = path, name, own
        if key not in self._names:
            self._names[key] = self._resolve(path, name, _DEEPEST_RESOLUTION, set(), own=own)
        return self._names[key]

    def _resolve(
        self, path: str, name: str, depth: int, tried: set[tuple[str, str]], *, own: bool = True
    ) -> FoundClass | str | None:
        """What `name` stands for in a file; `tried` are the modules asked so far that import everything of another."""
        facts = self.facts(path)
        if facts is None or depth == 0:
            return None
        head, _, rest = name.partition(".")
        defined = self._classes_of(path, facts).get(name) if own else None
        if defined is not None:
            return FoundClass(path, defined)
        for binding in facts.imports:
            if binding.name == head:
                return self._resolve_target(path, binding.target, rest, depth, tried)
        for alias in facts.aliases:
            if alias.name == head and alias.target != head:
                target = f"{alias.target}.{rest}" if rest else alias.target
                return self._resolve(path, target, depth - 1, tried)
        for star in facts.star_imports:
            module = self._module_path(path, star)
            if module is None or (module, name) in tried:
                continue
            tried.add((module, name))
            found = self._resolve(module, name, depth - 1, tried)
            if isinstance(found, FoundClass):
                return found
        return None

    def _classes_of(self, path: str, facts: FileFacts) -> Mapping[str, ClassFact]:
        """The classes of a file by their names, the first of several that have the same."""
        if path not in self._classes:
            self._classes[path] = {fact.name: fact for fact in reversed(facts.classes)}
        return self._classes[path]

    def _resolve_target(
        self, path: str, target: str, rest: str, depth: int, tried: set[tuple[str, str]]
    ) -> FoundClass | str | None:
        """What an import's target, with what follows it, stands for."""
        full = f"{target}.{rest}" if rest else target
        if full.startswith("torch.nn.") and not self.module_name(path).startswith("torch."):
            # What these register is known; torch's own files, where they lie beside, would tell no more.
            return full
        dots = len(full) - len(full.lstrip("."))
        parts = full[dots:].split(".")
        for length in range(len(parts), -1, -1):
            module = self._module_path(path, "." * dots + ".".join(parts[:length]))
            if module is None:
                continue
            remainder = ".".join(parts[length:])
            asked = bool(remainder) and module != path
            found = self._resolve(module, remainder, depth - 1, tried) if asked else None
            if found is not None:
                return found
            break
        return full.lstrip(".") if dots else full

    def _module_path(self, path: str, module: str) -> str | None:
        """The file of a module as a file imports it, None where the project does not have it."""
        folder = os.path.dirname(path)
        key = folder, module
        if key not in self._modules:
            self._modules[key] = self._find_module(folder, module)
        return self._modules[key]

    def _find_module(self, folder: str, module: str) -> str | None:
        dots = len(module) - len(module.lstrip("."))
        parts = [part for part in module[dots:].split(".") if part]
        if dots:
            for _ in range(dots - 1):
                folder = os.path.dirname(folder)
            return _module_file(folder, parts)
        if not parts:
            return None
        for root in (*self._package_roots(folder, parts[0]), *self._roots):
            found = _module_file(root, parts)
            if found is not None:
                return found
        return None

    def _package_roots(self, folder: str, package: str) -> Iterator[str]:
        """The folder that holds the package that a folder lies in, and those above that hold one named `package`.

        The folder itself is meant where it is no package. Those above are for namespace packages, which have no
        `__init__.py` to tell where they start.
        """
        top = folder
        while os.path.isfile(os.path.join(top, "__init__.py")):
            top = os.path.dirname(top)
        yield top
        while (above := os.path.dirname(folder)) != folder:
            if os.path.basename(folder) == package:
                yield above
            folder = above


def _holds_state(fact: RegistrationFact) -> bool:
    """Whether a buffer is saved and holds more than a constant that every construction computes alike."""
    return fact.persistent is not False and not is_constant(fact.made_from)


def is_constant(made_from: str) -> bool:
    """Whether an expression gives the same value each time, by its text."""
    return _CONSTANT.search(made_from) is not None


def _is_unsaved(fact: RegistrationFact) -> bool:
    """Whether a buffer is not saved and yet holds something."""
    return fact.persistent is False and fact.made_from != "None" and not _EMPTY.match(fact.made_from)


def same_name(one: str, other: str) -> bool:
    """Whether two buffer names, either of which may be a pattern with `{}`, can be the same."""
    return one == other or _matches(one, other) or _matches(other, one)


def is_source_of_generated(path: str) -> bool:
    """Whether a file is what transformers' converter makes a model of: nothing imports it."""
    return os.path.basename(path).startswith("modular_")


def _matches(pattern: str, name: str) -> bool:
    return "{}" in pattern and fnmatchcase(name, pattern.replace("{}", "*"))


def _module_file(folder: str, parts: list[str]) -> str | None:
    base = os.path.join(folder, *parts)
    candidates = (f"{base}.py", os.path.join(base, "__init__.py")) if parts else (os.path.join(base, "__init__.py"),)
    return next((candidate for candidate in candidates if os.path.isfile(candidate)), None)
