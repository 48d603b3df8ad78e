"""From names to model classes and configs of transformers, in a child process."""

from __future__ import annotations

import copy
import warnings
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings and progress bars of transformers."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def import_class(name: str) -> Any:
    """The class `package.module:Class`.

    Raises `TypeError` where it is no model class of transformers.
    """
    module, _, qualified = name.partition(":")
    found: Any = import_module(module)
    for part in qualified.split("."):
        found = getattr(found, part)
    if not hasattr(found, "from_pretrained") or getattr(found, "config_class", None) is None:
        raise TypeError(f"{name} is no model class of transformers: it has no from_pretrained and config_class")
    return found


def config_of(model_class: Any, options: Mapping[str, Any]) -> Any:
    """A config of the model's class: its defaults, and `options` on top."""
    return model_class.config_class.from_dict(dict(options))


def build_on_meta(model_class: Any, config: Any) -> torch.nn.Module:
    """A model without memory, not initialised."""
    with torch.device("meta"), _creation_is_safe(), _initialisers().no_init_weights():
        model: torch.nn.Module = model_class(copy.deepcopy(config))
    return model


def _creation_is_safe() -> AbstractContextManager[None]:
    """What `from_pretrained` does for constructors that need values, where it does that."""
    module = _initialisers()
    patch = getattr(module, "meta_device_safe_creation_ops", nullcontext)
    context: AbstractContextManager[None] = patch()
    return context


def _initialisers() -> Any:
    """The module with `no_init_weights`, which has moved between versions."""
    try:
        return import_module("transformers.initialization")
    except ModuleNotFoundError:
        return import_module("transformers.modeling_utils")
