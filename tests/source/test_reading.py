"""Files give the facts of what is in them now, whatever a cache remembers and whatever happens to workers."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bufaudit.source import cache as caching
from bufaudit.source import reading
from bufaudit.source.cache import FactsCache
from bufaudit.source.extract import extract
from bufaudit.source.reading import FactsStore, facts_of, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.source.facts import FileFacts

ONE = "class One:\n    pass\n"
TWO = "class Two:\n    pass\n"


def classes(facts: FileFacts | None) -> list[str] | None:
    return None if facts is None else [found.name for found in facts.classes]


class Session:
    """Runs one after the other over the same cache, each with a count of the files that it really read."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self.extracted = 0
        monkeypatch.setattr("bufaudit.source.extract.extract", self._extract)

    def _extract(self, text: str, **options: bool) -> FileFacts:
        self.extracted += 1
        return extract(text, **options)

    def classes(self, path: Path) -> list[str] | None:
        store = FactsStore(FactsCache(self._folder, "1"))
        store.read_all({str(path): False}, 1)
        found = classes(store.load(str(path)))
        store.save()
        return found


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    return Session(tmp_path / "cache", monkeypatch)


@pytest.fixture
def aged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file whose times are old enough to be believed: change times cannot be set, so the grain is made fine."""
    monkeypatch.setattr(caching, "_CLOCK_GRAIN", 1_000_000)
    path = tmp_path / "a.py"
    path.write_text(ONE, "utf-8")
    time.sleep(0.02)
    yield path


def test_unchanged_file_is_read_once(session: Session, aged: Path) -> None:
    assert session.classes(aged) == ["One"]
    assert session.classes(aged) == ["One"]
    assert session.extracted == 1


def test_touched_file_is_not_parsed_again(session: Session, aged: Path) -> None:
    session.classes(aged)
    os.utime(aged)
    assert session.classes(aged) == ["One"]
    time.sleep(0.02)
    assert session.classes(aged) == ["One"]
    assert session.extracted == 1


def test_changed_file_is_read_again(session: Session, aged: Path) -> None:
    session.classes(aged)
    aged.write_text(TWO + "x = 1\n", "utf-8")
    assert session.classes(aged) == ["Two"]


def test_change_that_keeps_size_and_time_of_modification_is_noticed(session: Session, aged: Path) -> None:
    """As `touch -r` and some build tools leave files: the time of change gives it away."""
    before = aged.stat()
    session.classes(aged)
    aged.write_text(TWO, "utf-8")
    os.utime(aged, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = aged.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert session.classes(aged) == ["Two"]


def test_change_within_the_grain_of_the_clock_is_noticed(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writes may bear the same time stamp; a file that young is compared by content."""
    path = tmp_path / "a.py"
    path.write_text(ONE, "utf-8")
    frozen = caching.stamp_of(str(path))
    monkeypatch.setattr(reading, "stamp_of", lambda _: frozen)
    assert session.classes(path) == ["One"]
    path.write_text(TWO, "utf-8")
    assert session.classes(path) == ["Two"]


def test_file_that_went_away_has_no_facts(session: Session, aged: Path) -> None:
    session.classes(aged)
    aged.unlink()
    store = FactsStore(FactsCache(aged.parent / "cache", "1"))
    assert store.load(str(aged)) is None


def test_two_files_of_the_same_content_have_their_own_entries(session: Session, aged: Path) -> None:
    other = aged.with_name("b.py")
    other.write_text(TWO, "utf-8")
    assert (session.classes(aged), session.classes(other), session.classes(aged)) == (["One"], ["Two"], ["One"])


def test_entry_whose_facts_are_damaged_is_read_again(session: Session, aged: Path) -> None:
    """The checksum is right and the facts are not: an entry that somebody else has made."""
    session.classes(aged)
    cache = FactsCache(aged.parent / "cache", "1")
    for facts in (b"[]", b"null", b"{", b"[" * 100_000, b'[[["x"]]]', b"\xff"):
        entry = cache.get(str(aged))
        assert entry is not None
        cache.add(str(aged), replace(entry, facts=facts))
        cache.save()
        assert session.classes(aged) == ["One"]


