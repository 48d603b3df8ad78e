"""Facts kept on disk between runs, keyed by a file's content and by the code that made them.

One file of JSON lines, each with its own checksum: whatever is damaged, or was written by somebody else, is read as
absent. It is replaced as a whole by renaming, so that runs side by side cannot mix; of what both add, the later wins.
A file whose size, times and inode are as remembered is not read again, unless it changed so shortly before it was
read that its times could not tell.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Nanoseconds within which two changes may bear the same time stamp.
_CLOCK_GRAIN = 2_000_000_000

#: Size, time of modification, time of change (both in nanoseconds) and inode.
Stamp = tuple[int, int, int, int]

_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of bufaudit and may be deleted.\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is remembered of one file.

    `facts` is JSON; `plain` tells that no check has anything to ask of them, `whole` that all of the file was parsed.
    """

    stamp: Stamp | None
    content: str
    plain: bool
    whole: bool
    facts: bytes


def stamp_of(path: str) -> Stamp | None:
    """The stamp of a file, None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def settled(stamp: Stamp | None) -> Stamp | None:
    """A stamp that will tell a later change, None for one that is too young for that."""
    if stamp is None or time.time_ns() - max(stamp[1], stamp[2]) < _CLOCK_GRAIN:
        return None
    return stamp


def content_key(data: bytes) -> str:
    """What tells one content from another."""
    # Where stamps tell that nothing has changed nobody asks, and it takes longer to load than a file to check.
    from hashlib import blake2b

    return blake2b(data, digest_size=16).hexdigest()


class FactsCache:
    """The cache of one project; `build` names the code that makes facts."""

    def __init__(self, folder: Path, build: str) -> None:
        self._folder = folder
        self._path = folder / "facts.jsonl"
        self._build = build
        self._added: dict[str, Entry] = {}

    @cached_property
    def _content(self) -> bytes:
        return self._read()

    @cached_property
    def _starts(self) -> dict[bytes, int]:
        return _starts(self._content)

    def get(self, path: str) -> Entry | None:
        """What is remembered of the file at a path, whether or not it still holds."""
        if path in self._added:
            return self._added[path]
        start = self._starts.get(_name(path))
        return None if start is None else _entry(_line_at(self._content, start))

    def add(self, path: str, entry: Entry) -> None:
        """Remember a file."""
        self._added[path] = entry

    def save(self) -> None:
        """Write what was added; a folder that cannot be written is no reason to fail."""
        if not self._added:
            return
        content = self._read()
        lines = {name: _line_at(content, start) for name, start in _starts(content).items()}
        lines |= {_name(path): _line(path, entry) for path, entry in self._added.items()}
        with contextlib.suppress(OSError):
            self._prepare_folder()
            self._replace((self._header(), *lines.values()))

    def _prepare_folder(self) -> None:
        if self._folder.is_dir():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / ".gitignore").write_text("*\n", encoding="utf-8")
        (self._folder / "CACHEDIR.TAG").write_text(_TAG, encoding="utf-8")

    def _replace(self, lines: Iterable[bytes]) -> None:
        import tempfile

        descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix="facts-", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"\n".join(lines) + b"\n")
            os.replace(temporary, self._path)
        except BaseException:
            os.unlink(temporary)
            raise

    def _header(self) -> bytes:
        return _dumped({"bufaudit": 1, "build": self._build})

    def _read(self) -> bytes:
        """What the cache's file holds; nothing where another build wrote it or it is no plain file."""
        try:
            if not self._path.is_file() or self._path.is_symlink():
                return b""
            content = self._path.read_bytes()
        except OSError:
            return b""
        return content if content.startswith(self._header() + b"\n") else b""


def _starts(content: bytes) -> dict[bytes, int]:
    """Where the line of each path starts, unchecked: most runs read few of many megabytes of lines."""
    starts: dict[bytes, int] = {}
    start = content.find(b"\n") + 1
    while start:
        name = content.find(b"\t", start) + 1
        end = content.find(b"\t", name)
        if not name or end < 0:
            break
        starts[content[name:end]] = start
        start = content.find(b"\n", start) + 1
    return starts


def _line_at(content: bytes, start: int) -> bytes:
    end = content.find(b"\n", start)
    return content[start:] if end < 0 else content[start:end]


def _name(path: str) -> bytes:
    return _dumped(path)


def _line(path: str, entry: Entry) -> bytes:
    head = _dumped([entry.stamp, entry.content, entry.plain, entry.whole])
    rest = b"\t".join((_name(path), head, entry.facts))
    return b"\t".join((_checksum(rest), rest))


def _dumped(value: object) -> bytes:
    import json

    return json.dumps(value).encode()


def _entry(line: bytes) -> Entry | None:
    import json

    checksum, _, rest = line.partition(b"\t")
    if _checksum(rest) != checksum:
        return None
    try:
        _, head, facts = rest.split(b"\t", 2)
        stamp, content, plain, whole = json.loads(head)
        checked = None if stamp is None else _stamp(stamp)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None
    return Entry(checked, str(content), bool(plain), bool(whole), facts)


def _stamp(values: list[int]) -> Stamp:
    size, modified, changed, inode = map(int, values)
    return size, modified, changed, inode


def _checksum(data: bytes) -> bytes:
    return b"%08x" % crc32(data)
