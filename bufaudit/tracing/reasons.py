"""Why a model cannot be built, in one line that says what to do about it."""

from __future__ import annotations

import linecache
import re
import traceback
from typing import TYPE_CHECKING, Any

from bufaudit.errors import printable
from bufaudit.tracing.configs import ConfigRecipe, load_class, make_config, open_parts, part_of_kind

if TYPE_CHECKING:
    from types import FrameType

_LONGEST = 300
#: How transformers says that a package is missing.
_REQUIRES = re.compile(r"requires the (\S+) library")
#: What a failing line reads of its config, straight or by way of the module that keeps it.
_READ = re.compile(r"\b(?:config|self)\.(\w+)")
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def reason(error: BaseException, recipe: ConfigRecipe | None) -> str:
    """Why the construction of a model failed: a missing package, an option without a value, or what its code says."""
    text = _one_line(error)
    if isinstance(error, ImportError):
        packages = dict.fromkeys(_REQUIRES.findall(str(error)) or ([error.name] if error.name else []))
        if packages:
            names = ", ".join(map(printable, packages))
            return f"it needs a package that is not installed: {names}"
    if ran_out_of_memory(error):
        return f"it ran out of memory ({text})"
    parts = () if recipe is None or recipe.values or recipe.settings else open_parts(load_class(recipe.config_class))
    if parts and not isinstance(error, OSError):
        given = " ".join(f"--set {name}.model_type=TYPE" for name in parts)
        return f"its config has no default for {', '.join(parts)}; say what they are with {given}"
    key = _open_option(error, recipe)
    return text if key is None else f"{text}; the config has no value for {key}: give it one with --set {key}=VALUE"


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that there is no more memory."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)


def _one_line(error: BaseException) -> str:
    lines = (printable(line.strip()) for line in str(error).splitlines())
    text = " ".join(line for line in lines if line)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 1]}…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _open_option(error: BaseException, recipe: ConfigRecipe | None) -> str | None:
    """The dotted key of the option without a value that the failing line reads."""
    if recipe is None or not isinstance(error, TypeError | AttributeError):
        return None
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        config = _config_in(frame)
        if config is None:
            continue
        for name in _READ.findall(linecache.getline(frame.f_code.co_filename, line)):
            if vars(config).get(name, config) is None:
                return _key(config, name, recipe)
    return None


def _config_in(frame: FrameType) -> Any | None:
    found = frame.f_locals.get("config", getattr(frame.f_locals.get("self"), "config", None))
    return found if hasattr(found, "to_dict") else None


def _key(config: Any, name: str, recipe: ConfigRecipe) -> str:
    whole = make_config(recipe)
    part = None if type(config) is type(whole) else part_of_kind(whole, type(config))
    return name if part is None else f"{part}.{name}"
