"""The cache is believed only where it cannot be wrong, and no cache file can do worse than be ignored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from bufaudit.source.cache import Entry, FactsCache, content_key, settled, stamp_of

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = Entry((10, 20, 30, 40), "abc", False, True, b'[["facts"]]')
OTHER = Entry(None, "def", True, False, b"[]")


def filled(folder: Path, build: str = "1", **entries: Entry) -> FactsCache:
    cache = FactsCache(folder, build)
    for name, entry in (entries or {"a.py": ENTRY, "b.py": OTHER}).items():
        cache.add(name, entry)
    cache.save()
    return cache


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    filled(tmp_path / "c")
    cache = FactsCache(tmp_path / "c", "1")
    assert cache.get("a.py") == ENTRY
    assert cache.get("b.py") == OTHER
    assert cache.get("c.py") is None


@pytest.mark.parametrize("name", ["a b", "a\tb\nc", "[red]", "\udcff.py", "ä", "\\", '"'])
def test_any_path_is_a_key(name: str, tmp_path: Path) -> None:
    filled(tmp_path, **{name: ENTRY})
    assert FactsCache(tmp_path, "1").get(name) == ENTRY


def test_added_entry_is_there_before_saving(tmp_path: Path) -> None:
    cache = FactsCache(tmp_path, "1")
    cache.add("a.py", ENTRY)
    assert cache.get("a.py") == ENTRY
    assert list(tmp_path.iterdir()) == []


def test_folder_says_what_it_is_and_stays_out_of_git(tmp_path: Path) -> None:
    filled(tmp_path / "c")
    assert (tmp_path / "c" / ".gitignore").read_text("utf-8") == "*\n"
    assert (
        (tmp_path / "c" / "CACHEDIR.TAG").read_text("utf-8").startswith("Signature: 8a477f597d28d172789f06886806bc55")
    )
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [".gitignore", "CACHEDIR.TAG", "facts.jsonl"]


def test_other_build_starts_anew(tmp_path: Path) -> None:
    filled(tmp_path, build="1")
    assert FactsCache(tmp_path, "2").get("a.py") is None
    filled(tmp_path, build="2", **{"c.py": OTHER})
    assert FactsCache(tmp_path, "2").get("a.py") is None
    assert FactsCache(tmp_path, "2").get("c.py") == OTHER


def test_save_keeps_what_another_run_saved_meanwhile(tmp_path: Path) -> None:
    mine, theirs = FactsCache(tmp_path, "1"), FactsCache(tmp_path, "1")
    mine.add("a.py", ENTRY)
    theirs.add("b.py", OTHER)
    theirs.save()
    mine.save()
    both = FactsCache(tmp_path, "1")
    assert (both.get("a.py"), both.get("b.py")) == (ENTRY, OTHER)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "facts.jsonl"
    whole = path.read_bytes()
    for position in range(0, len(whole), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        cache = FactsCache(tmp_path, "1")
        assert cache.get("a.py") in (None, ENTRY)
        assert cache.get("b.py") in (None, OTHER)
        assert None in (cache.get("a.py"), cache.get("b.py")) or position == len(whole) - 1


def test_truncated_file_gives_its_whole_lines_and_is_made_whole_again(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "facts.jsonl"
    whole = path.read_bytes()
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        cache = FactsCache(tmp_path, "1")
        assert cache.get("a.py") in (None, ENTRY)
        assert cache.get("b.py") is None or length >= len(whole) - 1
    filled(tmp_path)
    assert path.read_bytes() == whole


def forged(rest: bytes) -> bytes:
    return b"%08x" % crc32(rest) + b"\t" + rest


@pytest.mark.parametrize(
    "rest",
    [
        b'"a.py"',
        b'"a.py"\t[]\t[]',
        b'"a.py"\tnull\t[]',
        b'"a.py"\t[[1, 2, 3], "abc", false, false]\t[]',
        b'"a.py"\t[[1, 2, 3, null], "abc", false, false]\t[]',
        b'"a.py"\t[[Infinity, 2, 3, 4], "abc", false, false]\t[]',
        b'"a.py"\t[[NaN, 2, 3, 4], "abc", false, false]\t[]',
        b'"a.py"\t' + b"[" * 100_000 + b"\t[]",
        b'"a.py"\t' + b"9" * 10_000 + b"\t[]",
        b'"a.py"\t\xff\xfe\t[]',
        b"[" * 100_000 + b"\t[]\t[]",
        b"\xff\t[]\t[]",
    ],
)
def test_line_that_somebody_made_up_is_absent(rest: bytes, tmp_path: Path) -> None:
    """Whoever ships a repository can ship a cache with right checksums."""
    filled(tmp_path)
    path = tmp_path / "facts.jsonl"
    header = path.read_bytes().partition(b"\n")[0]
    path.write_bytes(b"\n".join((header, forged(rest), b"")))
    cache = FactsCache(tmp_path, "1")
    assert cache.get("a.py") is None
    cache.add("b.py", OTHER)
    cache.save()
    assert FactsCache(tmp_path, "1").get("b.py") == OTHER


def test_linked_cache_file_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    filled(tmp_path / "c")
    target = tmp_path / "precious"
    (tmp_path / "c" / "facts.jsonl").rename(target)
    (tmp_path / "c" / "facts.jsonl").symlink_to(target)
    before = target.read_bytes()
    cache = FactsCache(tmp_path / "c", "1")
    assert cache.get("a.py") is None
    cache.add("c.py", OTHER)
    cache.save()
    assert target.read_bytes() == before
    assert not (tmp_path / "c" / "facts.jsonl").is_symlink()


def test_cache_that_is_a_pipe_or_a_folder_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "facts.jsonl")
    assert FactsCache(tmp_path, "1").get("a.py") is None
    (tmp_path / "c" / "facts.jsonl").mkdir(parents=True)
    cache = filled(tmp_path / "c")
    assert cache.get("a.py") == ENTRY
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["facts.jsonl"]


def test_folder_that_cannot_be_made_or_written_costs_the_cache_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    filled(tmp_path / "file" / "cache")
    filled(tmp_path / "file")
    assert (tmp_path / "file").read_text("utf-8") == "x"
    filled(tmp_path / ("x" * 300))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission_costs_the_cache_only(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir(mode=0o500)
    filled(tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []


_WRITER = """
import sys
from pathlib import Path
from bufaudit.source.cache import Entry, FactsCache
for number in range(60):
    cache = FactsCache(Path(sys.argv[1]), "1")
    cache.add(f"{sys.argv[2]}{number % 5}.py", Entry(None, sys.argv[2], False, False, b"[" + b"1" * 5000 + b"]"))
    cache.save()
