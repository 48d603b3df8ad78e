"""Buffers of plain modules that the code around builds on the meta device and then initialises: a part of BUF501."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit.checks.context import Note, Problem, Subject
from bufaudit.checks.drops import knows_of_buffers, restores
from bufaudit.patterns import lazy_pattern
from bufaudit.project import same_name
from bufaudit.restoring import built_by, methods_of, reached
from bufaudit.source import vocabulary
from bufaudit.source.facts import Step
from bufaudit.source.syntax import last_name
from bufaudit.torch_state import PLAIN_BASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.project import FoundClass, Project
    from bufaudit.restoring import Methods, Restorers
    from bufaudit.results import Confidence
    from bufaudit.source.facts import DropFact, RegistrationFact
    from bufaudit.users import Users

#: Methods by which modules are initialised after they got memory, each for itself or the first for its parts too.
_CONVENTIONS = lazy_pattern(r"^_?(init|initialize|reset)_(weights|parameters|params|states)$")
_MODULE_WALKS = frozenset({"modules", "named_modules", "apply"})


@dataclass(frozen=True, slots=True)
class _Build:
    """A module that is built on the meta device, given memory, and initialised by some methods.

    Those of its `own` are called on the module, those of `each` on every module in it.
    """

    path: str
    drop: DropFact
    built: Step
    own: tuple[Step, ...]
    each: tuple[Step, ...]


def forgotten(
    subject: Subject, restorers: Restorers, owner: FoundClass, fact: RegistrationFact, methods: Methods, users: Users
) -> Problem | None:
    """What is to be said of a buffer of a class that no model of transformers holds."""
    project = subject.project
    if fact.persistent is not False:
        return None
    for build in _builds(project, subject.path):
        way = _way_down(project, build, users, owner)
        classes = [project.find_class(*symbol) for symbol in way]
        holders = [found for found in classes if found is not None]
        if not holders or not all(map(project.is_module, holders)):
            continue
        initialiser = _initialiser(project, build, holders[0])
        if initialiser is None or _may_be_written(subject, restorers, owner, fact, methods, holders):
            continue
        concerned = {subject.path, *(path for path, _ in users.makes), *_files_that_run(project, build)}
        if any(_writes_of_others(project, path, fact.name) for path in sorted(concerned)):
            continue
        direct = len(holders) == len(way) and subject.reads(fact.name)
        return _problem(fact, build, initialiser, "high" if direct else "low")
    return None


def _builds(project: Project, near: str) -> Iterator[_Build]:
    for path in project.files_with("to_empty", near):
        facts = project.facts(path)
        if facts is None:
            continue
        for drop in facts.drops:
            if drop.how == "to_empty" and drop.built and not last_name(drop.function).startswith("test"):
                build = _initialised(Subject(path, facts, project), drop, drop.built)
                if build is not None:
                    yield build


def _initialised(subject: Subject, drop: DropFact, built: Step) -> _Build | None:
    """What initialises the module of a drop, None where that cannot be told or somebody thinks of buffers."""
    if knows_of_buffers(subject, (*drop.before, *drop.after)):
        return None
    walks = any(last_name(step.callee) in _MODULE_WALKS for step in drop.after)
    own, each, applied = [], [], False
    for step in drop.after:
        if not restores(step, drop):
            continue
        receiver, _, name = step.callee.rpartition(".")
        if receiver == drop.module and name == "apply":
            method = step.text.removeprefix(f"{drop.module}.")
            if method != step.text:
                own.append(Step(f"{drop.module}.{method}", "", step.line))
            else:
                applied = True
        elif not _CONVENTIONS.match(name):
            return None
        elif receiver == drop.module:
            own.append(step)
        elif walks and receiver.isidentifier() and receiver != "self":
            each.append(step)
        else:
            return None
    if not (own or each) or (applied and not each):
        return None
    return _Build(subject.path, drop, built, tuple(own), tuple(each))


def _way_down(project: Project, build: _Build, users: Users, owner: FoundClass) -> tuple[tuple[str, str], ...]:
    """The definitions from what is built down to a class, none where it is not known to be part of that."""
    found = project.find_class(build.path, build.built.callee)
    start = found.key if found is not None else project.source_of(build.path, build.built.callee)
    if start is None or (start != owner.key and start not in users.makes):
        return ()
    return users.way_down(start)


def _initialiser(project: Project, build: _Build, root: FoundClass) -> tuple[str, int, str] | None:
    """An initialiser that runs, with its file and line; None where what runs cannot be seen."""
    methods = methods_of(project, root)
    seen = []
    for step in build.own:
        name = last_name(step.callee)
        if name not in methods:
            return None
        member, fact = methods[name][0]
        seen.append((member.path, fact.line, f"{last_name(fact.class_name)}.{name}"))
    seen += [(build.path, step.line, last_name(step.callee)) for step in build.each]
    return seen[0]


def _may_be_written(
    subject: Subject,
    restorers: Restorers,
    owner: FoundClass,
    fact: RegistrationFact,
    methods: Methods,
    holders: list[FoundClass],
) -> bool:
    """Whether anything but its construction may give the buffer a value, called by whomever."""
    project = subject.project
    if any(last_name(base) not in PLAIN_BASES and "nn." not in base for base in project.foreign_bases(owner)):
        return True
    of_subclasses = (methods_of(project, each) for each in holders if owner in project.lineage(each))
    if any(_has_writer(project, owner, fact.name, each) for each in (methods, *of_subclasses)):
        return True
    if restorers.may_restore(owner, fact.name, holders):
        return True
    written = (f".{fact.name}.copy_", f".{fact.name}.data")
    return any(path != subject.path for word in written for path in project.files_with(word, subject.path))


def _files_that_run(project: Project, build: _Build) -> Iterator[str]:
    """The file of a build, and those that define what is called afterwards."""
    yield build.path
    for step in build.drop.after:
        source = project.source_of(build.path, step.callee)
        if source is not None:
            yield source[0]


def _writes_of_others(project: Project, path: str, buffer: str) -> bool:
    """Whether code in a file gives a buffer of that name to a module other than its own object."""
    facts = project.facts(path)
    return facts is not None and (
        any(same_name(touch.name, buffer) for touch in facts.touches)
        or any(each.receiver != "self" and same_name(each.name, buffer) for each in facts.registrations)
        or any(each.target and same_name(last_name(each.attribute), buffer) for each in facts.restores)
    )


def _has_writer(project: Project, owner: FoundClass, buffer: str, methods: Methods) -> bool:
    """Whether a method that writes the buffer runs at another time than while the object is built."""
    writers = {
        name
        for name, found in methods.items()
        if any(same_name(written, buffer) for _, method in found for written in method.writes)
    }
    later = (name for name in methods if name not in built_by(methods) or name.startswith(vocabulary.INITIALISERS))
    if not writers.isdisjoint(reached(methods, later)):
        return True
    lineage = {member.fact.name for member in project.lineage(owner)}
    return any(
        name in mention.used and mention.name not in lineage
        for name in writers
        for path in project.files_with(name, owner.path)
        for mention in project.mentions(path).definitions
    )


def _problem(
    fact: RegistrationFact, build: _Build, initialiser: tuple[str, int, str], confidence: Confidence
) -> Problem:
    path, line, name = initialiser
    text = (
        f"non-persistent buffer `{fact.name}` is uninitialised memory once `{last_name(build.built.callee)}` was built "
        f"on the meta device and materialised by `to_empty()`: `{name}` runs then, and no initialiser computes the "
        "buffer again"
    )
    notes = (
        Note(build.path, build.built.line, f"`{last_name(build.built.callee)}` is built on the meta device here"),
        Note(build.path, build.drop.place.line, "its buffers, too, get uninitialised memory here"),
        Note(path, line, f"`{name}` runs afterwards and leaves the buffer as it is"),
    )
    return Problem("BUF501", confidence, fact.place, text, fact.symbol, notes)
