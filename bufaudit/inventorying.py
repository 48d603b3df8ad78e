"""The index to registrations: each class's own buffers, those of its base classes, and who restores them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit import torch_state
from bufaudit.restoring import Restorers
from bufaudit.results import Registration
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bufaudit.project import FoundClass, Project
    from bufaudit.restoring import ClassKey
    from bufaudit.source.facts import ClassFact, FileFacts, RegistrationFact, RestoreFact


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
        return Restorers(self.project).initialiser(found, name, self.askers)


def in_order(registrations: Iterable[Registration]) -> tuple[Registration, ...]:
    """Registrations in the order of path, line and class, each once."""
    return tuple(
        sorted(dict.fromkeys(registrations), key=lambda r: (r.path, r.line, r.class_name or "", r.name, r.column))
    )
