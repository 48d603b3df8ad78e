"""Which files to look at: what the user names, and the Python files below the folders that the user names."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bufaudit.errors import NoPythonFilesError, NoSuchPathError, printable
from bufaudit.source.ignore import IgnorePatterns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Folders that hold no code of the project; a pattern of the user's such as `!build/` takes one back.
BUILT_IN_EXCLUDES = (
    ".bufaudit_cache/",
    ".bzr/",
    ".direnv/",
    ".eggs/",
    ".git/",
    ".hg/",
    ".ipynb_checkpoints/",
    ".mypy_cache/",
    ".nox/",
    ".pants.d/",
    ".pyenv/",
    ".pytest_cache/",
    ".pytype/",
    ".ruff_cache/",
    ".svn/",
    ".tox/",
    ".venv/",
    ".vscode/",
    "*.egg-info/",
    "__pycache__/",
    "__pypackages__/",
    "_build/",
    "buck-out/",
    "build/",
    "dist/",
    "node_modules/",
    "site-packages/",
)
_ENVIRONMENT_MARK = "pyvenv.cfg"
_IGNORE_FILE = ".gitignore"
# Bytes; nobody writes a longer one by hand, and each pattern costs time at each file.
_IGNORE_FILE_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to look at; `named` where the user gave this very path rather than a folder above it."""

    path: Path
    named: bool


@dataclass(frozen=True, slots=True)
class Discovery:
    """The files in the order of their paths, each once, and sentences about what could not be looked into."""

    files: tuple[SourceFile, ...]
    warnings: tuple[str, ...] = ()


class _Layer(NamedTuple):
    """Patterns, and where the folder at hand lies below theirs: empty or with a slash at the end."""

    patterns: IgnorePatterns
    prefix: str


class _Found(NamedTuple):
    """A candidate; of several with one `real` path the smallest by the first three fields is taken."""

    walked: bool
    is_link: bool
    path: str
    real: str


def discover(
    paths: Sequence[Path],
    *,
    root: Path,
    exclude: Sequence[str] = (),
    respect_gitignore: bool = True,
    force_exclude: bool = False,
) -> Discovery:
    """The files that `paths` stand for: files themselves, whatever their extension, and `.py` files below
    folders.

    `exclude` has patterns in the form of `.gitignore`, relative to `root`, on top of `BUILT_IN_EXCLUDES` and
    virtual environments. Excludes and `.gitignore` files leave out what a walk meets, never a path given by
    name nor what lies in it because of the folders above it: `site-packages/transformers` can be named. With
    `force_exclude`, excludes (but not `.gitignore` files) hold for named paths too. `.gitignore` files are
    those below the named folder and above it up to the top of its repository, with the repository's
    `.git/info/exclude`.

    Linked files are read, linked folders are not entered, unless named: git and ruff do the same, and no walk
    can run in circles. A file with several names is taken once.

    Raises `NoSuchPathError` for a path that does not exist, `NoPythonFilesError` where nothing is found,
    except where `force_exclude` left out something that was named.
    """
    walk = _Walk(
        os.path.realpath(root),
        IgnorePatterns((*BUILT_IN_EXCLUDES, *exclude)),
        respect_gitignore=respect_gitignore,
    )
    found: dict[str, _Found] = {}
    refused = False
    for path in paths:
        is_folder = _is_folder(path)
        real = os.path.realpath(path)
        if force_exclude and walk.excludes_named(real, is_folder=is_folder):
            refused = True
            continue
        if is_folder:
            candidates = walk.files_below(os.fspath(path), real)
        else:
            is_link = os.path.islink(path)
            candidates = iter([_Found(False, is_link, os.fspath(path), real)])
        for candidate in candidates:
            known = found.get(candidate.real)
            if known is None or candidate < known:
                found[candidate.real] = candidate
    if not found and not refused:
        raise NoPythonFilesError(paths, left_out=walk.left_out, warnings=walk.warnings)
    ordered = sorted(found.values(), key=lambda each: each.path)
    files = tuple(SourceFile(Path(each.path), named=not each.walked) for each in ordered)
    return Discovery(files, tuple(walk.warnings))


