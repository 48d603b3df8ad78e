"""What git knows about a work tree, asked through plumbing that runs nothing which the repository configures.

A repository may bring a configuration of its own: filters, external diffs, monitors, hooks, helpers for
remotes. So nothing here lets git read a file of the work tree, since that runs its filters: git compares
commits with the index, and this module compares the index with the files.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bufaudit.errors import (
    GitFailedError,
    GitMissingError,
    NoMergeBaseError,
    NotARepositoryError,
    UnknownRefError,
    UnsafeRepositoryError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds; git answers in a fraction of one, unless something holds it up for good.
TIMEOUT = 120

# An empty monitor is none in every version of git; "false" is the name of a program in old ones.
_SAFE_CONFIG = (
    ("core.fsmonitor", ""),
    ("core.hooksPath", os.devnull),
    ("core.untrackedCache", "false"),
    ("diff.external", ""),
    ("protocol.allow", "never"),
)
# What the user says about git itself; the rest of GIT_* points a hook's git at a repository, maybe another
# one.
_KEPT_VARIABLES = re.compile(
    r"GIT_(?:EXEC_PATH|CEILING_DIRECTORIES|DISCOVERY_ACROSS_FILESYSTEM"
    r"|CONFIG_(?:GLOBAL|SYSTEM|NOSYSTEM|COUNT|PARAMETERS|KEY_\d+|VALUE_\d+))"
)


@dataclass(frozen=True, slots=True)
class _IndexEntry:
    """A file as the index has it; times in nanoseconds since the epoch."""

    name: str
    mode: str
    object_id: str
    modified: int
    size: int


def repository_root(path: Path) -> Path:
    """The top folder of the work tree that holds a folder.

    Raises `GitMissingError`, `NotARepositoryError`, `UnsafeRepositoryError` or `GitFailedError`.
    """
    return Path(os.fsdecode(_git(path, "rev-parse", "--show-toplevel").removesuffix(b"\n")))


def changed_files(root: Path, base_ref: str | None = None) -> list[Path]:
    """The files of a work tree that differ from where HEAD left `base_ref` (by default: from HEAD itself).

    `root` is the top folder of the work tree; the paths begin with it and are sorted. Committed, staged,
    unstaged and untracked changes all count; of a renamed file the new name does, and deleted or ignored
    files do not. A file that was touched, and whose text git converts (line ends, filters), counts as
    changed, since only the conversion could tell.

    Raises `UnknownRefError`, `NoMergeBaseError`, and what `repository_root` raises.
    """
    index_file = _own_index(root)
    entries = _index_entries(root, index_file)
    base = _base_commit(root, base_ref)
    if base is None:
        changed = {entry.name for entry in entries}
    else:
        changed = _names(
            _git(
                root,
                *("diff-index", "--cached", "--name-only", "-z", "--no-renames", "--diff-filter=d"),
                *("--no-ext-diff", "--no-textconv", "--ignore-submodules=all", base, "--"),
                index_file=index_file,
            )
        )
        index_written = _modified(index_file or _git_path(root, "index"))
        changed |= {entry.name for entry in entries if _differs(root, entry, index_written)}
    changed |= _names(_git(root, "ls-files", "-z", "--others", "--exclude-standard", index_file=index_file))
    # A nested repository is listed as a folder, with a slash at the end.
    paths = (root / name for name in changed if not name.endswith("/"))
    return sorted(path for path in paths if path.is_file())


def _base_commit(root: Path, base_ref: str | None) -> str | None:
    """The commit to compare with; None where nothing has been committed yet."""
    head = _commit(root, "HEAD")
    if base_ref is None:
        return head
    # No ref starts with a dash, and git would take it for an option.
    base = None if base_ref.startswith("-") else _commit(root, base_ref)
    if base is None:
        raise UnknownRefError(base_ref)
    common = b"" if head is None else _git(root, "merge-base", base, head, accept=(0, 1))
    if not common:
        raise NoMergeBaseError(base_ref)
    return common.decode("ascii").strip()


def _commit(root: Path, ref: str) -> str | None:
    found = _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", accept=(0, 1, 128))
    return found.decode("ascii").strip() or None


def _index_entries(root: Path, index_file: str | None) -> list[_IndexEntry]:
    listing = _git(root, "ls-files", "-z", "--stage", "--debug", index_file=index_file)
    return list(_parse_entries(listing))


# `--debug` puts its lines behind the NUL that ends an entry.
_ENTRY = re.compile(
    rb"(?P<mode>\d{6}) (?P<id>[0-9a-f]+) \d\t(?P<name>[^\0]+)\0"
    rb"\s*ctime: \d+:\d+\s+mtime: (?P<seconds>\d+):(?P<nanoseconds>\d+)"
    rb"\s+dev: \d+\s+ino: \d+\s+uid: \d+\s+gid: \d+\s+size: (?P<size>\d+)\s+flags: [0-9a-f]+\n"
)


def _parse_entries(listing: bytes) -> Iterator[_IndexEntry]:
    position = 0
    while position < len(listing):
        match = _ENTRY.match(listing, position)
        if match is None:
            raise GitFailedError("ls-files", "its list of the index has an unknown form")
        position = match.end()
        yield _IndexEntry(
            os.fsdecode(match["name"]),
            match["mode"].decode("ascii"),
            match["id"].decode("ascii"),
            int(match["seconds"]) * 1_000_000_000 + int(match["nanoseconds"]),
            int(match["size"]),
        )


def _differs(root: Path, entry: _IndexEntry, index_written: int) -> bool:
    """Whether a file of the work tree is not as the index has it."""
    if not entry.mode.startswith("100"):
        # Links and submodules hold no source of their own.
        return False
    path = root / entry.name
    try:
        status = path.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode):
        return True
    # The index keeps 32 bits of a size.
    if status.st_size & 0xFFFFFFFF != entry.size:
        return True
    # A file written in the same instant as the index may have changed after it without a trace in its times.
    if status.st_mtime_ns == entry.modified and status.st_mtime_ns < index_written:
        return False
    return _object_id(path, status.st_size, len(entry.object_id)) != entry.object_id


def _object_id(path: Path, size: int, digits: int) -> str | None:
    """The name that git gives to the bytes of a file; None where they cannot be read."""
    import hashlib

    digest = hashlib.sha256() if digits == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % size)
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError:
        return None
    return digest.hexdigest()


def _own_index(root: Path) -> str | None:
    """The index of a commit under way (`git commit FILE` makes its own), if it is this repository's."""
    given = os.environ.get("GIT_INDEX_FILE")
    if not given:
        return None
    path = root / given
    folder = _git(root, "rev-parse", "--absolute-git-dir").removesuffix(b"\n")
    belongs = os.path.realpath(path.parent) == os.path.realpath(os.fsdecode(folder))
    return os.fspath(path.absolute()) if belongs and path.is_file() else None


