"""What a check is given, what it gives, and the questions that several of them ask."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit import torch_state
from bufaudit.patterns import lazy_pattern
from bufaudit.project import Reach, same_name
from bufaudit.source import vocabulary
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bufaudit.project import Project
    from bufaudit.results import Confidence
    from bufaudit.source.facts import Argument, Effect, EffectKind, FileFacts, Function, Guard, Place, StateKind, Walk

_WHOLE_LOADS = frozenset({"load_state_dict", "set_model_state_dict"})
_ONLY_PARAMETERS = lazy_pattern(r"only_?param|params?_?only", re.IGNORECASE)
#: Base classes that say nothing of what a class is.
_NO_KIND = frozenset({"ABC", "Generic", "Protocol", "object"})
#: Buffers named in a message; more would not help.
_MOST_NAMES = 3

#: Filters after which a walk over parameters is about something narrower than a module's state.
PARTIAL: frozenset[Guard] = frozenset({"requires_grad", "adapter"})


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that a problem speaks of."""

    path: str
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A defect as a check sees it, before suppressions, settings and the catalogue have their say."""

    code: str
    confidence: Confidence
    place: Place
    message: str
    symbol: str
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """One file under check."""

    path: str
    facts: FileFacts
    project: Project

    def reads(self, buffer: str) -> bool:
        """Whether the file reads the value of a non-persistent buffer that it registers."""
        return any(same_name(buffer, name) for name in self.facts.buffers_read)

    def functions(self) -> Iterator[FunctionView]:
        """The functions in which something happens to state."""
        for function in self.facts.functions:
            yield FunctionView(self, function)


@dataclass(frozen=True, slots=True)
class FunctionView:
    """One function under check."""

    subject: Subject
    function: Function

    @property
    def title(self) -> str:
        """Its own name."""
        return last_name(self.function.name)

    @property
    def promise(self) -> str:
        """Its name and docstring: what it says that it does."""
        return f"{self.function.name} {self.function.doc}"

    def walks(self, indexes: Iterable[int]) -> tuple[Walk, ...]:
        """Walks by their positions."""
        return tuple(self.function.walks[index] for index in indexes)

    def kinds(self, effect: Effect) -> frozenset[StateKind]:
        """What kinds of state an effect acts upon."""
        return frozenset(walk.kind for walk in self.walks(effect.walks))

    def source_kinds(self, effect: Effect) -> frozenset[StateKind]:
        """What kinds of state an effect's value comes from."""
        return frozenset(walk.kind for walk in self.walks(effect.sources))

    def first_walk(self, effect: Effect, kind: StateKind) -> Walk:
        """The first walk of a kind that an effect acts upon."""
        return next(walk for walk in self.walks(effect.walks) if walk.kind == kind)

    def effects(self, *kinds: str, on: StateKind) -> Iterator[Effect]:
        """The effects of some kinds on tensors that come from walks over `on`, and over nothing else of a module."""
        others = {"parameters", "buffers", "state_dict"} - {on}
        for effect in self.function.effects:
            if effect.kind in kinds and on in (acted := self.kinds(effect)) and not acted & others:
                yield effect

    def losing_walks(
        self, kind: EffectKind, concerns: Callable[[Effect], bool]
    ) -> Iterator[tuple[Effect, Walk, Reach]]:
        """Each walk over parameters alone, once, that has an effect of concern and whose tree may hold buffers."""
        seen = set()
        for effect in self.effects(kind, on="parameters"):
            walk = self.first_walk(effect, "parameters")
            if walk.place in seen or not concerns(effect):
                continue
            reach = self.reach(walk)
            if not reach.none:
                seen.add(walk.place)
                yield effect, walk, reach

    def buffers_are_carried(self) -> bool:
        """Whether the function itself does anything about buffers: walks them, or calls something named for them."""
        return any(walk.kind == "buffers" for walk in self.function.walks) or any(
            vocabulary.handles_buffers(word) or vocabulary.speaks_of_statistics(word) for word in self.function.words
        )

    def loads_state_of(self, walk: Walk) -> bool:
        """Whether the function also loads a whole state dict into the walked module."""
        return any(
            last_name(call.callee) in _WHOLE_LOADS
            and _same_module(walk.receiver, call.callee.rpartition(".")[0] or call.arguments[0])
            for call in self.function.calls
            if "." in call.callee or call.arguments
        )

    def reach(self, walk: Walk) -> Reach:
        """The persistent state besides parameters that the walked module can hold."""
        if walk.receiver_type is not None:
            return self._reach_of(walk.receiver_type)
        types = list(dict.fromkeys(argument.type_name for argument in self.given(walk)))
        known = [self._reach_of(name) for name in types if name is not None]
        return _merged(known, complete=bool(known) and None not in types)

    def _reach_of(self, type_name: str) -> Reach:
        project, path = self.subject.project, self.subject.path
        if last_name(project.origin(path, type_name)) in torch_state.ANY_MODEL:
            return Reach((), (), complete=False, builds=False)
        return project.reach(path, type_name)

    def given(self, walk: Walk) -> tuple[Argument, ...]:
        """What calls in the same file give for the parameter that a walk goes over."""
        if walk.receiver not in self.function.parameters:
            return ()
        return tuple(
            argument
            for argument in self.subject.facts.arguments
            if (argument.function, argument.parameter) == (self.function.name, walk.receiver)
        )

    def confidence(self, walk: Walk, reach: Reach, otherwise: Confidence = "medium") -> Confidence:
        """High where the walked tree is known to hold buffers; low where its models are known and no buffer of them."""
        if reach.any:
            return "high"
        if self._is_of_other_kind(walk):
            return "low"
        given = self.given(walk)
        typed = walk.receiver_type is not None or (given and all(argument.type_name for argument in given))
        return "low" if reach.builds and (walk.receiver == "self" or typed) else otherwise

    def _is_of_other_kind(self, walk: Walk) -> bool:
        """Whether the walked type, or what the file knows as `Module`, is the project's own and none of torch's."""
        project = self.subject.project
        found = project.find_class(self.subject.path, walk.receiver_type or "Module")
        if found is None or walk.receiver == "self":
            return False
        return all(last_name(base) in _NO_KIND for base in project.foreign_bases(found))

    def models_may_hold_state(self) -> bool:
        """Whether the package around has layers with statistics, or loads any model of transformers."""
        return self.subject.project.models_may_hold_state(self.subject.path)

    def models_hold_no_state(self) -> bool:
        """Whether the package around builds models of its own, and none with state besides parameters."""
        return self.subject.project.models_hold_no_state(self.subject.path)

    def is_given(self, walk: Walk) -> bool:
        """Whether the walked module is what the function is given, and not a part of the object around it."""
        return walk.receiver.partition(".")[0] in set(self.function.parameters) - {"self", "cls"}

    @property
    def bases(self) -> tuple[str, ...]:
        """The base classes of its class, as the file spells them."""
        classes = self.subject.facts.classes
        return next((found.bases for found in classes if found.name == self.function.class_name), ())

    def _is_of_optimizer(self) -> bool:
        return any("optim" in name.lower() for name in self.bases)

    def problem(
        self, code: str, confidence: Confidence, place: Place, message: str, notes: tuple[Note, ...] = ()
    ) -> Problem:
        """A problem in this function; one whose name says that it is about parameters only keeps its word.

        So does an optimizer, which knows of nothing else.
        """
        if _ONLY_PARAMETERS.search(self.title) or self._is_of_optimizer():
            confidence = "low"
        return Problem(code, confidence, place, message, self.function.name, notes)