def is_excluded(path: Path, *, root: Path, exclude: Sequence[str] = ()) -> bool:
    """Whether excludes leave out a file given by name, whether or not it exists; see `discover`."""
    walk = _Walk(os.path.realpath(root), IgnorePatterns((*BUILT_IN_EXCLUDES, *exclude)), respect_gitignore=False)
    return walk.excludes_named(os.path.realpath(path), is_folder=False)


class _Walk:
    """One run over folders; collects warnings, and whether anything was left out, on its way."""

    def __init__(self, root: str, excludes: IgnorePatterns, *, respect_gitignore: bool) -> None:
        self._root = root
        self._excludes = excludes
        self._respect_gitignore = respect_gitignore
        self.warnings: list[str] = []
        self.left_out = False

    def excludes_named(self, real: str, *, is_folder: bool) -> bool:
        """Whether an exclude holds for a path or for a folder above it, up to the root of the project."""
        inside = _below(self._root, real)
        if inside is None:
            above, name = os.path.split(real)
            return self._excludes.verdict(self._exclude_prefix(above), name, is_folder=is_folder) is True
        prefix = ""
        names = inside.split("/") if inside else []
        for position, name in enumerate(names, start=1):
            is_part_folder = position < len(names) or is_folder
            if self._excludes.verdict(prefix, name, is_folder=is_part_folder):
                return True
            prefix += name + "/"
            mark = f"{self._root}/{prefix}{_ENVIRONMENT_MARK}"
            if is_part_folder and os.path.exists(mark):
                return True
        return False

    def files_below(self, top: str, real_top: str) -> Iterator[_Found]:
        """The Python files below a folder; `real_top` is its path without links."""
        shown = "" if top == "." else top.removesuffix("/") + "/"
        layers = self._layers_above(real_top) if self._respect_gitignore else ()
        pending = [(shown, real_top, layers, self._exclude_prefix(real_top))]
        while pending:
            shown, real, layers, exclude_prefix = pending.pop()
            try:
                with os.scandir(shown or ".") as entries:
                    listing = list(entries)
            except OSError as error:
                self.warnings.append(f"{printable(shown or '.')} was left out: {error.strerror}")
                continue
            names = {entry.name for entry in listing}
            if _ENVIRONMENT_MARK in names and real != real_top:
                self.left_out = True
                continue
            if self._respect_gitignore:
                if ".git" in names and real != real_top:
                    # A repository in a repository: the outer one's patterns end here.
                    layers = self._repository_layer(real)
                if _IGNORE_FILE in names:
                    layers = (*self._file_layer(shown + _IGNORE_FILE, ""), *layers)
            for entry in listing:
                name = entry.name
                is_folder = _is_real_folder(entry)
                if not is_folder and not name.endswith(".py"):
                    continue
                if self._left_out(name, layers, exclude_prefix, is_folder=is_folder):
                    self.left_out = True
                elif is_folder:
                    inner = tuple(_Layer(layer.patterns, f"{layer.prefix}{name}/") for layer in layers)
                    pending.append((f"{shown}{name}/", f"{real}/{name}", inner, f"{exclude_prefix}{name}/"))
                elif _is_file(entry):
                    is_link = entry.is_symlink()
                    target = os.path.realpath(entry.path) if is_link else f"{real}/{name}"
                    yield _Found(True, is_link, f"{shown}{name}", target)

    def _left_out(self, name: str, layers: tuple[_Layer, ...], exclude_prefix: str, *, is_folder: bool) -> bool:
        if self._excludes.verdict(exclude_prefix, name, is_folder=is_folder):
            return True
        return _ignored(name, layers, is_folder=is_folder)

    def _exclude_prefix(self, real: str) -> str:
        relative = os.path.relpath(real, self._root).replace(os.sep, "/")
        return "" if relative == "." else relative + "/"

    def _layers_above(self, real: str) -> tuple[_Layer, ...]:
        """The patterns that hold in a folder from above it, the nearest first.

        None from above a folder that they leave out, since then it was named in spite of them. Outside a
        repository the root of the project takes the place of the repository's top.
        """
        top = _repository_top(real)
        if top is None:
            top = self._root if _below(self._root, real) is not None else real
        layers = self._repository_layer(top)
        folder = top
        for name in (_below(top, real) or "").split("/"):
            if not name:
                continue
            layers = (*self._file_layer(f"{folder}/{_IGNORE_FILE}", ""), *layers)
            if _ignored(name, layers, is_folder=True):
                layers = ()
            layers = tuple(_Layer(layer.patterns, f"{layer.prefix}{name}/") for layer in layers)
            folder = f"{folder}/{name}"
        return layers

    def _repository_layer(self, top: str) -> tuple[_Layer, ...]:
        git = f"{top}/.git"
        return self._file_layer(f"{_common_folder(git)}/info/exclude", "")

    def _file_layer(self, path: str, prefix: str) -> tuple[_Layer, ...]:
        """The patterns of a file, or nothing where it is missing or no regular file."""
        try:
            text = _small_file(path)
        except OSError as error:
            self.warnings.append(f"{printable(path)} was not honoured: {error.strerror or error}")
            return ()
        patterns = IgnorePatterns(text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").split("\n"))
        return (_Layer(patterns, prefix),) if patterns else ()


def _ignored(name: str, layers: tuple[_Layer, ...], *, is_folder: bool) -> bool:
    for patterns, prefix in layers:
        verdict = patterns.verdict(prefix, name, is_folder=is_folder)
        if verdict is not None:
            return verdict
    return False


def _is_folder(path: Path) -> bool:
    """Whether a path given by name is a folder; raises `NoSuchPathError` where it leads nowhere."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise NoSuchPathError(path, "is a link that leads nowhere") from None
        raise NoSuchPathError(path, suggestion=_similar(path)) from None
    except PermissionError:
        # Whoever reads it reports that, together with what the other paths give.
        return False
    except OSError as error:
        raise NoSuchPathError(path, f"cannot be opened ({error.strerror})") from None
    except ValueError:
        raise NoSuchPathError(path, "is no possible path") from None


def _similar(path: Path) -> str | None:
    """The existing path most like a missing one, by its first part that does not exist."""
    import difflib

    missing = path
    while not missing.parent.is_dir():
        if missing.parent == missing:
            return None
        missing = missing.parent
    try:
        neighbours = [entry.name for entry in missing.parent.iterdir()]
    except OSError:
        return None
    close = difflib.get_close_matches(missing.name, neighbours, n=1)
    if not close:
        return None
    whole = missing.with_name(close[0]) / path.relative_to(missing)
    return os.fspath(whole if whole.exists() else missing.with_name(close[0]))


def _is_real_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        # A link that leads to itself.
        return False


def _below(top: str, path: str) -> str | None:
    """The way from one real path down to another, with slashes; None where it does not lead down."""
    if path == top:
        return ""
    prefix = top if top.endswith(os.sep) else top + os.sep
    return path[len(prefix) :].replace(os.sep, "/") if path.startswith(prefix) else None


def _repository_top(real: str) -> str | None:
    folder = real
    while not os.path.exists(f"{folder}/.git"):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return folder


def _common_folder(git: str) -> str:
    """Where a repository keeps what its work trees share; `.git` is a file in a linked one or a submodule."""
    try:
        pointer = _small_file(git).removeprefix("gitdir:").strip()
        folder = os.path.join(os.path.dirname(git), pointer) if pointer else git
        common = _small_file(f"{folder}/commondir").strip()
    except OSError:
        return git
    return os.path.join(folder, common) if common else folder


def _small_file(path: str) -> str:
    """The text of a regular file; empty where there is none.

    Raises `OSError` where it may not be read or is longer than anyone writes.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return ""
        with open(path, "rb") as file:
            data = file.read(_IGNORE_FILE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if len(data) > _IGNORE_FILE_LIMIT:
        raise OSError(f"it is larger than {_IGNORE_FILE_LIMIT} bytes")
    return os.fsdecode(data)
