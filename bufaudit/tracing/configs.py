"""Configurations as recipes: plain values that any process can turn into a fresh config object."""

from __future__ import annotations

import copy
import inspect
import json
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bufaudit.errors import BufauditError, printable
from bufaudit.selection import closest
from bufaudit.tracing.offline import offline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: What every config takes, although not every one has an attribute of the name.
_TAKEN_BY_ALL = frozenset(
    {"attn_implementation", "dtype", "experts_implementation", "num_labels", "output_attentions", "torch_dtype"}
)
#: What a file says of the release that wrote it, and of the kernels to run; those may be code from elsewhere.
_NO_OPTIONS = frozenset(
    {
        "transformers_version",
        *("attn_implementation", "_attn_implementation", "_attn_implementation_internal"),
        *("experts_implementation", "_experts_implementation", "_experts_implementation_internal"),
    }
)
_DEPTH = "num_hidden_layers"


class ConfigFileError(BufauditError):
    """A config.json that cannot be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{printable(path)} is no model configuration: {printable(reason)}")


class UnknownOptionError(BufauditError):
    """A setting that the configuration (or the constructor) of a model does not have."""

    def __init__(self, owner: str, key: str, suggestion: str | None) -> None:
        hint = "" if suggestion is None else f"; did you mean {printable(suggestion)}?"
        super().__init__(f'{printable(owner)} has no option "{printable(key)}"{hint}')


class ConfigMismatchError(BufauditError):
    """A configuration in which a model class finds nothing of its own."""

    def __init__(self, model_class: str, wanted: str, found: str) -> None:
        super().__init__(f"{model_class} is configured by {wanted}, and {found} has no part of that kind")


@dataclass(frozen=True, slots=True)
class ConfigRecipe:
    """How to make a model's config.

    `config_class` is `module:Class`, `values` what a config.json says (empty stands for the defaults). `settings` are
    laid over it, with dotted keys for what sub-configs hold. `part` is the dotted name of the sub-config that is
    wanted, None for the whole; settings may speak of the part or of the whole. All values are those of JSON.
    """

    config_class: str
    values: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    part: str | None = None


def qualified(kind: type) -> str:
    """A class as `module:Class`."""
    return f"{kind.__module__}:{kind.__qualname__}"


def load_class(name: str) -> Any:
    """The class that `module:Class` names; what its import raises is not caught."""
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def read_config(path: Path) -> dict[str, Any]:
    """What a config.json says. Raises `ConfigFileError`."""
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigFileError(path, error.strerror or str(error)) from None
    except (ValueError, RecursionError) as error:
        raise ConfigFileError(path, f"not JSON ({error})") from None
    if not isinstance(values, dict):
        raise ConfigFileError(path, "not a JSON object")
    return values


def make_config(recipe: ConfigRecipe) -> Any:
    """A fresh config object.

    Raises `UnknownOptionError` for a setting that the config does not have; what the config's own checks raise is not
    caught.
    """
    kind = load_class(recipe.config_class)
    values = _options_alone(recipe.values)
    for key, value in recipe.settings.items():
        _lay_over(kind, values, _from_the_whole(kind, key, recipe.part), value)
    with offline():
        config = kind.from_dict(values)
    return config if recipe.part is None else _inner(config, recipe.part)


def part_of_kind(config: Any, kind: type) -> str | None:
    """The dotted name of the nearest sub-config of a class, None where there is none."""
    level: list[tuple[str, Any]] = list(_parts(config, ""))
    while level:
        for name, part in level:
            if isinstance(part, kind):
                return name
        level = [inner for name, part in level for inner in _parts(part, f"{name}.")]
    return None


def default_config(kind: Any) -> Any | None:
    """A class's config with nothing set; None where something must be. Not to be changed."""
    return _default_config(kind)


def open_parts(kind: Any) -> tuple[str, ...]:
    """The sub-configs that a config class asks for, where it has no default as a whole."""
    return tuple(sub_configs(kind)) if default_config(kind) is None else ()


def sub_configs(kind: Any) -> dict[str, Any]:
    """The config classes of a composite's parts by name; empty where only an object of it could tell."""
    declared = kind.sub_configs
    return dict(declared) if isinstance(declared, dict) else {}


