"""The files of the package around a file, to be searched for a word: who, of all files on disk, may use a name."""

from __future__ import annotations

import os
import re

from bufaudit.source.text import Unreadable, read_source

#: Enough for every model library that is known; a larger tree is searched as far as this.
_MOST_FILES = 6000
_MOST_BYTES = 96_000_000
_OTHERS = frozenset({"__pycache__", "node_modules", "build", "dist", "tests", "test", "testing", "site-packages"})
_PROJECT_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
_FARTHEST = 3


def top_folder(path: str) -> str:
    """The top package around a file; where it is in none, the project, if its root is near, else its folder.

    Packages may lie in folders without `__init__.py`, within other packages.
    """
    folder = own = os.path.dirname(path)
    top = ""
    apart = 0
    while apart < _FARTHEST and folder != os.path.dirname(folder):
        if _has(folder, ("__init__.py",)):
            top, apart = folder, 0
        elif _has(folder, _PROJECT_MARKS):
            return top or folder
        else:
            apart += 1
        folder = os.path.dirname(folder)
    return top or own


def _has(folder: str, names: tuple[str, ...]) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in names)


class PackageText:
    """The Python files below a folder, read once when first asked."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._contents: dict[str, bytes] | None = None
        self._found: dict[str, tuple[str, ...]] = {}

    def files_with(self, word: str) -> tuple[str, ...]:
        """The files in which a word occurs, in the order of their paths."""
        if self._contents is None:
            self._contents = _read_all(self._folder)
        if word not in self._found:
            sought = word.encode()
            whole = re.compile(rb"\b" + re.escape(sought) + rb"\b")
            self._found[word] = tuple(
                path for path, data in self._contents.items() if sought in data and whole.search(data)
            )
        return self._found[word]


def _read_all(folder: str) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    size = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _OTHERS and not name.startswith("."))
        for name in sorted(names):
            if not name.endswith(".py") or len(contents) == _MOST_FILES or size > _MOST_BYTES:
                continue
            path = os.path.join(parent, name)
            data = read_source(path)
            if not isinstance(data, Unreadable):
                contents[path] = data
                size += len(data)
    return contents
