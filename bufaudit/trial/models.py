"""From names to model classes and configs of transformers, in a child process."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