@cache
def _default_config(kind: Any) -> Any | None:
    with offline(), suppress(Exception):
        return kind()
    return None


def _options_alone(values: Any) -> Any:
    """A copy of a file's values, those of sub-configs too, without what is no option of the model."""
    if isinstance(values, dict):
        return {key: _options_alone(value) for key, value in values.items() if key not in _NO_OPTIONS}
    return copy.deepcopy(values)


def _inner(config: Any, part: str) -> Any:
    for name in part.split("."):
        config = getattr(config, name)
    return config


def _parts(config: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """The sub-configs that a config holds itself."""
    for name, value in vars(config).items():
        if _is_config(value) and not name.startswith("_"):
            yield prefix + name, value


def _is_config(value: Any) -> bool:
    """Whether it is a config object of transformers, whose base class changed its name between releases."""
    return hasattr(value, "to_diff_dict") and hasattr(type(value), "model_type")


def _from_the_whole(kind: Any, key: str, part: str | None) -> str:
    """The key as it is spelled from the whole config, where it is the part that knows its first word."""
    whole = default_config(kind)
    if part is None or whole is None:
        return key
    return f"{part}.{key}" if _takes(_inner(whole, part), key.partition(".")[0]) else key


def _lay_over(kind: Any, values: dict[str, Any], key: str, value: Any) -> None:
    """Set one dotted key in the values of a config that is yet to be made, so that its class computes what follows."""
    *folders, last = key.split(".")
    owner, holder = default_config(kind), values
    for name in folders:
        name = _checked(owner, name, kind.__name__, key)
        owner = _held(owner, name)
        if not isinstance(holder.get(name), dict):
            holder[name] = _seed(owner)
        holder = holder[name]
    name = _checked(owner, last, kind.__name__, key)
    if name == _DEPTH:
        _cut_lists(holder, value)
    holder[name] = value


def _held(owner: Any, name: str) -> Any | None:
    """What a config, or an option that is a mapping, has under a name."""
    # As an attribute it may raise: some options of some configs differ between layers.
    holder = owner if isinstance(owner, dict) else vars(owner) if _is_config(owner) else {}
    return holder.get(name)


def _cut_lists(values: dict[str, Any], layers: Any) -> None:
    """Leave what values say layer by layer as long as the model is to be."""
    before = values.get(_DEPTH)
    if type(before) is not int or type(layers) is not int:
        return
    for key, value in values.items():
        if isinstance(value, list) and len(value) == before:
            values[key] = value[:layers]


def _checked(owner: Any, name: str, where: str, key: str) -> str:
    """The name that a config itself uses for an option."""
    if not _is_config(owner):
        return name
    if not _takes(owner, name):
        near = closest(name, _options(owner))
        head = key[: len(key) - len(name)] if key.endswith(name) else ""
        raise UnknownOptionError(where, key, None if near is None else head + near)
    mapped: str = type(owner).attribute_map.get(name, name)
    return mapped


def _seed(default: Any) -> dict[str, Any]:
    """What stands where a setting reaches into something that the values leave to its default."""
    if _is_config(default):
        own = default_config(type(default))
        usual = {} if own is None else own.to_dict()
        values = {key: value for key, value in default.to_dict().items() if key not in usual or usual[key] != value}
        return {**values, "model_type": default.model_type}
    return dict(default) if isinstance(default, dict) else {}


def _takes(config: Any, name: str) -> bool:
    return name in _TAKEN_BY_ALL or name in _options(config) or _takes_anything(type(config))


def _options(config: Any) -> frozenset[str]:
    """The names of a config's own options, those that it computes from others too."""
    kind = type(config)
    names = {*config.to_dict(), *vars(config), *kind.attribute_map, *_constructor_names(kind)}
    return frozenset(name for name in names if not name.startswith("_"))


def _constructor_names(kind: type) -> Iterator[str]:
    for parameter in inspect.signature(kind).parameters.values():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            yield parameter.name


def _takes_anything(kind: type) -> bool:
    """Whether the constructor names no option at all."""
    return not list(_constructor_names(kind))
