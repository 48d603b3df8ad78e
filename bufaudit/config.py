"""What a run is told: defaults, then `[tool.bufaudit]` of a pyproject.toml, then the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict, get_args

from bufaudit.errors import BufauditError, printable
from bufaudit.report import SCAN_FORMATS
from bufaudit.results import CONFIDENCES, Confidence
from bufaudit.selection import ALL, PatternError, UnknownRuleError, canonical, check_pattern, closest, covers, expanded

BufferStyle = Literal["auto", "nn.Buffer", "register_buffer"]

_FILE = "pyproject.toml"
_TABLE = "[tool.bufaudit]"
_LONGEST_QUOTE = 60
# Python refuses to write out numbers of very many digits.
_LARGEST_QUOTE = 10**18


class ConfigError(BufauditError):
    """Settings that make no sense, or a file of settings that cannot be read."""


class UnknownKeyError(ConfigError):
    """A setting that does not exist; `where` is the file and table that has it, empty for a keyword argument."""

    def __init__(self, where: str, key: str, known: tuple[str, ...]) -> None:
        close = closest(key, known)
        hint = f"known are {', '.join(known)}" if close is None else f"did you mean {close}?"
        super().__init__(f'{where}there is no setting "{printable(key)}"; {hint}')


class WrongValueError(ConfigError):
    """A setting whose value has the wrong type, or is none of those allowed."""

    def __init__(self, where: str, expected: str, found: str) -> None:
        super().__init__(f"{where}: expected {expected}, found {found}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a run can be told.

    `root` is the folder of the project: `exclude`, the patterns of `per_file_ignores`, `src` and the paths of a
    baseline are relative to it. `select` and `ignore` hold selectors (see `bufaudit.selection`), `per_file_ignores`
    pairs of a pattern and full codes. `exclude` has patterns in the form of `.gitignore`, on top of the built-in ones.
    A relative `baseline` or `cache_dir` is relative to the current folder. `jobs` counts worker processes, None stands
    for one a core; `cache_dir` None for `.bufaudit_cache` in `root`. `src` are the folders that absolute imports start
    from.
    """

    root: Path
    select: tuple[str, ...] = (ALL,)
    ignore: tuple[str, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    exclude: tuple[str, ...] = ()
    respect_gitignore: bool = True
    min_confidence: Confidence = "medium"
    baseline: Path | None = None
    output_format: str = "full"
    jobs: int | None = None
    cache: bool = True
    cache_dir: Path | None = None
    buffer_style: BufferStyle = "auto"
    src: tuple[str, ...] = (".", "src")


class Overrides(TypedDict, total=False):
    """Fields of `Settings` to put on top of what a file says; None stands for not given."""

    select: Sequence[str] | None
    ignore: Sequence[str] | None
    per_file_ignores: Sequence[tuple[str, Sequence[str]]] | None
    exclude: Sequence[str] | None
    respect_gitignore: bool | None
    min_confidence: Confidence | None
    baseline: Path | None
    output_format: str | None
    jobs: int | None
    cache: bool | None
    cache_dir: Path | None
    buffer_style: BufferStyle | None
    src: Sequence[str] | None


def load_settings(start: Path, *, config: Path | None = None, isolated: bool = False) -> Settings:
    """The settings that hold for a file or folder.

    They stand in the nearest `pyproject.toml`, from `start` upwards, that has a table `[tool.bufaudit]`; its folder is
    the root, and paths in it are relative to that. The search ends at the top of a repository, so that no folder which
    happens to lie around a checkout changes what is found in it. Without such a file the root is the nearest folder
    with a `pyproject.toml` or a repository, else the current folder.

    `config` is read in place of the nearest file. Where it is called `pyproject.toml` it speaks for its own folder,
    otherwise for the root that would hold without it. With `isolated` no file is read.

    Raises `ConfigError` for a file that cannot be read or is not TOML, for unknown keys, for values of the wrong type,
    and for rules that do not exist.
    """
    folders = _upwards(start)
    if config is not None:
        if isolated:
            raise ConfigError(f"settings cannot both come from {printable(config)} and from no file at all")
        root = Path(os.path.abspath(config)).parent if config.name == _FILE else _root(folders)
        return _parsed(_required_table(config), config, root)
    if not isolated:
        for folder in folders:
            if not os.path.isfile(folder / _FILE):
                continue
            table = _table(folder / _FILE)
            if table is not None:
                return _parsed(table, folder / _FILE, folder)
    return Settings(_root(folders))


def settings_by_path(
    paths: Sequence[str | os.PathLike[str]], *, config: Path | None = None, isolated: bool = False
) -> dict[Settings, tuple[str | os.PathLike[str], ...]]:
    """The settings that hold for each of several paths, and the paths for which they hold, in the order given."""
    by_folder: dict[Path, Settings] = {}
    groups: dict[Settings, tuple[str | os.PathLike[str], ...]] = {}
    for path in paths:
        folder = Path(path) if os.path.isdir(path) else Path(path).parent
        if folder not in by_folder:
            by_folder[folder] = load_settings(folder, config=config, isolated=isolated)
        settings = by_folder[folder]
        groups[settings] = (*groups.get(settings, ()), path)
    return groups


def override(settings: Settings, **given: object) -> Settings:
    """The settings with what the command line gives on top; None stands for what it does not give.

    A value replaces that of `settings`, with these exceptions. `exclude` and `ignore` add to what is there. A rule that
    is given in `select` is looked for even if `settings` ignores just that, and one given in `ignore` alone is not
    looked for however specifically `settings` selects it.

    Raises `ConfigError` as `load_settings` does.
    """
    values: dict[str, Any] = {}
    for name, value in given.items():
        key = name.replace("_", "-")
        if key not in _KEYS:
            raise UnknownKeyError("", name, tuple(known.replace("-", "_") for known in _KEYS))
        if value is not None:
            values[name] = _read(key, value, Path(), name)
    if "exclude" in values:
        values["exclude"] = settings.exclude + values["exclude"]
    return replace(settings, **{**values, **_rules_on_top(settings, values.get("select"), values.get("ignore"))})


def _rules_on_top(
    settings: Settings, select: tuple[str, ...] | None, ignore: tuple[str, ...] | None
) -> dict[str, tuple[str, ...]]:
    added = ignore or ()
    if select is not None:
        kept = tuple(old for old in settings.ignore if old not in select)
    else:
        kept = settings.ignore
        select = tuple(old for old in settings.select if not any(covers(new, old) for new in added))
    return {"select": select, "ignore": tuple(dict.fromkeys(kept + added))}


def _upwards(start: Path) -> list[Path]:
    """The folder of `start` and those around it, up to the top of its repository."""
    here = Path(os.path.abspath(start))
    folders = []
    for folder in (here, *here.parents) if here.is_dir() else here.parents:
        folders.append(folder)
        if os.path.exists(folder / ".git"):
            break
    return folders


def _root(folders: list[Path]) -> Path:
    marked = (each for each in folders if os.path.isfile(each / _FILE) or os.path.exists(each / ".git"))
    return next(marked, Path.cwd())


def _required_table(path: Path) -> Mapping[str, object]:
    if not os.path.exists(path):
        raise ConfigError(f"{printable(path)} does not exist; name a file with a table {_TABLE}")
    table = _table(path)
    if table is None:
        raise ConfigError(f"{printable(path)} has no table {_TABLE}")
    return table


def _table(path: Path) -> Mapping[str, object] | None:
    """The table of a file, None where it has no such table."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{printable(path)} cannot be read: {error.strerror}") from None
    # Most files are about other tools, and what is wrong with those is not for us to say.
    if b"bufaudit" not in data:
        return None
    import tomllib

    try:
        content = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{printable(path)} is not TOML: line {line} is not UTF-8") from None
    except RecursionError:
        raise ConfigError(f"{printable(path)} cannot be read: its values are nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{printable(path)} is not TOML: {printable(error)}") from None
    tools = content.get("tool")
    if not isinstance(tools, dict) or "bufaudit" not in tools:
        return None
    table = tools["bufaudit"]
    if not isinstance(table, dict):
        raise WrongValueError(f"{printable(path)}: tool.bufaudit", "a table", _described(table))
    return table


def _parsed(table: Mapping[str, object], path: Path, root: Path) -> Settings:
    where = f"{printable(path)}: {_TABLE} "
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _KEYS:
            raise UnknownKeyError(where, key, tuple(_KEYS))
        values[key.replace("-", "_")] = _read(key, value, root, where + key)
    return Settings(root, **values)


def _read(key: str, value: object, base: Path, where: str) -> object:
    setting = _KEYS[key]
    try:
        return setting.read(value, base)
    except _MismatchError as mismatch:
        raise WrongValueError(where, setting.expected, str(mismatch)) from None
    except (PatternError, UnknownRuleError) as error:
        raise ConfigError(f"{where}: {error}") from None


class _MismatchError(ValueError):
    """A value that a setting cannot have, in words."""


class _Key(NamedTuple):
    """How one setting is read: from a value and the folder that paths in it are relative to."""

    expected: str
    read: Callable[[object, Path], object]


def _strings(value: object, base: Path) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise _MismatchError(_described(value))
    for item in value:
        if not isinstance(item, str):
            raise _MismatchError(f"a list that holds {_described(item)}")
    return tuple(value)


def _selectors(value: object, base: Path) -> tuple[str, ...]:
    from bufaudit.catalogue import rules

    names = {rule.name: code for code, rule in rules().items()}
    return tuple(canonical(selector, rules(), names) for selector in _strings(value, base))


def _codes_by_pattern(value: object, base: Path) -> tuple[tuple[str, tuple[str, ...]], ...]:
    from bufaudit.catalogue import rules

    # Keyword arguments may have the form of the field rather than that of the table.
    if isinstance(value, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        pairs = value
    elif isinstance(value, Mapping):
        pairs = tuple(value.items())
    else:
        raise _MismatchError(_described(value))
    read = []
    for pattern, selectors in pairs:
        try:
            _strings([pattern], base)
            codes = expanded(_selectors(selectors, base), rules())
        except _MismatchError as mismatch:
            raise _MismatchError(f'{mismatch} for "{printable(pattern)}"') from None
        check_pattern(pattern)
        read.append((pattern, tuple(sorted(codes))))
    return tuple(read)


def _flag(value: object, base: Path) -> bool:
    if not isinstance(value, bool):
        raise _MismatchError(_described(value))
    return value


def _count(value: object, base: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _MismatchError(_described(value))
    return value


def _path(value: object, base: Path) -> Path:
    if not isinstance(value, str | os.PathLike) or value == "" or "\0" in str(value):
        raise _MismatchError(_described(value))
    return base / value


def _one_of(choices: tuple[str, ...]) -> _Key:
    def read(value: object, base: Path) -> str:
        if isinstance(value, str) and value in choices:
            return value
        close = closest(value, choices) if isinstance(value, str) else None
        raise _MismatchError(_described(value) + (f'; did you mean "{close}"?' if close else ""))

    return _Key("one of " + ", ".join(f'"{choice}"' for choice in choices), read)


def _described(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            shown = value if len(value) <= _LONGEST_QUOTE else value[:_LONGEST_QUOTE] + "…"
            return f'the text "{printable(shown)}"'
        case int() if abs(value) >= _LARGEST_QUOTE:
            return "a huge number"
        case int() | float():
            return f"the number {value}"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a table"
    return f"a {type(value).__name__}"


_RULES = "a list of rule codes, beginnings of codes, or rule names"

#: Every key of the table; each is also the field of `Settings` with underscores for dashes.
_KEYS: Mapping[str, _Key] = {
    "select": _Key(_RULES, _selectors),
    "ignore": _Key(_RULES, _selectors),
    "per-file-ignores": _Key("a table of file patterns, each with " + _RULES, _codes_by_pattern),
    "exclude": _Key("a list of patterns", _strings),
    "respect-gitignore": _Key("true or false", _flag),
    "min-confidence": _one_of(CONFIDENCES),
    "baseline": _Key("the path of a file", _path),
    "output-format": _one_of(SCAN_FORMATS),
    "jobs": _Key("a whole number of at least 1", _count),
    "cache": _Key("true or false", _flag),
    "cache-dir": _Key("the path of a folder", _path),
    "buffer-style": _one_of(get_args(BufferStyle)),
    "src": _Key("a list of folders", _strings),
}
