"""The functions behind the commands, for use from Python."""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bufaudit import baseline as baselines
from bufaudit import catalogue, inventorying
from bufaudit.checks import check
from bufaudit.checks.context import Note, Problem, Subject
from bufaudit.config import Settings, load_settings, override
from bufaudit.project import Project
from bufaudit.results import CONFIDENCES, Finding, InventoryResult, Related, ScanResult
from bufaudit.selection import ignored_for, selected_codes
from bufaudit.silencing import silence
from bufaudit.source.cache import FactsCache
from bufaudit.source.discovery import Discovery, SourceFile, discover
from bufaudit.source.facts import Place
from bufaudit.source.reading import FactsStore
from bufaudit.source.text import Unreadable, decode, read_source, split_lines
from bufaudit.version import build_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bufaudit.results import Registration
    from bufaudit.source.facts import FileFacts

    Progress = Callable[[int, int], None]

_UNREADABLE = "BUF000"
#: Skips rather than faults of the file: no finding unless the file was named.
_SKIPS = frozenset({"too-large", "newer-python"})


def scan(
    paths: Sequence[str | os.PathLike[str]] = (".",),
    *,
    settings: Settings | None = None,
    stdin: tuple[str | os.PathLike[str], bytes] | None = None,
    changed_since: str | None = None,
    changed_only: bool = False,
    force_exclude: bool = False,
    progress: Progress | None = None,
    **overrides: Any,
) -> ScanResult:
    """Look for dropped state in the source below `paths`, importing nothing of it.

    `settings` default to those of the nearest `pyproject.toml`; `overrides` are fields of `Settings`, such as
    `select=["BUF101"]`, `min_confidence="low"` or `cache=False`. `stdin` is a file's name and bytes that stand for
    its content on disk. With `changed_only`, only files that git says have changed are reported on, since the merge
    base with `changed_since` where that is given; what the others say is known all the same. `progress` is called
    with the number of files read and the number to read.

    Raises `bufaudit.BufauditError` for paths that do not exist or hold no Python file, for settings that make no
    sense, and where git cannot say what changed.
    """
    return _Run.of(paths, settings, overrides).scan(
        paths,
        stdin=stdin,
        changed_only=changed_only,
        changed_since=changed_since,
        force_exclude=force_exclude,
        progress=progress,
    )


def inventory(
    paths: Sequence[str | os.PathLike[str]] = (".",),
    *,
    settings: Settings | None = None,
    force_exclude: bool = False,
    progress: Progress | None = None,
    **overrides: Any,
) -> InventoryResult:
    """List every buffer that the classes below `paths` register or inherit.

    Parameters and errors are those of `scan`.
    """
    return _Run.of(paths, settings, overrides).inventory(paths, force_exclude=force_exclude, progress=progress)


