"""Model classes of transformers by name, and models of them, in a child process."""

from __future__ import annotations

import copy
import warnings
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from bufaudit.tracing.configs import load_class

if TYPE_CHECKING:
    from collections.abc import Iterator
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


def model_class_of(name: str) -> Any:
    """The class `module:Class`, be it one that transformers has copied from a directory."""
    if name.startswith("transformers_modules."):
        from transformers.dynamic_module_utils import init_hf_modules

        init_hf_modules()
    return load_class(name)


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
