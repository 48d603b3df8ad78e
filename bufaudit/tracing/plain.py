"""Modules that are no models of transformers: a class and the arguments of its constructor."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch import nn

from bufaudit.errors import printable
from bufaudit.selection import closest
from bufaudit.tracing.configs import UnknownOptionError, load_class
from bufaudit.tracing.mistakes import ImportFailureError, TargetError, UnknownTargetError

if TYPE_CHECKING:
    from collections.abc import Mapping


def imported(name: str) -> Any:
    """The `torch.nn.Module` class that `module:Class` names. Raises `TargetError` where there is none."""
    module_name, _, class_name = name.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise TargetError(f"there is no module {printable(error.name)}; is it on PYTHONPATH?") from None
        raise ImportFailureError(module_name, error) from None
    except Exception as error:
        raise ImportFailureError(module_name, error) from None
    try:
        kind = load_class(name)
    except AttributeError:
        names = [key for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, nn.Module)]
        raise UnknownTargetError(f"class in {module_name}", class_name, closest(class_name, names)) from None
    if not inspect.isclass(kind) or not issubclass(kind, nn.Module):
        raise TargetError(f"{printable(name)} is no torch.nn.Module class")
    return kind


def arguments(kind: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as keyword arguments of a module's constructor.

    Raises `UnknownOptionError` for one that it does not take, `TargetError` where one that it needs is not given.
    """
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
