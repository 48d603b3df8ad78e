"""What transformers calls its models: model types, classes, and the config class that each takes."""

from __future__ import annotations

import inspect
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bufaudit.errors import printable
from bufaudit.tracing.configs import sub_configs
from bufaudit.tracing.mistakes import ImportFailureError, TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

#: Base classes of a model family, in all the spellings of their name, are no models.
_ABSTRACT = re.compile("pretrained", re.IGNORECASE)


def require() -> None:
    """Raise `TargetError` where transformers cannot be imported."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise TargetError(
            f"transformers cannot be imported ({printable(error)}); install it with: pip install 'bufaudit[probe]'"
        ) from None


def is_pretrained(kind: type) -> bool:
    """Whether a class is a model in the sense of transformers, whoever defines it."""
    try:
        from transformers import PreTrainedModel
    except ImportError:
        return False
    return issubclass(kind, PreTrainedModel)


@cache
def model_types() -> Mapping[str, str]:
    """Every model type by its usual spelling, in lower case with underscores."""
    from transformers.models.auto import configuration_auto

    return {_spelled(key): key for key in vars(configuration_auto)["CONFIG_MAPPING_NAMES"]}


def config_class_of(model_type: str) -> Any | None:
    """The config class of a model type, however that is spelled; None where there is no such type."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    key = model_types().get(_spelled(model_type))
    return None if key is None else CONFIG_MAPPING[key]


@cache
def exported_models() -> frozenset[str]:
    """The names that transformers exports from its modelling modules, without importing those."""
    import transformers

    homes: Mapping[str, str] = getattr(transformers, "_class_to_module", {})
    return frozenset(
        name
        for name, home in homes.items()
        if home.rpartition(".")[2].startswith("modeling_") and not name.startswith(("TF", "Flax"))
    )


def model_class(name: str) -> Any:
    """A model class that transformers exports. Raises `TargetError` where it cannot be imported or is none."""
    import transformers

    try:
        kind = getattr(transformers, name)
    except Exception as error:
        raise ImportFailureError(name, error) from None
    if not inspect.isclass(kind) or not is_pretrained(kind):
        raise TargetError(f"{printable(name)} is no model class")
    return kind


def models_of(config_class: Any) -> list[Any]:
    """The models of one model type: its base, and all that have a head."""
    kinds = [kind for kind in models_near(config_class) if config_class_for(kind) is config_class]
    exported = [kind for kind in kinds if kind.__name__ in exported_models()]
    return exported or kinds or _mapped(config_class.model_type)


def models_near(config_class: Any) -> list[Any]:
    """All models in the modelling modules beside a configuration module of transformers."""
    package = import_module(config_class.__module__.rpartition(".")[0])
    files = Path(str(package.__file__)).parent.glob("modeling_*.py")
    names = sorted(file.stem for file in files if not file.stem.startswith(("modeling_tf_", "modeling_flax_")))
    return [kind for name in names for kind in model_classes(_modelling_module(f"{package.__name__}.{name}"))]


def model_classes(module: ModuleType) -> Iterator[Any]:
    """The models that a modelling module defines, in the order of its text."""
    from transformers import PreTrainedModel

    for name, value in list(vars(module).items()):
        if not inspect.isclass(value) or not issubclass(value, PreTrainedModel) or value.__module__ != module.__name__:
            continue
        if value.__name__ == name and not _ABSTRACT.search(name):
            yield value


def config_class_for(kind: Any) -> Any:
    """The config class that a model takes.

    Some parts of a larger model inherit a `config_class` that is not theirs; then the auto classes know better.
    """
    declared: Any = kind.config_class
    if not inspect.isclass(declared):
        raise TargetError(f"{kind.__qualname__} does not say which config class it takes")
    mapped = [config_class_of(each) for each in _mapped_types().get(kind.__name__, ())]
    parts = [each for each in mapped if each is not None and each in sub_configs(declared).values()]
    return declared if declared in mapped or not parts else parts[0]


def _spelled(model_type: str) -> str:
    return model_type.lower().replace("-", "_")


def _modelling_module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:
        raise ImportFailureError(name, error) from None


def _mapped(model_type: str) -> list[Any]:
    """The classes by which the auto classes know a model type that has no modelling module of its own."""
    names = [name for name, types in _mapped_types().items() if model_type in types]
    return [model_class(name) for name in names if name in exported_models()]


@cache
def _mapped_types() -> Mapping[str, tuple[str, ...]]:
    """The model types for which the auto classes take each model class, by its name."""
    from transformers.models.auto import modeling_auto

    types: dict[str, tuple[str, ...]] = {}
    for attribute, mapping in vars(modeling_auto).items():
        for model_type, names in mapping.items() if attribute.endswith("_MAPPING_NAMES") else ():
            for name in (names,) if isinstance(names, str) else names:
                types[name] = (*types.get(name, ()), model_type)
    return types
