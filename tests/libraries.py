"""The Python files of installed libraries, found without importing anything: real code to hold laws over."""

from __future__ import annotations

import os
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

from bufaudit.source.text import Unreadable, decode, read_source


def python_files(library: str) -> list[str]:
    """All of them, in order; skips the test where the library is not installed."""
    if library == "stdlib":
        folder = Path(sysconfig.get_path("stdlib"))
    else:
        spec = find_spec(library)
        if spec is None or spec.origin is None:
            pytest.skip(f"{library} is not installed")
        folder = Path(spec.origin).parent
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("site-packages", "__pycache__")]
        found += [os.path.join(parent, name) for name in names if name.endswith(".py")]
    return sorted(found)


def text_of(path: str) -> str | None:
    """A file's text as the extraction sees it, None where it has none."""
    data = read_source(path)
    text = data if isinstance(data, Unreadable) else decode(data)
    return None if isinstance(text, Unreadable) else text.replace("\r\n", "\n").replace("\r", "\n")
