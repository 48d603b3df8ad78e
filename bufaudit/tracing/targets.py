"""What a user names, and the model classes that it stands for."""

from __future__ import annotations

import inspect
import os
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bufaudit.errors import BufauditError, printable
from bufaudit.selection import closest
from bufaudit.tracing.configs import (
    ConfigMismatchError,
    ConfigRecipe,
    UnknownOptionError,
    load_class,
    make_config,
    part_of_kind,
    qualified,
    read_config,
    sub_configs,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import ModuleType

_CONFIG_FILE = "config.json"
#: Base classes of a model family, in all the spellings of their name, are no models.
_ABSTRACT = re.compile("pretrained", re.IGNORECASE)


class TargetError(BufauditError):
    """A name that stands for no model, or options that do not go with it."""


class UnknownTargetError(TargetError):
    """A name that nothing is called by."""

    def __init__(self, what: str, text: str, suggestion: str | None, hint: str = "") -> None:
        hint = hint if suggestion is None else f"did you mean {printable(suggestion)}?"
        super().__init__(f'there is no {what} "{printable(text)}"' + (f"; {hint}" if hint else ""))


class UntrustedCodeError(TargetError):
    """A directory whose model is its own code, which nobody has said may run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"the model in {printable(folder)} is code of its own, which would have to run; read it, and if you trust "
            "it add --trust-remote-code"
        )


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
    if ":" in request.text:
        return (_of_qualified_name(request),)
    if _names_a_folder(request.text):
        return _of_folder(request)
    _require_transformers()
    kind = _config_class_of(request.text)
    if kind is not None:
        return _of_model_type(request, kind)
    if _exported(request.text) is not None:
        _refuse_class_option(request)
        return (_configured(request, _model_class(request.text), None),)
    if os.path.isdir(request.text):
        return _of_folder(request)
    known = (*_model_types(), *_exported_models())
    raise UnknownTargetError(
        "model type or class", request.text, closest(request.text, known), "name a class as package.module:Class"
    )


def has_own_code(request: Request) -> bool:
    """Whether the request names a directory that brings modelling code. Nothing of it is run."""
    folder = Path(request.text)
    if ":" in request.text or not (folder / _CONFIG_FILE).is_file() or _is_name_of_transformers(request.text):
        return False
    return bool(_auto_map(read_config(folder / _CONFIG_FILE)))


def model_classes(module: ModuleType) -> Iterator[Any]:
    """The models that a modelling module of transformers defines, in the order of its text."""
    from transformers import PreTrainedModel

    for name, value in vars(module).items():
        if not inspect.isclass(value) or not issubclass(value, PreTrainedModel) or value.__module__ != module.__name__:
            continue
        if value.__name__ == name and not _ABSTRACT.search(name):
            yield value


# --- a class by its qualified name


def _of_qualified_name(request: Request) -> Target:
    _refuse_class_option(request)
    kind = _imported(request.text)
    if _is_pretrained(kind):
        return _configured(request, kind, None)
    if request.config is not None:
        raise TargetError(f"--config goes with models of transformers; {printable(request.text)} is a plain module")
    return Target(request.text, qualified(kind), arguments=_arguments(kind, request.settings))


def _imported(name: str) -> Any:
    from torch import nn

    module_name, _, class_name = name.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise TargetError(f"there is no module {printable(error.name)}; is it on PYTHONPATH?") from None
        raise TargetError(_import_failure(module_name, error)) from None
    except Exception as error:
        raise TargetError(_import_failure(module_name, error)) from None
    try:
        kind = load_class(name)
    except AttributeError:
        names = [key for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, nn.Module)]
        raise UnknownTargetError(f"class in {module_name}", class_name, closest(class_name, names)) from None
    if not inspect.isclass(kind) or not issubclass(kind, nn.Module):
        raise TargetError(f"{printable(name)} is no torch.nn.Module class")
    return kind


def _import_failure(module_name: str, error: Exception) -> str:
    return f"{printable(module_name)} cannot be imported: {type(error).__name__}: {printable(error)}"


def _is_pretrained(kind: type) -> bool:
    try:
        from transformers import PreTrainedModel
    except ImportError:
        return False
    return issubclass(kind, PreTrainedModel)


def _arguments(kind: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as keyword arguments of a plain module's constructor."""
    parameters = inspect.signature(kind).parameters.values()
    known = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    for key in settings:
        if key not in known and not takes_any:
            raise UnknownOptionError(f"the constructor of {kind.__qualname__}", key, closest(key, known))
    needed = [each.name for each in parameters if each.name in known and each.default is each.empty]
    missing = [name for name in needed if name not in settings]
    if missing:
        given = " ".join(f"--set {name}=VALUE" for name in missing)
        raise TargetError(f"the constructor of {kind.__qualname__} needs {', '.join(missing)}; give {given}")
    return dict(settings)


# --- model types and classes of transformers


def _of_model_type(request: Request, config_class: Any) -> tuple[Target, ...]:
    if request.class_name is not None:
        kind = _named(request.class_name, _classes_near(config_class), f"class for {request.text}")
        return (_configured(request, kind, config_class),)
    kinds = [kind for kind in _classes_near(config_class) if _config_class_for(kind) is config_class]
    kinds = [kind for kind in kinds if kind.__name__ in _exported_models()] or kinds or _mapped(config_class.model_type)
    if not kinds:
        raise TargetError(f"transformers has no model class for {printable(request.text)}")
    return tuple(_configured(request, kind, config_class) for kind in kinds)


def _named(name: str, kinds: Iterable[Any], what: str) -> Any:
    by_name = {kind.__name__: kind for kind in kinds}
    if name not in by_name:
        raise UnknownTargetError(what, name, closest(name, by_name), f"known are {', '.join(by_name)}")
    return by_name[name]


def _classes_near(config_class: Any) -> list[Any]:
    """The models in the modelling modules beside a configuration module of transformers."""
    package = import_module(config_class.__module__.rpartition(".")[0])
    folder = Path(str(package.__file__)).parent
    names = sorted(path.stem for path in folder.glob("modeling_*.py") if not _of_another_framework(path.stem))
    return [kind for name in names for kind in model_classes(_modelling_module(f"{package.__name__}.{name}"))]


def _of_another_framework(module: str) -> bool:
    return module.startswith(("modeling_tf_", "modeling_flax_"))


def _modelling_module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:
        raise TargetError(_import_failure(name, error)) from None


def _mapped(model_type: str) -> list[Any]:
    """The classes by which the auto classes of transformers know a model type that has no module of its own."""
    return [_model_class(name) for name, types in _mapped_types().items() if model_type in types and _exported(name)]


@cache
def _mapped_types() -> dict[str, tuple[str, ...]]:
    """The model types for which the auto classes of transformers take each model class."""
    from transformers.models.auto import modeling_auto

    types: dict[str, list[str]] = {}
    for attribute, mapping in vars(modeling_auto).items():
        for model_type, names in mapping.items() if attribute.endswith("_MAPPING_NAMES") else ():
            for name in (names,) if isinstance(names, str) else names:
                types.setdefault(name, []).append(model_type)
    return {name: tuple(found) for name, found in types.items()}


def _config_class_for(model_class: Any) -> Any:
    """The config class that a model takes.

    Some parts of a larger model inherit a `config_class` that is not theirs; then the auto classes know better.
    """
    declared: Any = model_class.config_class
    if not inspect.isclass(declared):
        raise TargetError(f"{model_class.__qualname__} does not say which config class it takes")
    mapped = [_config_class_of(each) for each in _mapped_types().get(model_class.__name__, ())]
    parts = [kind for kind in mapped if kind is not None and kind in sub_configs(declared).values()]
    return declared if declared in mapped or not parts else parts[0]


def _configured(request: Request, model_class: Any, config_class: Any | None) -> Target:
    """The target of one class; `config_class` is that of the model type it was reached by."""
    values: Mapping[str, Any] = {}
    if request.config is not None:
        values = read_config(request.config)
        config_class = _config_class_of(str(values.get("model_type", ""))) or config_class
    return _target(request, model_class, config_class, values)


def _target(
    request: Request,
    model_class: Any,
    config_class: Any | None,
    values: Mapping[str, Any],
    folder: Path | None = None,
) -> Target:
    wanted = _config_class_for(model_class)
    if config_class is None or issubclass(config_class, wanted) or wanted.model_type == config_class.model_type:
        recipe = ConfigRecipe(qualified(config_class or wanted), values, request.settings)
    else:
        recipe = _part(model_class, wanted, config_class, values, request.settings)
    _check_settings(recipe)
    return Target(request.text, qualified(model_class), recipe, folder)


def _part(
    model_class: Any, wanted: Any, config_class: Any, values: Mapping[str, Any], settings: Mapping[str, Any]
) -> ConfigRecipe:
    """The recipe of a sub-config, for a model that is a part of a larger one."""
    whole = make_config(ConfigRecipe(qualified(config_class), values))
    part = part_of_kind(whole, wanted)
    if part is None:
        raise ConfigMismatchError(model_class.__name__, wanted.__name__, config_class.__name__)
    return ConfigRecipe(qualified(config_class), values, settings, part)


def _check_settings(recipe: ConfigRecipe) -> None:
    """Raise `UnknownOptionError` for a setting that does not exist; what else may be wrong is for the build to say."""
    if not recipe.settings:
        return
    try:
        make_config(recipe)
    except UnknownOptionError:
        raise
    except Exception:
        return


# --- directories


def _names_a_folder(text: str) -> bool:
    """Whether it can be nothing but a path; a plain word is a model type first."""
    return os.sep in text or text in (os.curdir, os.pardir)


def _of_folder(request: Request) -> tuple[Target, ...]:
    folder = Path(request.text)
    if not folder.is_dir():
        raise UnknownTargetError("directory", request.text, None)
    if request.config is not None:
        raise TargetError(f"{printable(folder)} has its own config.json; leave --config out")
    values = read_config(folder / _CONFIG_FILE)
    _require_transformers()
    names = _architectures(request, values)
    if _auto_map(values) and request.trust_remote_code:
        return tuple(_of_own_code(request, folder, values, names))
    config_class = _config_class_of(str(values.get("model_type", "")))
    if config_class is None or any(name not in _exported_models() for name in names):
        if _auto_map(values):
            raise UntrustedCodeError(folder)
        raise _unknown_architecture(folder, values, config_class, names)
    if not names:
        kinds = [target.model_class for target in _of_model_type(Request(request.text), config_class)]
        return tuple(_target(request, load_class(kind), config_class, values, folder) for kind in kinds)
    return tuple(_target(request, _model_class(name), config_class, values, folder) for name in names)


def _architectures(request: Request, values: Mapping[str, Any]) -> list[str]:
    if request.class_name is not None:
        return [request.class_name]
    named = values.get("architectures")
    return [str(name) for name in named[:1]] if isinstance(named, list) else []


def _unknown_architecture(
    folder: Path, values: Mapping[str, Any], config_class: Any | None, names: Sequence[str]
) -> TargetError:
    import transformers

    what = "model type" if config_class is None else "class"
    name = str(values.get("model_type")) if config_class is None else ", ".join(names)
    return TargetError(
        f"{printable(folder / _CONFIG_FILE)} names the {what} {printable(name)}, which transformers "
        f"{transformers.__version__} does not have, and the directory brings no code of its own"
    )


def _auto_map(values: Mapping[str, Any]) -> dict[str, str]:
    """Which of the directory's own classes stands for which auto class, as `module.Class`."""
    found = values.get("auto_map")
    if not isinstance(found, dict):
        return {}
    # A list has a slow and a fast tokenizer; a name before `--` is that of the repository with the code.
    references = {key: value for key, value in found.items() if isinstance(value, str) and "Tokenizer" not in key}
    return {key: value.rpartition("--")[2] for key, value in references.items() if "Process" not in key}


def _of_own_code(request: Request, folder: Path, values: Mapping[str, Any], names: Sequence[str]) -> Iterator[Target]:
    """The targets of a directory whose classes are its own. Runs its code."""
    own = _auto_map(values)
    config_class = _config_class_of(str(values.get("model_type", "")))
    if "AutoConfig" in own:
        config_class = _own_class(folder, own["AutoConfig"])
    references = {reference.rpartition(".")[2]: reference for key, reference in own.items() if key != "AutoConfig"}
    for name in names or list(references)[:1]:
        if name in references:
            model_class = _own_class(folder, references[name])
        elif name in _exported_models():
            model_class = _model_class(name)
        else:
            raise UnknownTargetError(f"class in the auto_map of {folder}", name, closest(name, references))
        yield _target(request, model_class, config_class or model_class.config_class, values, folder)


def _own_class(folder: Path, reference: str) -> Any:
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    try:
        return get_class_from_dynamic_module(reference, str(folder.absolute()), local_files_only=True)
    except Exception as error:
        raise TargetError(_import_failure(f"{reference} of {folder}", error)) from None


# --- the names of transformers


def _require_transformers() -> None:
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise TargetError(
            f"transformers cannot be imported ({printable(error)}); install it with: pip install 'bufaudit[probe]'"
        ) from None


def _refuse_class_option(request: Request) -> None:
    if request.class_name is not None:
        raise TargetError(f"--class goes with a model type or a directory; {printable(request.text)} is a class")


def _is_name_of_transformers(text: str) -> bool:
    if _names_a_folder(text):
        return False
    _require_transformers()
    return _config_class_of(text) is not None or _exported(text) is not None


@cache
def _model_types() -> dict[str, str]:
    """Every model type by its usual spelling."""
    from transformers.models.auto import configuration_auto

    names: Mapping[str, str] = vars(configuration_auto)["CONFIG_MAPPING_NAMES"]
    return {_spelled(key): key for key in names}


def _spelled(model_type: str) -> str:
    return model_type.lower().replace("-", "_")


def _config_class_of(model_type: str) -> Any | None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    key = _model_types().get(_spelled(model_type))
    return None if key is None else CONFIG_MAPPING[key]


@cache
def _exported_models() -> frozenset[str]:
    """The names that transformers exports from its modelling modules, without importing those."""
    import transformers

    homes: Mapping[str, str] = getattr(transformers, "_class_to_module", {})
    return frozenset(
        name
        for name, home in homes.items()
        if home.rpartition(".")[2].startswith("modeling_") and not name.startswith(("TF", "Flax"))
    )


def _exported(name: str) -> str | None:
    return name if name in _exported_models() else None


def _model_class(name: str) -> Any:
    """A model class that transformers exports."""
    import transformers

    try:
        kind = getattr(transformers, name)
    except Exception as error:
        raise TargetError(_import_failure(name, error)) from None
    if not inspect.isclass(kind) or not _is_pretrained(kind):
        raise TargetError(f"{printable(name)} is no model class")
    return kind