class _Run:
    """One run over one project."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cwd = os.getcwd()
        cache_dir = settings.cache_dir or settings.root / ".bufaudit_cache"
        self._store = FactsStore(FactsCache(cache_dir, build_id()) if settings.cache else None)
        roots = tuple(os.path.normpath(os.path.join(settings.root, folder)) for folder in settings.src)
        self._project = Project(self._store.load, roots)

    @classmethod
    def of(cls, paths: Sequence[str | os.PathLike[str]], settings: Settings | None, overrides: dict[str, Any]) -> _Run:
        """A run with the settings that hold for `paths`."""
        return cls(override(settings or load_settings(_start(paths)), **overrides))

    def scan(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        stdin: tuple[str | os.PathLike[str], bytes] | None,
        changed_only: bool,
        changed_since: str | None,
        force_exclude: bool,
        progress: Progress | None,
    ) -> ScanResult:
        """See `api.scan`."""
        if stdin is not None:
            name = os.path.abspath(stdin[0])
            self._store.provide(name, stdin[1])
            discovery = Discovery((SourceFile(Path(name), named=True),))
            contents = {name: stdin[1]}
        else:
            discovery = self._discover(paths, force_exclude=force_exclude)
            contents = {}
        files = {os.path.abspath(file.path): file.named for file in discovery.files}
        if changed_only:
            files = self._changed(files, changed_since)
        self._store.read_all(list(files), self._jobs(), progress)
        codes = frozenset(catalogue.rules())
        selected = selected_codes(codes, self._settings.select, self._settings.ignore)
        findings: list[Finding] = []
        suppressed = 0
        for path, named in files.items():
            if self._store.is_plain(path):
                continue
            kept, silenced = self._problems(path, named=named, known=codes, selected=selected)
            suppressed += silenced
            findings += self._findings(path, kept, contents.get(path))
        self._store.save()
        return self._baselined(findings, frozenset(files), len(files), suppressed, discovery.warnings)

    def inventory(
        self, paths: Sequence[str | os.PathLike[str]], *, force_exclude: bool, progress: Progress | None
    ) -> InventoryResult:
        """See `api.inventory`."""
        discovery = self._discover(paths, force_exclude=force_exclude)
        files = [os.path.abspath(file.path) for file in discovery.files]
        self._store.read_all(files, self._jobs(), progress)
        found: list[Registration] = []
        warnings = list(discovery.warnings)
        for path in files:
            facts = self._store.load(path)
            if facts is None:
                continue
            if facts.unreadable is not None:
                warnings.append(f"{self._shown(path)} was left out: {facts.unreadable.message}")
            for registration in inventorying.registrations_of(path, facts, self._project):
                found.append(inventorying.relocated(registration, self._shown(registration.path)))
        self._store.save()
        return InventoryResult(inventorying.in_order(found), len(files), tuple(warnings))

    def _discover(self, paths: Sequence[str | os.PathLike[str]], *, force_exclude: bool) -> Discovery:
        return discover(
            [Path(path) for path in paths],
            root=self._settings.root,
            exclude=self._settings.exclude,
            respect_gitignore=self._settings.respect_gitignore,
            force_exclude=force_exclude,
        )

    def _changed(self, files: dict[str, bool], since: str | None) -> dict[str, bool]:
        from bufaudit.source.git import changed_files, repository_root

        changed = {os.path.realpath(path) for path in changed_files(repository_root(self._settings.root), since)}
        return {path: named for path, named in files.items() if os.path.realpath(path) in changed}

    def _jobs(self) -> int:
        if self._settings.jobs is not None:
            return self._settings.jobs
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def _problems(
        self, path: str, *, named: bool, known: frozenset[str], selected: frozenset[str]
    ) -> tuple[list[Problem], int]:
        """What stands in one file after suppressions and settings, and how much was silenced."""
        facts = self._store.load(path)
        if facts is None:
            return [], 0
        if facts.unreadable is not None:
            problems = _unreadable(facts.unreadable, named=named)
        else:
            problems = check(Subject(path, facts, self._project))
        problems = [
            replace(problem, notes=(*problem.notes, *self._origin(path, facts, problem))) for problem in problems
        ]
        wanted = selected - ignored_for(self._relative(path), self._settings.root, self._settings.per_file_ignores)
        kept, silenced = silence(problems, facts, known, selected)
        least = CONFIDENCES.index(self._settings.min_confidence)
        kept = [p for p in kept if p.code in wanted and CONFIDENCES.index(p.confidence) >= least]
        return kept, silenced

    def _origin(self, path: str, facts: FileFacts, problem: Problem) -> tuple[Note, ...]:
        """For a generated file: the line of its source that the problem's class or function comes from."""
        if facts.generated_from is None:
            return ()
        source = os.path.join(os.path.dirname(path), os.path.basename(facts.generated_from))
        modular = self._store.load(source)
        if modular is None:
            return ()
        outer = problem.symbol.partition(".")[0]
        lines = [function.line for function in modular.functions if function.name == problem.symbol]
        lines += [found.line for found in modular.classes if found.name == outer]
        return (Note(source, lines[0] if lines else 1, "this file is generated: change its source here"),)

    def _findings(self, path: str, problems: Sequence[Problem], content: bytes | None) -> list[Finding]:
        if not problems:
            return []
        data = read_source(path) if content is None else content
        text = data if isinstance(data, Unreadable) else decode(data)
        lines = [] if isinstance(text, Unreadable) else split_lines(text)
        return [self._finding(path, problem, lines) for problem in problems]

    def _finding(self, path: str, problem: Problem, lines: Sequence[str]) -> Finding:
        rule = catalogue.rules()[problem.code]
        place = problem.place
        excerpt = lines[place.line - 1] if place.line <= len(lines) else ""
        return Finding(
            code=problem.code,
            name=rule.name,
            severity="warning" if problem.code == _UNREADABLE and problem.confidence == "medium" else rule.severity,
            confidence=problem.confidence,
            path=self._shown(path),
            line=place.line,
            column=place.column,
            end_line=place.end_line,
            end_column=place.end_column,
            message=problem.message,
            symbol=problem.symbol,
            fingerprint=_fingerprint(problem.code, self._relative(path), problem.symbol, excerpt),
            related=tuple(Related(self._shown(note.path), note.line, note.message) for note in problem.notes),
            excerpt=excerpt,
        )

    def _baselined(
        self,
        findings: list[Finding],
        scanned: frozenset[str],
        count: int,
        suppressed: int,
        warnings: tuple[str, ...],
    ) -> ScanResult:
        ordered = tuple(sorted(findings, key=lambda f: (f.path, f.line, f.column, f.code)))
        if self._settings.baseline is None:
            return ScanResult(ordered, count, suppressed=suppressed, warnings=warnings)
        known = baselines.read_baseline(self._settings.baseline)
        relative = frozenset(self._relative(path) for path in scanned)
        applied = baselines.apply(known, ordered, self._settings.root, scanned=relative)
        return ScanResult(
            applied.findings,
            count,
            suppressed=suppressed,
            baselined=applied.baselined,
            warnings=(*warnings, *applied.stale),
        )

    def _shown(self, path: str) -> str:
        """A path as reports give it: relative to the current folder where it lies below it."""
        return _below(path, self._cwd) or path

    def _relative(self, path: str) -> str:
        """A path relative to the project's root, with forward slashes, so that it is the same on every machine."""
        return (_below(path, os.path.abspath(self._settings.root)) or path).replace(os.sep, "/")


def _start(paths: Sequence[str | os.PathLike[str]]) -> Path:
    """The folder from which settings are looked for: that of the first path."""
    first = Path(next(iter(paths), "."))
    return first if first.is_dir() else first.parent


def _below(path: str, folder: str) -> str | None:
    prefix = folder if folder.endswith(os.sep) else folder + os.sep
    return path[len(prefix) :] if path.startswith(prefix) else None


def _unreadable(why: Unreadable, *, named: bool) -> list[Problem]:
    if why.reason in _SKIPS and not named:
        return []
    place = Place(why.line, why.column, why.line, why.column + 1, why.line, why.line)
    return [Problem(_UNREADABLE, "high" if named else "medium", place, why.message, "<module>")]


def _fingerprint(code: str, path: str, symbol: str, line: str) -> str:
    text = "\0".join((code, path, symbol, "".join(line.split())))
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
