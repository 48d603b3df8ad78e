"""Files to facts: one at a time as they are asked for, or many at once by worker processes."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from bufaudit.codec import from_json, to_json
from bufaudit.collector import collector_paused
from bufaudit.source.cache import Entry, content_key, settled, stamp_of
from bufaudit.source.facts import FileFacts
from bufaudit.source.text import Unreadable, decode, read_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bufaudit.source.cache import FactsCache
    from bufaudit.source.facts import Function
    from bufaudit.source.mentions import Mentions
    from bufaudit.source.parameters import ParameterPlace
    from bufaudit.source.parts import Parts

#: Fewer files than this are read here: starting workers would take longer.
_WORTH_WORKERS = 48
_CHUNK = 24


class _Errand(NamedTuple):
    """A file for a worker to read, the whole of it or what facts come from; `kept` where a cache remembers it."""

    path: str
    whole: bool = False
    kept: bool = False


class _Reading(NamedTuple):
    """What a worker sends back of one file."""

    path: str
    entry: Entry


def read_file(path: str) -> FileFacts:
    """The facts of one file; why there are none is one of them."""
    data = read_source(path)
    return FileFacts(unreadable=data) if isinstance(data, Unreadable) else facts_of(data)


def facts_of(data: bytes, *, whole: bool = True) -> FileFacts:
    """The facts of a file's bytes, all of which are parsed where the `whole` is asked for."""
    # Where all facts come from the cache, nothing of the parser is needed.
    from bufaudit.source.extract import extract

    text = decode(data)
    return FileFacts(unreadable=text) if isinstance(text, Unreadable) else extract(text, gated=not whole)