"""


def test_two_writers_at_once_never_tear_the_file(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, tmp_path, name]) for name in "ab"]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        cache = FactsCache(tmp_path, "1")
        for name in "ab":
            for number in range(5):
                entry = cache.get(f"{name}{number}.py")
                assert entry is None or entry.content == name
                seen += entry is not None
    assert [writer.wait() for writer in writers] == [0, 0]
    assert seen
    last = FactsCache(tmp_path, "1")
    assert any(last.get(f"{name}4.py") for name in "ab"), "what one reads before the other saves can be lost, not more"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_stamp_of_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert stamp_of(str(tmp_path / "no.py")) is None
    assert stamp_of("a\0b") is None
    assert settled(None) is None


def test_young_stamp_is_not_settled() -> None:
    now = time.time_ns()
    old = now - 10_000_000_000
    assert settled((1, old, old, 1)) == (1, old, old, 1)
    assert settled((1, now, old, 1)) is None
    assert settled((1, old, now, 1)) is None
    assert settled((1, now + 10_000_000_000_000, old, 1)) is None


def test_content_key_tells_contents_apart() -> None:
    assert content_key(b"a") == content_key(b"a") != content_key(b"b")


def test_stored_lines_are_json(tmp_path: Path) -> None:
    """Data that other tools can read and nothing that runs when it is loaded."""
    filled(tmp_path)
    header, *lines = (tmp_path / "facts.jsonl").read_bytes().splitlines()
    assert json.loads(header) == {"bufaudit": 1, "build": "1"}
    assert [[json.loads(field) for field in line.split(b"\t")[1:]] for line in lines] == [
        ["a.py", [[10, 20, 30, 40], "abc", False, True], [["facts"]]],
        ["b.py", [None, "def", True, False], []],
    ]
