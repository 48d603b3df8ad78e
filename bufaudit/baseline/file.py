"""Baselines as files of JSON: a version, and one list with a line for each entry."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bufaudit.errors import BufauditError, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION = 1


class BaselineError(BufauditError):
    """A baseline that cannot be read or written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"baseline {printable(path)}: {reason}")


def read_entries(path: Path, key: str) -> list[Any]:
    """The entries of a baseline file, which stand under `key`, whatever they are.

    Raises `BaselineError` where the file is missing, is not JSON, has another version or does not have the right form.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BaselineError(path, "there is no such file; --write-baseline makes one") from None
    except OSError as error:
        raise BaselineError(path, f"cannot be read: {error.strerror}") from None
    except RecursionError:
        raise BaselineError(path, "its values are nested too deeply") from None
    except ValueError as error:
        raise BaselineError(path, f"is not JSON: {printable(error)}") from None
    if not isinstance(content, dict) or "version" not in content:
        raise BaselineError(path, "is not a baseline: it has no version")
    version = content["version"]
    if version != VERSION or isinstance(version, bool):
        raise BaselineError(path, f"has version {printable(json.dumps(version))}, this bufaudit reads {VERSION}")
    entries = content.get(key)
    if set(content) != {"version", key} or not isinstance(entries, list):
        raise BaselineError(path, f"must have just a version and a list of {key}")
    return entries


def check_entry(path: Path, noun: str, number: int, entry: object, types: Mapping[str, type[str] | type[int]]) -> None:
    """Raise `BaselineError` unless an entry has just the keys of `types`, each with a value of its type."""
    if not isinstance(entry, dict) or set(entry) != set(types):
        raise BaselineError(path, f"{noun} {number} must have just {', '.join(types)}")
    for key, kind in types.items():
        if type(entry[key]) is not kind:
            raise BaselineError(path, f"{key} of {noun} {number} must be {'text' if kind is str else 'a number'}")


def write_entries(path: Path, key: str, entries: Iterable[Mapping[str, str | int]]) -> None:
    """Write a baseline file, with a line for each entry, replacing an older one as a whole.

    Raises `BaselineError` where that is not possible.
    """
    # A link stays one, and what it points to is replaced.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(_rendered(key, entries))
            with contextlib.suppress(FileNotFoundError):
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BaselineError(path, f"cannot be written: {error.strerror}") from None


def _rendered(key: str, entries: Iterable[Mapping[str, str | int]]) -> bytes:
    lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
    listed = "[\n    " + ",\n    ".join(lines) + "\n  ]" if lines else "[]"
    # What UTF-8 cannot hold, undecodable bytes of a file name, becomes an escape of JSON.
    return f'{{\n  "version": {VERSION},\n  "{key}": {listed}\n}}\n'.encode("utf-8", "backslashreplace")
