"""The index to registrations: each class's own buffers, those of its base classes, and who restores them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bufaudit import torch_state
from bufaudit.project import same_name
from bufaudit.results import Registration
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bufaudit.project import FoundClass, Project
    from bufaudit.source.facts import ClassFact, FileFacts, RegistrationFact, RestoreFact

ClassKey = tuple[str, str]

_TRANSFORMERS_BASE = "transformers.PreTrainedModel._init_weights"


def restores_by_class(paths: Iterable[str], project: Project) -> dict[ClassKey, list[RestoreFact]]:
    """What the initialisers in some files write, by the class of another file or their own that they ask for."""
    found: defaultdict[ClassKey, list[RestoreFact]] = defaultdict(list)
    for path in paths:
        facts = project.facts(path)
        for restore in facts.restores if facts else ():
            asked = project.find_class(path, restore.target) if restore.target and restore.target[0] != "*" else None
            if asked is not None:
                found[asked.key].append(restore)
    return dict(found)


def registrations_of(
    path: str, facts: FileFacts, project: Project, askers: Mapping[ClassKey, Sequence[RestoreFact]]
) -> Iterator[Registration]:
    """Every registration of a file, then what its classes inherit.

    `askers` are initialisers anywhere in the run, as `restores_by_class` gives them.

    The registrations of a class whose `__init__` never runs that of a base class do not come with that base.
    """
    module = project.module_name(path)
    reader = _FileReader(path, module, facts, project, askers)
    for fact in facts.registrations:
        yield reader.own(fact)
    for class_fact in facts.classes:
        yield from reader.inherited(class_fact)


@dataclass(frozen=True, slots=True)
class _FileReader:
    path: str
    module: str
    facts: FileFacts
    project: Project
    askers: Mapping[ClassKey, Sequence[RestoreFact]]

    def own(self, fact: RegistrationFact) -> Registration:
        """A registration as it stands in this file."""
        owner = fact.class_name if fact.receiver in ("self", "cls") else None
        found = self.project.find_class(self.path, owner) if owner else None
        return Registration(
            path=self.path,
            line=fact.place.line,
            column=fact.place.column,
            module=self.module,
            class_name=owner,
            name=fact.name,
            persistent=fact.persistent,
            value=fact.value,
            how=fact.how,
            restored_by=self._restorer(found, fact.name) if found else None,
            condition=fact.condition,
        )

    def inherited(self, class_fact: ClassFact) -> Iterator[Registration]:
        """What a class has from its base classes, the nearest first; what it registers itself it does not inherit."""
        start = self.project.find_class(self.path, class_fact.name)
        if start is None:
            return
        lineage = list(self.project.lineage(start))
        taken = {found.fact.name for found in self.project.registrations(start)}
        for member in lineage[1:]:
            facts = [found.fact for found in self.project.registrations(member) if found.fact.name != "{}"]
            for fact in facts:
                if fact.name in taken:
                    continue
                yield Registration(
                    path=member.path,
                    line=fact.place.line,
                    column=fact.place.column,
                    module=self.module,
                    class_name=class_fact.name,
                    name=fact.name,
                    persistent=fact.persistent,
                    value=fact.value,
                    how=fact.how,
                    restored_by=self._restorer(start, fact.name),
                    inherited_from=f"{self.project.module_name(member.path)}.{member.fact.name}",
                    condition=fact.condition,
                )
            taken.update(fact.name for fact in facts)
        yield from self._from_torch(start, class_fact, taken)

    def _from_torch(self, start: FoundClass, class_fact: ClassFact, taken: set[str]) -> Iterator[Registration]:
        for base in dict.fromkeys(self.project.foreign_bases(start)):
            if not base.startswith(("torch", "nn.")):
                continue
            for buffer in torch_state.BUFFERS.get(last_name(base), ()):
                if buffer.name in taken:
                    continue
                taken.add(buffer.name)
                yield Registration(
                    path=self.path,
                    line=class_fact.line,
                    column=1,
                    module=self.module,
                    class_name=class_fact.name,
                    name=buffer.name,
                    persistent=True,
                    value=buffer.value,
                    how="register_buffer",
                    restored_by=self._restorer(start, buffer.name),
                    inherited_from=f"torch.nn.{last_name(base)}",
                    condition=buffer.condition,
                )

    def _restorer(self, found: FoundClass, name: str) -> str | None:
        """The initialiser that writes a buffer of a class again, own ones first, then those that ask for the class."""
        lineage = list(self.project.lineage(found))
        names = {last_name(member.fact.name) for member in lineage}
        for member in lineage:
            for restore in self._restores(member.path):
                owner = restore.initialiser.rpartition(".")[0]
                if restore.target is None and owner == member.fact.name and _writes(restore, name):
                    return restore.initialiser
        for path in dict.fromkeys((found.path, *(member.path for member in lineage))):
            for restore in self._restores(path):
                if restore.target is not None and _asks_for(restore.target, names) and _writes(restore, name):
                    return restore.initialiser
        for member in lineage:
            for restore in self.askers.get(member.key, ()):
                if _writes(restore, name):
                    return restore.initialiser
        return self._restored_by_transformers(found, names, name)

    def _restores(self, path: str) -> Iterable[RestoreFact]:
        facts = self.project.facts(path)
        return facts.restores if facts else ()

    def _restored_by_transformers(self, found: FoundClass, names: set[str], name: str) -> str | None:
        """What transformers' base class computes again whatever the model: rotary frequencies, running statistics."""
        if not self.project.is_transformers(found.path):
            return None
        own = {r.fact.name for member in self.project.lineage(found) for r in self.project.registrations(member)}
        rotary = any("RotaryEmbedding" in each for each in names) and any("original_inv_freq" in each for each in own)
        if rotary and name.endswith("inv_freq"):
            return _TRANSFORMERS_BASE
        statistics = {buffer.name for buffer in torch_state.BUFFERS["BatchNorm2d"]}
        bases = {last_name(base) for base in self.project.foreign_bases(found)}
        if name in statistics and bases & torch_state.STATEFUL:
            return _TRANSFORMERS_BASE
        return None


def _asks_for(target: str, names: set[str]) -> bool:
    if target == "*":
        return True
    if target.startswith("*"):
        return any(fnmatchcase(name, target) for name in names)
    return last_name(target) in names


def _writes(restore: RestoreFact, name: str) -> bool:
    return restore.how != "mark" and same_name(last_name(restore.attribute), name)


def in_order(registrations: Iterable[Registration]) -> tuple[Registration, ...]:
    """Registrations in the order of path, line and class, each once."""
    return tuple(
        sorted(dict.fromkeys(registrations), key=lambda r: (r.path, r.line, r.class_name or "", r.name, r.column))
    )