def test_provided_content_stands_for_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(ONE, "utf-8")
    store = FactsStore()
    store.provide(str(path), TWO.encode())
    store.read_all({str(path): False}, 1)
    assert classes(store.load(str(path))) == ["Two"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (ONE, True),
        ("class A:\n    def __init__(self):\n        self.register_buffer('a', 1)\n", False),
        ("def f(m):\n    return list(m.parameters())\n", False),
        ("class A:\n    def _init_weights(self, m):\n        m.a = 1\n", False),
        ("def f(m):\n    m.pool_allocator.sleep(offload_tags=())\n", False),
        ("x = 1  # bufaudit: ignore\n", False),
        ("x = (", False),
    ],
)
def test_plain_files_are_those_that_no_check_has_to_see(text: str, plain: bool, tmp_path: Path) -> None:
    path = str(tmp_path / "a.py")
    Path(path).write_text(text, "utf-8")
    fresh = FactsStore(FactsCache(tmp_path / "cache", "1"))
    fresh.read_all({path: False}, 1)
    assert fresh.is_plain(path) is plain
    fresh.load(path)
    assert fresh.is_plain(path) is plain
    fresh.save()
    cached = FactsStore(FactsCache(tmp_path / "cache", "1"))
    cached.read_all({path: False}, 1)
    assert cached.is_plain(path) is plain


def test_file_that_cannot_be_read_says_why_and_is_not_remembered(tmp_path: Path) -> None:
    path = str(tmp_path / "a.py")
    os.mkfifo(path)
    store = FactsStore(FactsCache(tmp_path / "cache", "1"))
    store.read_all({path: False}, 1)
    facts = store.load(path)
    store.save()
    assert facts is not None and facts.unreadable is not None
    assert facts.unreadable.reason == "not-a-file"
    assert facts == read_file(path)
    assert not (tmp_path / "cache").exists()


def test_bytes_that_do_not_decode_say_why() -> None:
    for data, reason in ((b"\xff = 1", "undecodable"), (b"x = (", "syntax"), (b"a\0b", "nul")):
        unreadable = facts_of(data).unreadable
        assert unreadable is not None
        assert unreadable.reason == reason


def many(folder: Path) -> list[str]:
    paths = [folder / f"m{number}.py" for number in range(reading._WORTH_WORKERS + 12)]
    for number, path in enumerate(paths):
        path.write_text(f"class C{number}:\n    pass\n", "utf-8")
    return [str(path) for path in paths]


def test_progress_counts_every_file_that_is_read(tmp_path: Path) -> None:
    paths = many(tmp_path)
    for jobs in (1, 2):
        seen: list[tuple[int, int]] = []
        FactsStore().read_all(
            dict.fromkeys(paths, False), jobs, lambda done, total, seen=seen: seen.append((done, total))
        )
        assert seen == [(number, len(paths)) for number in range(1, len(paths) + 1)]


def test_files_are_read_by_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = many(tmp_path)
    monkeypatch.setattr("bufaudit.source.extract.extract", lambda text, **_: extract(f"class P{os.getpid()}: pass"))
    store = FactsStore()
    store.read_all(dict.fromkeys(paths, False), 2)
    seen = {str(classes(store.load(path))) for path in paths}
    assert f"['P{os.getpid()}']" not in seen


def test_file_that_kills_a_worker_costs_that_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = many(tmp_path)
    Path(paths[7]).write_text("class Deadly: pass\n", "utf-8")
    parent = os.getpid()

    def deadly(text: str, **_: bool) -> FileFacts:
        if "Deadly" in text and os.getpid() != parent:
            os._exit(66)
        return extract(text)

    monkeypatch.setattr("bufaudit.source.extract.extract", deadly)
    store = FactsStore(FactsCache(tmp_path / "cache", "1"))
    store.read_all(dict.fromkeys(paths, False), 2)
    for number, path in enumerate(paths):
        facts = store.load(path)
        assert facts is not None
        if number == 7:
            assert facts.unreadable is not None
            assert facts.unreadable.reason == "nesting"
        else:
            assert classes(facts) == [f"C{number}"]
    store.save()
    remembered = FactsCache(tmp_path / "cache", "1")
    assert remembered.get(paths[7]) is None, "what killed a worker may have been no fault of the file"
    assert remembered.get(paths[8]) is not None