def _same_module(one: str, other: str) -> bool:
    """Whether two expressions may be the same module: the same, or one a part or wrapper of the other."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def registered_here(reach: Reach) -> tuple[Note, ...]:
    """Where the first few buffers of a tree are registered."""
    return tuple(
        Note(found.path, found.fact.place.line, f"persistent buffer `{found.fact.name}` is registered here")
        for found in reach.registrations[:_MOST_NAMES]
    )


def unsaved_here(tree: Reach | None) -> tuple[Note, ...]:
    """Where the first few non-persistent buffers of a tree are registered."""
    return tuple(
        Note(found.path, found.fact.place.line, f"non-persistent buffer `{found.fact.name}` is registered here")
        for found in (tree.registrations[:_MOST_NAMES] if tree else ())
    )


def what_is_lost(reach: Reach) -> str:
    """The state that a tree is known to hold besides parameters, in words that say so where nothing is known."""
    named = [found.fact.name for found in reach.registrations if found.fact.name != "{}"]
    names = [f"`{name}`" for name in dict.fromkeys(named)]
    rest = len(names) - _MOST_NAMES
    names = names[:_MOST_NAMES]
    names += [f"the running statistics of `{layer}`" for layer in reach.stateful_layers[:1]]
    if not names:
        return "any buffer that it has"
    return ", ".join(names) + (f" and {rest} more" if rest > 0 else "")


def _merged(reaches: Sequence[Reach], *, complete: bool) -> Reach:
    """What any of several trees can hold."""
    return Reach(
        tuple(dict.fromkeys(found for reach in reaches for found in reach.registrations)),
        tuple(dict.fromkeys(layer for reach in reaches for layer in reach.stateful_layers)),
        complete=complete and all(reach.complete for reach in reaches),
        builds=all(reach.builds for reach in reaches),
    )


def one_per_line(problems: Iterable[Problem]) -> Iterator[Problem]:
    """The first problem of each rule on each line."""
    seen = set()
    for problem in problems:
        key = problem.code, problem.place.line
        if key not in seen:
            seen.add(key)
            yield problem