def _git_path(root: Path, name: str) -> str:
    path = _git(root, "rev-parse", "--git-path", name).removesuffix(b"\n")
    return os.fspath(root / os.fsdecode(path))


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _names(listing: bytes) -> set[str]:
    return {os.fsdecode(name) for name in listing.split(b"\0") if name}


def _git(
    folder: Path,
    *arguments: str,
    accept: tuple[int, ...] = (0,),
    index_file: str | None = None,
) -> bytes:
    """What a git command prints, run for a folder; any exit status not in `accept` is an error."""
    import subprocess

    options = [part for key, value in _SAFE_CONFIG for part in ("-c", f"{key}={value}")]
    try:
        done = subprocess.run(
            ["git", "--no-pager", *options, "-C", os.fspath(folder), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=_environment(index_file),
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise GitMissingError from None
    except subprocess.TimeoutExpired:
        raise GitFailedError(arguments[0], f"no answer after {TIMEOUT} seconds") from None
    except (OSError, ValueError) as error:
        raise GitFailedError(arguments[0], str(error)) from None
    complaint = os.fsdecode(done.stderr)
    if "dubious ownership" in complaint or "unsafe repository" in complaint:
        raise UnsafeRepositoryError(folder)
    if "not a git repository" in complaint or "must be run in a work tree" in complaint:
        raise NotARepositoryError(folder)
    if done.returncode not in accept:
        raise GitFailedError(arguments[0], complaint)
    return done.stdout


def _environment(index_file: str | None) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or _KEPT_VARIABLES.fullmatch(name)
    }
    kept |= {
        "GIT_OPTIONAL_LOCKS": "0",
        # A partial clone fetches what it lacks, with programs that its configuration names.
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_TERMINAL_PROMPT": "0",
        # Messages are told apart by their English words.
        "LC_ALL": "C",
        "LANGUAGE": "",
    }
    if index_file is not None:
        kept["GIT_INDEX_FILE"] = index_file
    return kept
