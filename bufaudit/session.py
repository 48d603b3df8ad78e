"""One run over one project: files to facts to problems to a result."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bufaudit import catalogue
from bufaudit.checks import check
from bufaudit.checks.context import Note, Problem, Subject
from bufaudit.errors import BufauditError
from bufaudit.findings import UNREADABLE, Presenter, source_lines
from bufaudit.project import Project
from bufaudit.results import CONFIDENCES, InventoryResult, ScanResult
from bufaudit.selection import ignored_for, selected_codes
from bufaudit.source.cache import FactsCache
from bufaudit.source.facts import Place
from bufaudit.source.reading import FactsStore
from bufaudit.version import build_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bufaudit.config import Settings
    from bufaudit.results import Finding, Registration
    from bufaudit.source.facts import FileFacts
    from bufaudit.source.text import Unreadable

#: Called with the number of files read and the number to read.
Progress = Callable[[int, int], None]

#: Skips rather than faults of the file: a warning about the run, no finding, unless the file was named.
_SKIPS = frozenset({"too-large", "newer-python"})


class NoRuleError(BufauditError):
    """Settings that leave nothing to look for."""

    def __init__(self) -> None:
        super().__init__("select and ignore leave no rule to look for; `bufaudit rule` lists them all")


@dataclass(frozen=True, slots=True)
class Request:
    """Which files a scan reports on; see `api.scan`."""

    paths: tuple[str | os.PathLike[str], ...]
    stdin: tuple[str | os.PathLike[str], bytes] | None = None
    changed_only: bool = False
    changed_since: str | None = None
    force_exclude: bool = False


class _FileOutcome(NamedTuple):
    """The problems of one file that are shown, those that settings hide, and how many comments silence.

    `skipped` says why there are none, where the file was left out.
    """

    shown: tuple[Problem, ...] = ()
    hidden: tuple[Problem, ...] = ()
    silenced: int = 0
    skipped: str = ""


class Session:
    """What the commands of one run share: settings, facts and the project."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        root = os.path.abspath(settings.root)
        self._presenter = Presenter(cwd=os.getcwd(), root=root)
        cache_dir = settings.cache_dir or settings.root / ".bufaudit_cache"
        # A repository may bring a link to some other folder of the user's in the cache's place.
        cached = settings.cache and (settings.cache_dir is not None or not cache_dir.is_symlink())
        self._store = FactsStore(FactsCache(cache_dir, build_id()) if cached else None)
        roots = tuple(os.path.normpath(os.path.join(root, folder)) for folder in settings.src)
        self._project = Project(self._store.load, self._store.parts, self._store.mentions, roots)

    def scan(self, request: Request, progress: Progress | None) -> ScanResult:
        """Look for dropped state; see `api.scan`."""
        selected = selected_codes(catalogue.rules(), self._settings.select, self._settings.ignore)
        if not selected:
            raise NoRuleError
        files, contents, warnings = self._requested(request)
        if request.changed_only:
            files = self._changed(files, request.changed_since)
        self._store.read_all(files, self._jobs(), progress)
        shown: list[Finding] = []
        hidden: list[Finding] = []
        suppressed = 0
        for path, named in files.items():
            if self._store.is_plain(path):
                continue
            outcome = self._outcome(path, named=named, selected=selected)
            suppressed += outcome.silenced
            warnings += [outcome.skipped] if outcome.skipped else []
            shown += self._presenter.findings(path, outcome.shown, contents.get(path))
            hidden += self._presenter.findings(path, outcome.hidden, contents.get(path))
        self._store.save()
        result = ScanResult(_ordered(shown), len(files), suppressed=suppressed, warnings=tuple(warnings))
        return self._without_known(result, hidden, files, selected)

    def inventory(self, request: Request, progress: Progress | None) -> InventoryResult:
        """List registrations; see `api.inventory`."""
        from bufaudit import inventorying
        from bufaudit.restoring import restores_by_class

        files, _, warnings = self._requested(request)
        self._store.read_all(dict.fromkeys(files, False), self._jobs(), progress)
        found: list[Registration] = []
        askers = restores_by_class(files, self._project)
        for path in files:
            facts = self._store.load(path)
            if facts is None:
                continue
            if facts.unreadable is not None:
                warnings.append(f"{self._presenter.shown(path)} was left out: {facts.unreadable.message}")
            found += inventorying.registrations_of(path, facts, self._project, askers)
        self._store.save()
        relative = (replace(each, path=self._presenter.shown(each.path)) for each in found)
        return InventoryResult(inventorying.in_order(relative), len(files), tuple(warnings))

    def _requested(self, request: Request) -> tuple[dict[str, bool], dict[str, bytes], list[str]]:
        """The files of a request, each with whether it was named, the bytes of those that are not taken from disk, and
        warnings."""
        if request.stdin is not None:
            name, content = os.path.abspath(request.stdin[0]), request.stdin[1]
            if request.force_exclude and self._excludes(name):
                return {}, {}, []
            self._store.provide(name, content)
            return {name: True}, {name: content}, []
        from bufaudit.source.discovery import discover

        discovery = discover(
            [Path(path) for path in request.paths],
            root=self._settings.root,
            exclude=self._settings.exclude,
            respect_gitignore=self._settings.respect_gitignore,
            force_exclude=request.force_exclude,
        )
        return {os.path.abspath(file.path): file.named for file in discovery.files}, {}, list(discovery.warnings)

    def _excludes(self, name: str) -> bool:
        from bufaudit.source.discovery import is_excluded

        return is_excluded(Path(name), root=self._settings.root, exclude=self._settings.exclude)

    def _changed(self, files: dict[str, bool], since: str | None) -> dict[str, bool]:
        from bufaudit.source.git import changed_files, repository_root

        changed = {os.path.realpath(path) for path in changed_files(repository_root(self._settings.root), since)}
        return {path: named for path, named in files.items() if os.path.realpath(path) in changed}

    def _jobs(self) -> int:
        if self._settings.jobs is not None:
            return self._settings.jobs
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def _outcome(self, path: str, *, named: bool, selected: frozenset[str]) -> _FileOutcome:
        facts = self._store.load(path)
        if facts is None:
            return _FileOutcome()
        if facts.unreadable is not None and facts.unreadable.reason in _SKIPS and not named:
            return _FileOutcome(skipped=f"{self._presenter.shown(path)} was left out: {facts.unreadable.message}")
        if facts.unreadable is not None:
            problems: Iterable[Problem] = _unreadable(facts.unreadable, named=named)
        else:
            problems = check(Subject(path, facts, self._project))
        noted = [replace(each, notes=(*each.notes, *self._source_of_generated(path, facts, each))) for each in problems]
        if _is_test(self._presenter.relative(path)):
            noted = [replace(each, confidence="low") if each.code != UNREADABLE else each for each in noted]
        kept, silenced = _silenced(noted, facts, selected)
        ignored = ignored_for(self._presenter.relative(path), self._settings.root, self._settings.per_file_ignores)
        least = CONFIDENCES.index(self._settings.min_confidence)
        shown: list[Problem] = []
        hidden: list[Problem] = []
        for problem in kept:
            if problem.code in selected:
                is_shown = problem.code not in ignored and CONFIDENCES.index(problem.confidence) >= least
                (shown if is_shown else hidden).append(problem)
        return _FileOutcome(tuple(shown), tuple(hidden), silenced)

    def _source_of_generated(self, path: str, facts: FileFacts, problem: Problem) -> tuple[Note, ...]:
        """For a generated file: the line of its source that the problem's function or class comes from."""
        if facts.generated_from is None:
            return ()
        source = os.path.join(os.path.dirname(path), os.path.basename(facts.generated_from))
        modular = self._store.load(source)
        if modular is None:
            return ()
        return (
            Note(
                source, _matching_line(path, source, modular, problem), "this file is generated: change its source here"
            ),
        )

    def _without_known(
        self, result: ScanResult, hidden: Sequence[Finding], files: Iterable[str], selected: frozenset[str]
    ) -> ScanResult:
        """The result less what the baseline knows; what settings hide still counts against stale entries."""
        if self._settings.baseline is None:
            return result
        from bufaudit.baseline import findings as baseline

        known = baseline.read_baseline(self._settings.baseline)
        root = self._settings.root
        gone = {each.path for each in known.findings if not (root / each.path).exists()}
        scanned = frozenset({self._presenter.relative(path) for path in files} | gone)
        applied = baseline.apply(known, result.findings, root, scanned=scanned, codes=selected)
        everything = baseline.apply(known, (*result.findings, *hidden), root, scanned=scanned, codes=selected)
        return replace(
            result,
            findings=applied.findings,
            baselined=applied.baselined,
            warnings=(*result.warnings, *applied.ambiguous, *everything.stale),
        )


