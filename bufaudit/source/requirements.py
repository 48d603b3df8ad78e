"""Which releases of transformers a package asks for, by the files that say how it is installed."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal

from bufaudit.patterns import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

#: "old" for releases before 5 only, "new" for release 5 too, "unknown" where nothing says.
Asked = Literal["old", "new", "unknown"]

_NAMES = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "METADATA", "PKG-INFO")
#: How far above a package these files may lie, as in `src/package`.
_FARTHEST = 2
_LARGEST = 1_000_000
#: A requirement, as in `transformers[torch]>=4.40,<5`, `transformers = "^4.40"` or `transformers (>=4.40)`.
_REQUIREMENT = lazy_pattern(
    r"(?<![\w./-])transformers(?:\[[^\]\n]*\])?\s*(?:=\s*(?:\{[^}\n]*version\s*=\s*)?[\"'])?\(?(?P<versions>[<>=~^!][^;\"'\n#)]*)"
)
_BEFORE_5 = lazy_pattern(r"<\s*5\b(\.0)*(?!\.?[1-9])|<=?\s*4|==\s*4|~=\s*4|\^\s*4")


def transformers_asked_for(folder: str) -> Asked:
    """What the project of a package, which lies in a folder, asks for."""
    package = os.path.basename(folder)
    for _ in range(_FARTHEST + 1):
        found = [_asked(text) for text in _texts(folder, package)]
        if "old" in found or "new" in found:
            return "old" if "old" in found else "new"
        folder = os.path.dirname(folder)
    return "unknown"


def _texts(folder: str, package: str) -> Iterator[str]:
    """The files in a folder that say how a package is installed; of those of many packages, its own."""
    entries = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    installed = [name for name in entries if name.endswith((".dist-info", ".egg-info"))]
    own = [name for name in installed if _plain(name.partition("-")[0]) == _plain(package)]
    paths = [os.path.join(folder, name) for name in entries if name in _NAMES]
    paths += [
        os.path.join(folder, name, file)
        for name in (own or installed[: len(installed) == 1])
        for file in ("METADATA", "PKG-INFO")
    ]
    for path in paths:
        if os.path.isfile(path) and os.path.getsize(path) < _LARGEST:
            with open(path, encoding="utf-8", errors="replace") as file:
                yield file.read()


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _asked(text: str) -> Asked:
    versions = [match["versions"] for match in _REQUIREMENT.finditer(text)]
    if not versions:
        return "unknown"
    return "old" if any(_BEFORE_5.search(each) for each in versions) else "new"
