"""Model directories: the classes that a config.json names, be they of transformers or code that it brings along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bufaudit.errors import printable
from bufaudit.selection import closest
from bufaudit.tracing import library
from bufaudit.tracing.mistakes import ImportFailureError, TargetError, UnknownTargetError, UntrustedCodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONFIG_FILE = "config.json"


def brings_code(values: Mapping[str, Any]) -> bool:
    """Whether a config.json names classes that are modules of its directory."""
    return bool(_own_references(values))


def classes_of(
    folder: Path, values: Mapping[str, Any], class_name: str | None, *, trusted: bool
) -> list[tuple[Any, Any]]:
    """The model classes of a directory, each with the class of the config that is there.

    `values` is what its config.json says; `class_name` takes the place of the architectures named there. The
    directory's own code is run where it is `trusted`, and then goes before what transformers has.

    Raises `UntrustedCodeError` for a model that only that code has, and `TargetError` for one that nobody has.
    """
    names = [class_name] if class_name is not None else _architectures(values)
    if trusted and brings_code(values):
        return _own_classes(folder, values, names)
    config_class = library.config_class_of(str(values.get("model_type", "")))
    if config_class is None or not library.exported_models().issuperset(names):
        if brings_code(values):
            raise UntrustedCodeError(folder)
        raise _nobodys(folder, values, names if config_class is not None else ())
    kinds = [library.model_class(name) for name in names] or library.models_of(config_class)
    return [(kind, config_class) for kind in kinds]


def _architectures(values: Mapping[str, Any]) -> list[str]:
    named = values.get("architectures")
    return [str(name) for name in named[:1]] if isinstance(named, list) else []


def _nobodys(folder: Path, values: Mapping[str, Any], names: Sequence[str]) -> TargetError:
    import transformers

    what = f"class {printable(names[0])}" if names else f"model type {printable(values.get('model_type'))}"
    return TargetError(
        f"{printable(folder / CONFIG_FILE)} names the {what}, which transformers {transformers.__version__} does not "
        "have, and the directory brings no code of its own"
    )


def _own_references(values: Mapping[str, Any]) -> dict[str, str]:
    """Which of the directory's own classes stands for which auto class of configs and models, as `module.Class`."""
    found = values.get("auto_map")
    if not isinstance(found, dict):
        return {}
    wanted = {key: value for key, value in found.items() if key.startswith(("AutoConfig", "AutoModel"))}
    # What stands before `--` is the repository that the code was first published in.
    return {key: value.rpartition("--")[2] for key, value in wanted.items() if isinstance(value, str)}


def _own_classes(folder: Path, values: Mapping[str, Any], names: Sequence[str]) -> list[tuple[Any, Any]]:
    """Run a directory's code; classes that it does not have are those of transformers."""
    own = _own_references(values)
    config_class = library.config_class_of(str(values.get("model_type", "")))
    if "AutoConfig" in own:
        config_class = _own_class(folder, own.pop("AutoConfig"))
    references = {reference.rpartition(".")[2]: reference for reference in own.values()}
    found = []
    for name in names or list(references)[:1]:
        if name in references:
            kind = _own_class(folder, references[name])
        elif name in library.exported_models():
            kind = library.model_class(name)
        else:
            raise UnknownTargetError(f"class in the auto_map of {folder}", name, closest(name, references))
        found.append((kind, config_class))
    return found


def _own_class(folder: Path, reference: str) -> Any:
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    try:
        return get_class_from_dynamic_module(reference, str(folder.absolute()), local_files_only=True)
    except Exception as error:
        raise ImportFailureError(f"{reference} of {folder}", error) from None