def _silenced(problems: list[Problem], facts: FileFacts, selected: frozenset[str]) -> tuple[list[Problem], int]:
    if not facts.suppressions:
        return problems, 0
    from bufaudit.silencing import silence

    names = {code: rule.name for code, rule in catalogue.rules().items()}
    return silence(problems, facts, names, selected)


def _matching_line(path: str, source: str, modular: FileFacts, problem: Problem) -> int:
    """The line of a generated file's source that reads like the problem's, else that of its function or class."""
    generated = source_lines(path)
    wanted = generated[problem.place.line - 1].strip() if problem.place.line <= len(generated) else ""
    alike = [number for number, line in enumerate(source_lines(source), start=1) if wanted and line.strip() == wanted]
    if len(alike) == 1:
        return alike[0]
    outer = problem.symbol.partition(".")[0]
    lines = [function.line for function in modular.functions if function.name == problem.symbol]
    lines += [found.line for found in modular.classes if found.name == outer]
    return lines[0] if lines else 1


def _is_test(path: str) -> bool:
    """Whether a file, by its path in the project, holds tests: what is lost there is nobody's training run."""
    *folders, name = path.split("/")
    return name.startswith("test_") or name.endswith("_test.py") or not {"test", "tests", "testing"}.isdisjoint(folders)


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: (finding.path, finding.line, finding.column, finding.code)))


def _unreadable(why: Unreadable, *, named: bool) -> tuple[Problem, ...]:
    place = Place(why.line, why.column, why.line, why.column + 1, why.line, why.line)
    return (Problem(UNREADABLE, "high" if named else "medium", place, why.message, "<module>"),)