class FactsStore:
    """The facts of files by their paths, each file read at most once and, with a cache, only when it changed."""

    def __init__(self, cache: FactsCache | None = None) -> None:
        self._cache = cache
        self._entries: dict[str, Entry] = {}
        self._facts: dict[str, FileFacts] = {}
        self._provided: dict[str, bytes] = {}

    def load(self, path: str) -> FileFacts | None:
        """The facts of one file, None where there is no such file."""
        if path in self._facts:
            return self._facts[path]
        entry = self._entries.get(path) or self._remembered(path)
        if entry is None:
            if stamp_of(path) is None:
                return None
            entry = self._keep(_read(self._errand(path, whole=False)))
        facts = _decoded(entry)
        if facts is None:
            facts = _decoded(self._keep(_read(self._errand(path, whole=entry.whole))))
        self._facts[path] = facts or FileFacts()
        return self._facts[path]

    def parts(self, path: str) -> Mapping[str, Parts]:
        """The parts of a file's classes, by their names."""
        from bufaudit.source.parts import parts_of_classes

        text = self._text(path)
        return {} if isinstance(text, Unreadable) else parts_of_classes(text)

    def mentions(self, path: str) -> Mentions:
        """What the definitions of a file make things of."""
        from bufaudit.source.mentions import Mentions, mentions_of

        text = self._text(path)
        return Mentions() if isinstance(text, Unreadable) else mentions_of(text)

    def parameters(self, path: str) -> tuple[ParameterPlace, ...]:
        """Where the classes and functions of a file register parameters."""
        from bufaudit.source.parameters import parameters_of

        text = self._text(path)
        return () if isinstance(text, Unreadable) else parameters_of(text)

    def _text(self, path: str) -> str | Unreadable:
        data = self._provided.get(path) or read_source(path)
        return data if isinstance(data, Unreadable) else decode(data)

    def provide(self, path: str, data: bytes) -> None:
        """Take `data` for the content of a file, whatever is on disk."""
        self._provided[path] = data
        self._facts[path] = facts_of(data)

    def is_plain(self, path: str) -> bool:
        """Whether no check has anything to ask of a file's facts."""
        if path in self._facts:
            return _is_plain(self._facts[path])
        return path in self._entries and self._entries[path].plain

    def read_all(
        self, paths: Mapping[str, bool], jobs: int, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Have the facts of many files ready, by up to `jobs` worker processes.

        `paths` tells of each file whether the whole of it is to be parsed, which finds errors of syntax where no fact
        comes from too.
        """
        errands = (self._errand(path, whole=whole) for path, whole in paths.items() if path not in self._facts)
        unread = [errand for errand in errands if not self._recall(errand)]
        with collector_paused():
            for count, reading in enumerate(_readings(unread, jobs), start=1):
                self._keep(reading)
                if progress is not None:
                    progress(count, len(unread))

    def save(self) -> None:
        """Remember what was read for the next run."""
        if self._cache is not None:
            self._cache.save()

    def _errand(self, path: str, *, whole: bool) -> _Errand:
        return _Errand(path, whole, kept=self._cache is not None)

    def _recall(self, errand: _Errand) -> bool:
        entry = self._remembered(errand.path)
        if entry is None or (errand.whole and not entry.whole):
            return False
        self._entries[errand.path] = entry
        return True

    def _remembered(self, path: str) -> Entry | None:
        """The cache's entry of a file, if the file is still what it was."""
        entry = self._cache.get(path) if self._cache is not None else None
        if entry is None:
            return None
        stamp = stamp_of(path)
        if stamp is not None and stamp == entry.stamp:
            return entry
        data = read_source(path)
        if isinstance(data, Unreadable) or content_key(data) != entry.content:
            return None
        if self._cache is not None and settled(stamp) is not None:
            self._cache.add(path, replace(entry, stamp=stamp))
        return entry

    def _keep(self, reading: _Reading) -> Entry:
        self._entries[reading.path] = reading.entry
        if self._cache is not None and reading.entry.content:
            self._cache.add(reading.path, reading.entry)
        return reading.entry


def _read(errand: _Errand) -> _Reading:
    """Read one file; what cannot be read has no content to remember it by."""
    stamp = settled(stamp_of(errand.path)) if errand.kept else None
    data = read_source(errand.path)
    if isinstance(data, Unreadable):
        return _failed(errand, data)
    try:
        facts = facts_of(data, whole=errand.whole)
    except Exception as error:
        # A mistake of ours about one file must not cost the run.
        text = f"bufaudit fails on this file, please report it ({type(error).__name__}: {error})"
        return _failed(errand, Unreadable("internal", text))
    content = content_key(data) if errand.kept else ""
    entry = Entry(stamp, content, _is_plain(facts), errand.whole, to_json(facts))
    return _Reading(errand.path, entry)


def _failed(errand: _Errand, why: Unreadable) -> _Reading:
    return _Reading(errand.path, Entry(None, "", False, errand.whole, to_json(FileFacts(unreadable=why))))


def _is_plain(facts: FileFacts) -> bool:
    asked = (
        facts.functions,
        facts.restores,
        facts.registrations,
        facts.drops,
        facts.sparings,
        facts.attributes,
        facts.suppressions,
        facts.unreadable,
    )
    return not any(asked)


def _decoded(entry: Entry) -> FileFacts | None:
    try:
        facts = from_json(FileFacts, entry.facts)
    except (ValueError, RecursionError):
        return None
    return facts if all(map(_holds_together, facts.functions)) else None


def _holds_together(function: Function) -> bool:
    """Whether every position is that of a walk: a cache may have been written by somebody else."""
    positions = {position for effect in function.effects for position in (*effect.walks, *effect.sources)}
    positions.update(position for call in function.calls for walks in call.walks for position in walks)
    return positions <= set(range(len(function.walks)))


def _read_chunk(errands: Sequence[_Errand]) -> list[_Reading]:
    return [_read(errand) for errand in errands]


def _readings(errands: Sequence[_Errand], jobs: int) -> Iterator[_Reading]:
    if jobs < 2 or len(errands) < _WORTH_WORKERS:
        for errand in errands:
            yield _read(errand)
        return
    yield from _parallel_readings(errands, jobs)


def _parallel_readings(errands: Sequence[_Errand], jobs: int) -> Iterator[_Reading]:
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    largest_first = sorted(errands, key=lambda errand: _size(errand.path), reverse=True)
    count = -(-len(errands) // _CHUNK)
    chunks = [largest_first[start::count] for start in range(count)]
    done: set[str] = set()
    try:
        with ProcessPoolExecutor(jobs, initializer=gc.disable) as pool:
            for readings in pool.map(_read_chunk, chunks):
                for reading in readings:
                    done.add(reading.path)
                    yield reading
    except BrokenProcessPool:
        for errand in errands:
            if errand.path not in done:
                yield _read_apart(errand)


def _read_apart(errand: _Errand) -> _Reading:
    """Read one file in a process of its own, because a file among its like has brought a worker down."""
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    try:
        with ProcessPoolExecutor(1) as pool:
            return pool.submit(_read, errand).result()
    except BrokenProcessPool:
        return _failed(errand, Unreadable("nesting", "Python's parser does not survive this file"))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0
