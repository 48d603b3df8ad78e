"""Who builds a class: the models that it is part of.

What other files hold is looked up among the files of the same package on disk, not among those that a run names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit import torch_state
from bufaudit.project import is_source_of_generated
from bufaudit.source.package import top_folder
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bufaudit.project import FoundClass, Project
    from bufaudit.source.requirements import Asked

#: A class that is used more widely than this is told by the first users, in the order of their paths.
_MOST_SYMBOLS = 60
_MOST_FILES = 60
#: The file that has transformers' own loader, where transformers itself is looked at.
_TRANSFORMERS = "transformers.modeling_utils"
_MOST_MODELS = 8
#: A package with so many `load_weights` methods is an engine that fills its models itself.
_ENGINE_FILES = 8

#: Words that tell of models which transformers' loader is to load, of this package or of its users.
_LOADED_BY_TRANSFORMERS = ("from_pretrained", "save_pretrained", "register_for_auto_class", "AutoModel")


@dataclass(frozen=True, slots=True)
class Users:
    """The models of transformers' kind that a class is, or is built by.

    What `loads_itself`, a model or a user of one, has a loader of its own instead of transformers', or is built by its
    constructor and filled by the package. `makes` tells of each definition that uses the class, by file and name, the
    definition through which it does.
    """

    models: tuple[FoundClass, ...]
    loads_itself: bool
    makes: Mapping[tuple[str, str], tuple[str, str]]

    @property
    def by_transformers(self) -> bool:
        """Whether the class is loaded by transformers, for all that the package tells."""
        return bool(self.models) and not self.loads_itself

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
    above: dict[tuple[str, str], FoundClass] = {}
    loads_itself = False
    if is_pretrained(project, found):
        models[found.key] = above[found.key] = found
        loads_itself = _loads_itself(project, found)
    start = _Symbol(found.path, found.fact.name)
    # The users that are still to be asked for, and whether there is a model below them.
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
                if pretrained:
                    above[owner.key] = owner
                if pretrained and not covered:
                    models[owner.key] = owner
                loads_itself = loads_itself or (
                    (pretrained or _is_module(project, owner)) and _loads_itself(project, owner)
                )
                pending.append((user, covered or pretrained))
            else:
                pending.append((user, covered))
    if models and abroad and not loads_itself:
        engine = len(project.files_with("def load_weights", found.path)) >= _ENGINE_FILES
        loads_itself = (
            engine or _fills_by_state_dict(project, found.path) or _are_filled(project, tuple(above.values()))
        )
    return Users(tuple(models.values())[:_MOST_MODELS], loads_itself, makes)


def release_needed(project: Project, path: str, model: FoundClass) -> Asked:
    """Whether a file, and a model's, run with transformers since release 5, whose loads go through the meta device.

    "new" where they must, or may by what the project asks for; "unknown" where neither that nor the code tells.
    """
    if project.module_name(model.path).startswith("transformers."):
        return "new"
    if not _is_finished(project, model):
        return "old"
    needed = [_release_needed(project, each) for each in dict.fromkeys((path, model.path))]
    if "old" in needed or "new" in needed:
        return "old" if "old" in needed else "new"
    asked = project.transformers_asked_for(path)
    if asked != "unknown":
        return asked
    others = {_release_needed(project, each) for each in project.files_with("PreTrainedModel", path)[:_MOST_FILES]}
    return "old" if "old" in others and "new" not in others else "unknown"


def _release_needed(project: Project, path: str) -> Asked:
    """What a file itself tells: it uses what transformers lost with release 5, or what that brought."""
    if project.mentions(path).needs_old_transformers:
        return "old"
    facts = project.facts(path)
    targets = [each.target for each in facts.imports if each.target.startswith("transformers.")] if facts else []
    names = set(map(last_name, targets))
    if names & torch_state.GONE_IN_TRANSFORMERS_5 or any(
        target.startswith(torch_state.MODULES_GONE_IN_TRANSFORMERS_5) for target in targets
    ):
        return "old"
    return "new" if names & torch_state.NEW_IN_TRANSFORMERS_5 else "unknown"


def _is_finished(project: Project, model: FoundClass) -> bool:
    """Whether the constructor of a model, or of one beside it, ends as it must for transformers' loader to take it.

    Without what `post_init` notes down, no load succeeds since release 5.
    """
    if any(
        last_name(base) != "PreTrainedModel" for base in project.foreign_bases(model) if _is_transformers_model(base)
    ):
        return True
    finished = project.files_with("post_init", model.path)
    return any(member.path in finished for member in project.lineage(model))


def is_in_use(project: Project, model: FoundClass) -> bool:
    """Whether users load a model: its package speaks of it, or is one folder, which is loaded by its path."""
    return os.path.dirname(model.path) == top_folder(model.path) or is_spoken_of(project, model)


def is_spoken_of(project: Project, found: FoundClass) -> bool:
    """Whether anything in the package speaks of a class beyond its definition, to make it or to give it to users."""
    name = last_name(found.fact.name)
    makers = [mention for mention in project.mentions(found.path).definitions if name in mention.used]
    if makers:
        return not all(mention.is_shell for mention in makers)
    others = (path for path in project.files_with(name, found.path) if path != found.path)
    return any(project.find_class(path, name) in (None, found) for path in others)


def _fills_by_state_dict(project: Project, path: str) -> bool:
    """Whether a package loads state dicts itself and never speaks of transformers' ways to load and save."""
    loads = project.files_with(".load_state_dict(", path)
    return bool(loads) and not any(project.files_with(word, path) for word in _LOADED_BY_TRANSFORMERS)


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


def _are_filled(project: Project, models: Sequence[FoundClass]) -> bool:
    """Whether the package builds one of some models itself and fills it, and leaves none of them to transformers."""
    filled = False
    for model in models:
        for path, names in _files_that_know(project, _Symbol(*model.key)):
            if not names.isdisjoint(project.mentions(path).loaded):
                return False
            filled = filled or _is_filled_in(project, path, names)
    return filled


def _is_filled_in(project: Project, path: str, names: frozenset[str]) -> bool:
    """Whether a file builds a model that it knows under some names by the plain constructor, to be filled."""
    mentions = project.mentions(path)
    if mentions.saves:
        return False
    for mention in mentions.definitions:
        owner = project.find_class(path, mention.name)
        if owner is not None and is_pretrained(project, owner):
            continue
        if mentions.fills and not names.isdisjoint(mention.used):
            return True
        for attribute, name in mention.settings:
            if name in names and project.files_with("load_state_dict", path):
                return not project.files_with(f"{attribute}.from_pretrained", path)
    return False


def _files_that_know(project: Project, symbol: _Symbol) -> Iterator[tuple[str, frozenset[str]]]:
    """The files that have a symbol, and the names under which they know it."""
    yield symbol.path, frozenset({symbol.name})
    for path in project.files_with(symbol.name, symbol.path)[:_MOST_FILES]:
        if path != symbol.path and (names := _names_in(project, path, symbol)):
            yield path, names


def _users(project: Project, symbol: _Symbol, *, abroad: bool) -> Iterator[_Symbol]:
    """The definitions that make something of a symbol."""
    yield from _users_in(project, symbol.path, frozenset({symbol.name}), symbol)
    paths = project.files_with(symbol.name, symbol.path) if abroad else ()
    for path in paths[:_MOST_FILES]:
        if path != symbol.path and not is_source_of_generated(path):
            yield from _users_in(project, path, _names_in(project, path, symbol), symbol)


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
