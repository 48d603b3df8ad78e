"""Who gives a buffer its value again once it was built on the meta device."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from bufaudit import torch_state
from bufaudit.patterns import lazy_pattern
from bufaudit.project import same_name
from bufaudit.source import vocabulary
from bufaudit.source.syntax import last_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from bufaudit.project import FoundClass, Project
    from bufaudit.source.facts import FileFacts, HandoverFact, MethodFact, RestoreFact

ClassKey = tuple[str, str]
#: What is known of one method name over a class and its base classes, nearest first.
Methods = dict[str, list[tuple["FoundClass", "MethodFact"]]]

TRANSFORMERS_BASE = "transformers.PreTrainedModel._init_weights"
#: The method that transformers runs for each module after a load.
INITIALISER = "_init_weights"
_STATISTICS = frozenset(buffer.name for buffer in torch_state.BUFFERS["BatchNorm2d"])
#: Parts of the names of classes whose weight and bias it sets to one and zero, whatever they are.
_NORMS = ("LayerNorm", "RMSNorm")
#: Starts of the names of methods that run when somebody wants something else of a module, not in every use of it.
_ON_DEMAND = (
    "set_", "_set_window", "resize", "_resize", "extend", "load", "_load", "from_", "update_config", "prune", "convert",
    "export", "__setstate__", "__getstate__",
)  # fmt: skip
#: Attributes that an initialiser sets of its own object and that are no modules.
_NO_PART = lazy_pattern(r"(^|[._])(weight|bias|gamma|beta|initialized|device|dtype|training|is_\w+)$")


@dataclass(frozen=True, slots=True)
class Restored:
    """What the initialisers that run for a model do about one buffer of a class in it.

    `by` names who restores it, or the call that might; `initialiser` is the `_init_weights` that runs, where the
    project has it, with its file and line.
    """

    answer: Literal["restored", "lost", "unknown"]
    by: str = ""
    initialiser: tuple[str, int] | None = None


def methods_of(project: Project, found: FoundClass) -> Methods:
    """The methods of a class and its base classes by their names."""
    methods: Methods = {}
    for member in project.lineage(found):
        # What torch.nn.Module itself does to buffers, such as moving them, gives none its value.
        if project.module_name(member.path).startswith("torch."):
            continue
        for fact in project.methods(member):
            methods.setdefault(fact.name, []).append((member, fact))
    return methods


def reached(methods: Methods, names: Iterable[str]) -> set[str]:
    """Methods of an object and those of its own that they call, at any depth."""
    found = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name in methods and name not in found:
            found.add(name)
            pending += (called for _, fact in methods[name] for called in fact.calls)
    return found


def built_by(methods: Methods) -> set[str]:
    """The methods that run while an object is built."""
    return reached(methods, vocabulary.CONSTRUCTORS)


def writer_among(methods: Methods, names: Iterable[str], buffer: str) -> str | None:
    """The first of some methods that gives a buffer a new value, as `Class.method`."""
    for name in sorted(names):
        for _, fact in methods[name]:
            if any(same_name(written, buffer) for written in fact.writes):
                return f"{fact.class_name}.{fact.name}"
    return None


def rebuilt_in_use(methods: Methods, buffer: str) -> str | None:
    """The method that gives a buffer its value again while its object is used, such as a lazy `forward`."""
    built = built_by(methods)
    used = (
        name for name in methods if name not in built and not name.startswith((*_ON_DEMAND, *vocabulary.INITIALISERS))
    )
    return writer_among(methods, reached(methods, used), buffer)


class Restorers:
    """Answers for the classes of one project."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def initialiser(
        self, found: FoundClass, buffer: str, askers: Mapping[ClassKey, Sequence[RestoreFact]]
    ) -> str | None:
        """An initialiser that writes a buffer of a class again, own ones first, then those that ask for the class."""
        lineage = list(self._project.lineage(found))
        names = names_of(lineage)
        for member in lineage:
            for restore in self._facts(member.path).restores:
                owner = restore.initialiser.rpartition(".")[0]
                if restore.target is None and owner == member.fact.name and _writes(restore, buffer):
                    return restore.initialiser
        methods = methods_of(self._project, found)
        for path in dict.fromkeys((found.path, *(member.path for member in lineage))):
            for restore in self._facts(path).restores:
                if restore.target is not None and _asks_for(restore.target, names) and _writes(restore, buffer):
                    return restore.initialiser
            for handover in self._facts(path).handovers:
                asked = handover.of_module and handover.target is not None and _asks_for(handover.target, names)
                if asked and writer_among(methods, reached(methods, (handover.callee,)), buffer):
                    return handover.initialiser
        for member in lineage:
            for restore in askers.get(member.key, ()):
                if _writes(restore, buffer):
                    return restore.initialiser
        if self._project.is_transformers(found.path) and self._restored_by_transformers(lineage, buffer):
            return TRANSFORMERS_BASE
        return None

    def restored_nearby(self, found: FoundClass, buffer: str) -> bool:
        """Whether the files of a class and its base classes are enough to tell that the buffer is restored."""
        # Most classes are told by their own file, without a look at what they inherit.
        near: tuple[Iterable[FoundClass], ...] = ((found,), self._project.lineage(found))
        for members in map(tuple, near):
            names = names_of(members)
            paths = {member.path for member in members}
            if any(_asks_for(asked, names) for path in paths for asked in self._classes_asked_for(path, buffer)):
                return True
            if self._passes_on(found.path) and self._restored_by_transformers(members, buffer):
                return True
        return False

    def restored_beside(self, found: FoundClass, buffer: str) -> bool:
        """Whether an `_init_weights` in another file of the same folder asks for a class and restores its buffer."""
        return any(
            self._project.find_class(path, asked) == found
            for path in self._project.files_with(last_name(found.fact.name), found.path, beside=True)
            for asked in self._classes_asked_for(path, buffer)
        )

    def _passes_on(self, path: str) -> bool:
        """Whether every initialiser of a file runs that of its base class too."""
        facts = self._facts(path)
        passed_on = {
            each.initialiser for each in facts.handovers if not each.of_module and last_name(each.callee) == INITIALISER
        }
        own = {f"{each.class_name}.{each.name}" for each in facts.methods if each.name == INITIALISER}
        return own <= passed_on

    def _classes_asked_for(self, path: str, buffer: str) -> Iterator[str]:
        """What each `_init_weights` in a file asks for before it writes a buffer of that name."""
        for restore in self._facts(path).restores:
            if last_name(restore.initialiser) == INITIALISER and restore.target and _writes(restore, buffer):
                yield restore.target

    def under(self, found: FoundClass, buffer: str, model: FoundClass) -> Restored:
        """What `from_pretrained` of a model does about a buffer of a class in it."""
        lineage = tuple(self._project.lineage(found))
        names = names_of(lineage)
        methods = methods_of(self._project, found)
        own = {member.key for member in self._project.lineage(model)}
        is_model = found.key in own
        first: tuple[str, int] | None = None
        doubt = ""
        for member in self._project.lineage(model):
            defined = next((fact for fact in self._project.methods(member) if fact.name == INITIALISER), None)
            if defined is None:
                continue
            first = first or (member.path, defined.line)
            facts = self._facts(member.path)
            initialiser = f"{member.fact.name}.{INITIALISER}"
            for restore in facts.restores:
                if restore.initialiser != initialiser or not _writes(restore, buffer):
                    continue
                if _concerns(restore.target, names, is_model=is_model) or "." in restore.attribute:
                    return Restored("restored", initialiser, first)
            inherited = False
            for handover in facts.handovers:
                if handover.initialiser != initialiser:
                    continue
                if last_name(handover.callee) == INITIALISER and not handover.of_module:
                    inherited = True
                elif _concerns(handover.target, names, is_model=is_model):
                    if self._writes_when_given(handover, methods, model, buffer, is_model=is_model):
                        return Restored("restored", f"{initialiser} by {handover.callee}", first)
                    doubt = doubt or self._doubt(handover, member, buffer)
            if not inherited:
                return Restored("unknown", doubt, first) if doubt else Restored("lost", "", first)
        if self._restored_by_transformers(lineage, buffer):
            return Restored("restored", TRANSFORMERS_BASE, first)
        return Restored("unknown", doubt, first) if doubt else Restored("lost", "", first)

    def may_restore(self, found: FoundClass, buffer: str, holders: Sequence[FoundClass]) -> bool:
        """Whether an initialiser of a class, or of a class above it, may write a buffer of it, for all that is seen."""
        lineages = [tuple(self._project.lineage(holder)) for holder in (found, *holders)]
        names = names_of(member for lineage in lineages if found in lineage for member in lineage)
        for member in dict.fromkeys(member for lineage in lineages for member in lineage):
            own = last_name(member.fact.name) in names
            initialisers = f"{member.fact.name}."
            for restore in self._facts(member.path).restores:
                concerned = restore.target is not None and _asks_for(restore.target, names)
                if _writes(restore, buffer) and (concerned or own or "." in restore.attribute):
                    return True
                if restore.initialiser.startswith(initialisers) and not own and _makes_part(restore):
                    return True
            for handover in self._facts(member.path).handovers:
                if not handover.initialiser.startswith(initialisers) or handover.target is None:
                    continue
                inherited = last_name(handover.callee) == last_name(handover.initialiser) and not handover.of_module
                if inherited or not _asks_for(handover.target, names):
                    continue
                if handover.callee == "__init__" or self._doubt(handover, member, buffer):
                    return True
        return False

    def _writes_when_given(
        self, handover: HandoverFact, methods: Methods, model: FoundClass, buffer: str, *, is_model: bool
    ) -> bool:
        """Whether the method that an initialiser calls on a module, or on its own object, writes the buffer."""
        if not handover.of_module:
            return False
        if handover.target is None and not is_model:
            methods = methods_of(self._project, model)
        return writer_among(methods, reached(methods, (handover.callee,)), buffer) is not None

    def _doubt(self, handover: HandoverFact, member: FoundClass, buffer: str) -> str:
        """The call that may write the buffer, for all that can be seen."""
        if handover.of_module:
            return handover.callee if handover.callee == "apply" else ""
        source = self._project.source_of(member.path, handover.callee)
        if source is not None:
            touched = any(same_name(touch.name, buffer) for touch in self._facts(source[0]).touches)
            return handover.callee if touched or source[0] != member.path else ""
        return handover.callee

    def _facts(self, path: str) -> FileFacts:
        facts = self._project.facts(path)
        if facts is None:
            from bufaudit.source.facts import FileFacts

            return FileFacts()
        return facts

    def _restored_by_transformers(self, members: Sequence[FoundClass], buffer: str) -> bool:
        """Whether transformers' base class computes a buffer again: rotary frequencies, running statistics, norms.

        `members` are a class and as many of its base classes as are to be asked.
        """
        if buffer.endswith("inv_freq") and any("RotaryEmbedding" in name for name in names_of(members)):
            own = (r.fact.name for member in members for r in self._project.registrations(member))
            return any("original_inv_freq" in name for name in own)
        if buffer in ("weight", "bias") and any(norm in name for name in names_of(members) for norm in _NORMS):
            return True
        if buffer not in _STATISTICS:
            return False
        bases = {last_name(base) for member in members for base in self._project.foreign_bases(member)}
        return bool(bases & torch_state.STATEFUL)


