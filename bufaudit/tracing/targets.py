"""What a user names, and the model classes that it stands for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bufaudit.errors import printable
from bufaudit.selection import closest
from bufaudit.tracing import directories, library
from bufaudit.tracing.configs import (
    ConfigMismatchError,
    ConfigRecipe,
    UnknownOptionError,
    make_config,
    part_of_kind,
    qualified,
    read_config,
)
from bufaudit.tracing.mistakes import TargetError, UnknownTargetError
from bufaudit.tracing.offline import offline
from bufaudit.tracing.reasons import reason

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks for: a model type, a class, `module:Class` or a folder, and how to configure it.

    `settings` are options of the config with dotted keys, or keyword arguments of a plain module's constructor; their
    values are those of JSON. `config` is a config.json in place of the defaults.
    """

    text: str
    class_name: str | None = None
    config: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A model class and all that its constructor needs, as plain values that other processes understand too.

    `text` is what the user named, `model_class` is `module:Class`. `config` is the recipe of the config, None for a
    plain module, which gets `arguments`. `folder` is the directory that the model came from.
    """

    text: str
    model_class: str
    config: ConfigRecipe | None = None
    folder: Path | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def class_name(self) -> str:
        """The name of the class alone."""
        return self.model_class.partition(":")[2]


def resolve(request: Request) -> tuple[Target, ...]:
    """The targets that a request stands for: several classes for a model type, else one.

    Code of a model directory is imported only where `request.trust_remote_code` says so.

    Raises `TargetError` for names that lead nowhere and options that do not go together, `UntrustedCodeError`,
    `ConfigFileError`, and `UnknownOptionError` for settings that do not exist.
    """
    with offline():
        return _resolved(request)


def _resolved(request: Request) -> tuple[Target, ...]:
    if ":" in request.text:
        return (_of_qualified_name(request),)
    library.require()
    if _names_a_directory(request.text):
        return _of_directory(request)
    config_class = library.config_class_of(request.text)
    if config_class is not None:
        return _of_model_type(request, config_class)
    if request.text in library.exported_models():
        _refuse_class_option(request)
        return (_of_class(request, library.model_class(request.text)),)
    known = (*library.model_types(), *library.exported_models())
    raise UnknownTargetError(
        "model type or class", request.text, closest(request.text, known), "name a class as package.module:Class"
    )


def has_own_code(request: Request) -> bool:
    """Whether the request names a directory that brings modelling code. Nothing of it is run."""
    if ":" in request.text:
        return False
    library.require()
    config = Path(request.text, directories.CONFIG_FILE)
    return _names_a_directory(request.text) and config.is_file() and directories.brings_code(read_config(config))


def _names_a_directory(text: str) -> bool:
    """Whether it is a path; a plain word is a model type or a class first, whatever is called like it."""
    if os.sep in text or text in (os.curdir, os.pardir):
        return True
    return os.path.isdir(text) and library.config_class_of(text) is None and text not in library.exported_models()


def _refuse_class_option(request: Request) -> None:
    if request.class_name is not None:
        raise TargetError(f"--class goes with a model type or a directory; {printable(request.text)} is a class")


def _of_qualified_name(request: Request) -> Target:
    from bufaudit.tracing.plain import arguments, imported

    _refuse_class_option(request)
    kind = imported(request.text)
    if library.is_pretrained(kind):
        return _of_class(request, kind)
    if request.config is not None:
        raise TargetError(f"--config goes with models of transformers; {printable(request.text)} is a plain module")
    return Target(request.text, qualified(kind), arguments=arguments(kind, request.settings))


def _of_model_type(request: Request, config_class: Any) -> tuple[Target, ...]:
    if request.class_name is None:
        kinds = library.models_of(config_class)
    else:
        near = {kind.__name__: kind for kind in library.models_near(config_class)}
        if request.class_name not in near:
            suggestion = closest(request.class_name, near)
            known = f"known are {', '.join(near)}"
            raise UnknownTargetError(f"class for {request.text}", request.class_name, suggestion, known)
        kinds = [near[request.class_name]]
    if not kinds:
        raise TargetError(f"transformers has no model class for {printable(request.text)}")
    return tuple(_of_class(request, kind, config_class) for kind in kinds)


def _of_class(request: Request, kind: Any, config_class: Any | None = None) -> Target:
    """The target of one class; `config_class` is that of the model type it was reached by."""
    if request.config is None:
        return _target(request, kind, config_class, {})
    values = read_config(request.config)
    in_file = library.config_class_of(str(values.get("model_type", "")))
    return _target(request, kind, in_file or config_class, values)


def _of_directory(request: Request) -> tuple[Target, ...]:
    folder = Path(request.text)
    if not folder.is_dir():
        raise UnknownTargetError("directory", request.text, None)
    if request.config is not None:
        raise TargetError(f"{printable(folder)} has its own config.json; leave --config out")
    values = read_config(folder / directories.CONFIG_FILE)
    found = directories.classes_of(folder, values, request.class_name, trusted=request.trust_remote_code)
    return tuple(_target(request, kind, config_class, values, folder) for kind, config_class in found)


def _target(
    request: Request, kind: Any, config_class: Any | None, values: Mapping[str, Any], folder: Path | None = None
) -> Target:
    """The target of a class whose config, or a larger one that it is a part of, has some values."""
    wanted = library.config_class_for(kind)
    whole = qualified(config_class or wanted)
    part = None
    if config_class is not None and not _stands_for(config_class, wanted):
        part = _part(kind, wanted, ConfigRecipe(whole, values))
    recipe = ConfigRecipe(whole, values, request.settings, part)
    _check_settings(recipe)
    return Target(request.text, qualified(kind), recipe, folder)


def _stands_for(config_class: Any, wanted: Any) -> bool:
    """Whether a model that wants one config class can take another."""
    return issubclass(config_class, wanted) or config_class.model_type == wanted.model_type


def _part(kind: Any, wanted: Any, whole: ConfigRecipe) -> str:
    """Where a larger config has the one of a class."""
    try:
        part = part_of_kind(make_config(whole), wanted)
    except Exception as error:
        raise TargetError(f"{whole.config_class.partition(':')[2]} cannot be made: {reason(error, whole)}") from None
    if part is None:
        raise ConfigMismatchError(kind.__name__, wanted.__name__, whole.config_class.partition(":")[2])
    return part


def _check_settings(recipe: ConfigRecipe) -> None:
    """Raise `UnknownOptionError` for a setting that does not exist; what else may be wrong is for the build to say."""
    try:
        make_config(recipe)
    except UnknownOptionError:
        raise
    except Exception:
        return
