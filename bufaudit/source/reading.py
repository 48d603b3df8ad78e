"""Files to facts: one at a time as they are asked for, or many at once by worker processes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit.codec import decode as decode_facts
from bufaudit.codec import encode as encode_facts
from bufaudit.source.cache import Entry, content_key, settled, stamp_of
from bufaudit.source.extract import extract
from bufaudit.source.facts import FileFacts
from bufaudit.source.text import Unreadable, decode, read_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bufaudit.source.cache import FactsCache
    from bufaudit.source.facts import Function

#: Fewer files than this are read here: starting workers would take longer.
_WORTH_WORKERS = 48
_CHUNK = 24


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a worker sends back of one file."""

    path: str
    entry: Entry


def read_file(path: str) -> FileFacts:
    """The facts of one file; why there are none is one of them."""
    data = read_source(path)
    return FileFacts(unreadable=data) if isinstance(data, Unreadable) else facts_of(data)


def facts_of(data: bytes) -> FileFacts:
    """The facts of a file's bytes."""
    text = decode(data)
    return FileFacts(unreadable=text) if isinstance(text, Unreadable) else extract(text)


class FactsStore:
    """The facts of files by their paths, each file read at most once and, with a cache, only when it changed."""

    def __init__(self, cache: FactsCache | None = None) -> None:
        self._cache = cache
        self._entries: dict[str, Entry] = {}
        self._facts: dict[str, FileFacts] = {}

    def load(self, path: str) -> FileFacts | None:
        """The facts of one file, None where there is no such file."""
        if path in self._facts:
            return self._facts[path]
        entry = self._entries.get(path) or self._remembered(path)
        if entry is None:
            if stamp_of(path) is None:
                return None
            entry = self._keep(_read(path))
        facts = _decoded(entry)
        if facts is None:
            facts = _decoded(self._keep(_read(path)))
        self._facts[path] = facts or FileFacts()
        return self._facts[path]

    def provide(self, path: str, data: bytes) -> None:
        """Take `data` for the content of a file, whatever is on disk."""
        self._facts[path] = facts_of(data)

    def is_plain(self, path: str) -> bool:
        """Whether no check has anything to ask of a file's facts."""
        if path in self._facts:
            return _is_plain(self._facts[path])
        return path in self._entries and self._entries[path].plain

    def read_all(self, paths: Sequence[str], jobs: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Have the facts of many files ready, by up to `jobs` worker processes."""
        unread = [path for path in paths if path not in self._facts and not self._recall(path)]
        for count, reading in enumerate(_readings(unread, jobs), start=1):
            self._keep(reading)
            if progress is not None:
                progress(count, len(unread))

    def save(self) -> None:
        """Remember what was read for the next run."""
        if self._cache is not None:
            self._cache.save()

    def _recall(self, path: str) -> bool:
        entry = self._remembered(path)
        if entry is not None:
            self._entries[path] = entry
        return entry is not None

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
            self._cache.add(path, Entry(stamp, entry.content, entry.plain, entry.facts))
        return entry

    def _keep(self, reading: _Reading) -> Entry:
        self._entries[reading.path] = reading.entry
        if self._cache is not None and reading.entry.content:
            self._cache.add(reading.path, reading.entry)
        return reading.entry


def _read(path: str) -> _Reading:
    """Read one file; a file that cannot be read has no content to remember it by."""
    stamp = settled(stamp_of(path))
    data = read_source(path)
    if isinstance(data, Unreadable):
        facts = FileFacts(unreadable=data)
        return _Reading(path, Entry(None, "", False, _encoded(facts)))
    facts = facts_of(data)
    return _Reading(path, Entry(stamp, content_key(data), _is_plain(facts), _encoded(facts)))


def _is_plain(facts: FileFacts) -> bool:
    return not (facts.functions or facts.restores or facts.suppressions or facts.unreadable)


def _encoded(facts: FileFacts) -> bytes:
    return json.dumps(encode_facts(facts), separators=(",", ":")).encode()


def _decoded(entry: Entry) -> FileFacts | None:
    try:
        facts = decode_facts(FileFacts, json.loads(entry.facts))
    except (ValueError, RecursionError):
        return None
    return facts if all(map(_holds_together, facts.functions)) else None


def _holds_together(function: Function) -> bool:
    """Whether every position is that of a walk: a cache may have been written by somebody else."""
    positions = {position for effect in function.effects for position in (*effect.walks, *effect.sources)}
    positions.update(position for call in function.calls for walks in call.walks for position in walks)
    return positions <= set(range(len(function.walks)))


def _read_chunk(paths: Sequence[str]) -> list[_Reading]:
    return [_read(path) for path in paths]


def _readings(paths: Sequence[str], jobs: int) -> Iterator[_Reading]:
    if jobs < 2 or len(paths) < _WORTH_WORKERS:
        for path in paths:
            yield _read(path)
        return
    yield from _parallel_readings(paths, jobs)


def _parallel_readings(paths: Sequence[str], jobs: int) -> Iterator[_Reading]:
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    largest_first = sorted(paths, key=_size, reverse=True)
    count = -(-len(paths) // _CHUNK)
    chunks = [largest_first[start::count] for start in range(count)]
    done: set[str] = set()
    try:
        with ProcessPoolExecutor(jobs) as pool:
            for readings in pool.map(_read_chunk, chunks):
                for reading in readings:
                    done.add(reading.path)
                    yield reading
    except BrokenProcessPool:
        for path in paths:
            if path not in done:
                yield _read_apart(path)


def _read_apart(path: str) -> _Reading:
    """Read one file in a process of its own, because a file among its like has brought a worker down."""
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    try:
        with ProcessPoolExecutor(1) as pool:
            return pool.submit(_read, path).result()
    except BrokenProcessPool:
        reason = Unreadable("nesting", "Python's parser does not survive this file")
        return _Reading(path, Entry(None, "", False, _encoded(FileFacts(unreadable=reason))))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0