def names_of(lineage: Iterable[FoundClass]) -> frozenset[str]:
    """The names of classes, as `isinstance` asks for them."""
    return frozenset(last_name(member.fact.name) for member in lineage)


def _concerns(target: str | None, names: Collection[str], *, is_model: bool) -> bool:
    """Whether what an initialiser does to a target, itself for None, it does to the class of some names."""
    return is_model if target is None else _asks_for(target, names)


def _asks_for(target: str, names: Collection[str]) -> bool:
    if target == "*":
        return True
    if target.startswith("*"):
        return any(fnmatchcase(name, target) for name in names)
    name = last_name(target)
    # Another spelling than a class has: a variable that may hold it.
    return name in names or not name[:1].isupper() or (name.isupper() and len(name) > 3)


def _writes(restore: RestoreFact, name: str) -> bool:
    return restore.how != "mark" and same_name(last_name(restore.attribute), name)


def _makes_part(restore: RestoreFact) -> bool:
    """Whether an initialiser may put a new module in place of a part of its own object."""
    return restore.target is None and restore.how == "assignment" and not _NO_PART.search(restore.attribute)


def restores_by_class(paths: Iterable[str], project: Project) -> dict[ClassKey, list[RestoreFact]]:
    """What the initialisers in some files write, by the class of another file or their own that they ask for."""
    found: dict[ClassKey, list[RestoreFact]] = {}
    for path in paths:
        facts = project.facts(path)
        for restore in facts.restores if facts else ():
            asked = project.find_class(path, restore.target) if restore.target and restore.target[0] != "*" else None
            if asked is not None:
                found.setdefault(asked.key, []).append(restore)
    return found
