"""Who builds a class: the models that it is part of.

What other files hold is looked up among the files of the same package on disk, not among those that a run names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit import torch_state
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bufaudit.project import FoundClass, Project

#: A class that is used more widely than this is told by the first users, in the order of their paths.
_MOST_SYMBOLS = 60
_MOST_FILES = 60
#: The file that has transformers' own loader, where transformers itself is looked at.
_TRANSFORMERS = "transformers.modeling_utils"
_MOST_MODELS = 8
#: A package with so many `load_weights` methods is an engine that fills its models itself.
_ENGINE_FILES = 8


@dataclass(frozen=True, slots=True)
class Users:
    """The models of transformers' kind that a class is, or is built by.

    What `loads_itself`, a model or a user of one, has a loader of its own instead of transformers'. `makes` tells of
    each definition that uses the class, by file and name, the definition through which it does.
    """

    models: tuple[FoundClass, ...]
    loads_itself: bool
    makes: Mapping[tuple[str, str], tuple[str, str]]

    def way_down(self, start: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        """The definitions from a user of the class down to the class."""
        way = [start]
        while way[-1] in self.makes:
            way.append(self.makes[way[-1]])
        return tuple(way)


@dataclass(frozen=True, slots=True)
class _Symbol:
    """Something that a file defines, and that makes an object of the class when it is used."""

    path: str
    name: str


def is_pretrained(project: Project, found: FoundClass) -> bool:
    """Whether a class is a model that transformers' `from_pretrained` loads."""
    if any(_is_transformers_model(base) for base in project.foreign_bases(found)):
        return True
    return any(
        member.fact.name == "PreTrainedModel"
        and project.module_name(member.path) == _TRANSFORMERS
        and _empties_buffers(project, member.path)
        for member in project.lineage(found)
    )


def _empties_buffers(project: Project, path: str) -> bool:
    """Whether a release of transformers is one whose loader takes new memory for non-persistent buffers."""
    facts = project.facts(path)
    return facts is not None and any(drop.how == "unsaved" for drop in facts.drops)


def _is_transformers_model(base: str) -> bool:
    name = last_name(base)
    return base.startswith("transformers.") and (
        name.endswith(torch_state.TRANSFORMERS_MODELS) or ("For" in name and name[:1].isupper())
    )


def users_of(project: Project, found: FoundClass, *, abroad: bool = True) -> Users:
    """The nearest models above a class, which load it, and whether one of their users loads them in its own way.

    Where `abroad` is not asked for, only those of the same file are looked at.
    """
    models: dict[tuple[str, str], FoundClass] = {}
    loads_itself = False
    if is_pretrained(project, found):
        models[found.key] = found
        loads_itself = _loads_itself(project, found)
    start = _Symbol(found.path, found.fact.name)
    #: The users that are still to be asked for, and whether there is a model below them.
    pending = [(start, bool(models))]
    seen = {start}
    makes: dict[tuple[str, str], tuple[str, str]] = {}
    while pending:
        symbol, covered = pending.pop(0)
        for user in _users(project, symbol, abroad=abroad):
            if user in seen or len(seen) == _MOST_SYMBOLS or user.name.endswith("Config"):
                continue
            seen.add(user)
            makes[user.path, user.name] = symbol.path, symbol.name
            owner = project.find_class(user.path, user.name)
            if owner is not None and owner.path == user.path:
                pretrained = is_pretrained(project, owner)
                if pretrained and not covered:
                    models[owner.key] = owner
                loads_itself = loads_itself or (
                    (pretrained or _is_module(project, owner)) and _loads_itself(project, owner)
                )
                pending.append((user, covered or pretrained))
            else:
                pending.append((user, covered))
    if models and abroad and not loads_itself:
        loads_itself = len(project.files_with("def load_weights", found.path)) >= _ENGINE_FILES or _fills_by_state_dict(
            project, found.path
        )
    return Users(tuple(models.values())[:_MOST_MODELS], loads_itself, makes)


def _fills_by_state_dict(project: Project, path: str) -> bool:
    """Whether a package loads state dicts itself and never speaks of `from_pretrained`."""
    loads = project.files_with(".load_state_dict(", path)
    return bool(loads) and not project.files_with("from_pretrained", path)


def _is_module(project: Project, found: FoundClass) -> bool:
    return project.is_module(found) or any(member.fact.name == "Module" for member in project.lineage(found))


def _loads_itself(project: Project, found: FoundClass) -> bool:
    names = {
        (member.path, member.fact.name)
        for member in project.lineage(found)
        if project.module_name(member.path) != _TRANSFORMERS
    }
    return any(
        mention.loads_itself and (path, mention.name) in names
        for path in dict.fromkeys(path for path, _ in names)
        for mention in project.mentions(path).definitions
    )


def _users(project: Project, symbol: _Symbol, *, abroad: bool) -> Iterator[_Symbol]:
    """The definitions that make something of a symbol."""
    yield from _users_in(project, symbol.path, frozenset({symbol.name}), symbol)
    paths = project.files_with(symbol.name, symbol.path) if abroad else ()
    for path in paths[:_MOST_FILES]:
        if path != symbol.path and not is_source_of_generated(path):
            yield from _users_in(project, path, _names_in(project, path, symbol), symbol)


def is_source_of_generated(path: str) -> bool:
    """Whether a file is what transformers' converter makes a model of: nothing imports it."""
    return os.path.basename(path).startswith("modular_")


def _users_in(project: Project, path: str, names: frozenset[str], symbol: _Symbol) -> Iterator[_Symbol]:
    if not names:
        return
    for mention in project.mentions(path).definitions:
        user = _Symbol(path, mention.name)
        if user != symbol and not names.isdisjoint(mention.used):
            yield user


def _names_in(project: Project, path: str, symbol: _Symbol) -> frozenset[str]:
    """The names under which a file that may import a symbol knows it."""
    facts = project.facts(path)
    if facts is None:
        return frozenset()
    known = (symbol.path, symbol.name)
    names = {
        binding.name
        for binding in facts.imports
        if last_name(binding.target) == symbol.name and project.source_of(path, binding.name) == known
    }
    by_star = facts.star_imports and project.source_of(path, symbol.name) == known
    if by_star or project.imports_module(path, symbol.path):
        names.add(symbol.name)
    return frozenset(names)
