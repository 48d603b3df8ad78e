"""A target to a model on the meta device, with no weights initialised."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch import nn

from bufaudit.errors import BufauditError
from bufaudit.tracing.configs import load_class, make_config
from bufaudit.tracing.offline import offline
from bufaudit.tracing.provenance import Ledger
from bufaudit.tracing.reasons import reason
from bufaudit.tracing.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bufaudit.tracing.targets import Target

_META = torch.device("meta")


class BuildError(BufauditError):
    """A model that cannot be built; the message is the reason, on one line."""

    def __init__(self, class_name: str, why: str) -> None:
        super().__init__(f"{class_name} cannot be built: {why}")


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """A model on the meta device. `escaped` are the names of tensors that its code makes elsewhere all the same."""

    model: nn.Module
    escaped: tuple[str, ...]


def construct(target: Target) -> nn.Module:
    """A fresh model from a fresh config, on whatever device the surrounding context says.

    What the model's code raises is not caught.
    """
    kind: Any = load_class(target.model_class)
    model: nn.Module = kind(**target.arguments) if target.config is None else kind(make_config(target.config))
    return model


def on_meta(target: Target) -> BuiltModel:
    """The target's model on the meta device, its weights tied but never initialised. Raises `BuildError`."""
    with offline():
        # Before anything is patched: an import may take hold of what it finds.
        with suppress(Exception):
            load_class(target.model_class)
        return _on_meta(target)


def _on_meta(target: Target) -> BuiltModel:
    with without_initialisation():
        try:
            with _META:
                model = construct(target)
        except Exception as error:
            # Few models mix devices or read values, and watching every operation costs the others time.
            with suppress(Exception), Recorder(Ledger()):
                return BuiltModel(construct(target), ())
            raise BuildError(target.class_name, reason(error, target.config)) from error
    tensors = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    return BuiltModel(model, tuple(name for name, tensor in tensors if not tensor.is_meta))


@contextmanager
def without_initialisation() -> Iterator[None]:
    """A context in which the initialisers of torch and of transformers' models leave tensors as they are."""
    initialisers = {name: value for name, value in vars(nn.init).items() if name.endswith("_") and name[0] != "_"}
    users = [module for name, module in list(sys.modules.items()) if name.startswith("torch.nn.")]
    active = True

    def skipping(original: Callable[..., Any]) -> Callable[..., Any]:
        # Modules that are imported in here, by a constructor, keep what they find.
        @wraps(original)
        def initialise(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            return tensor if active else original(tensor, *args, **kwargs)

        return initialise

    skipped = {name: skipping(initialiser) for name, initialiser in initialisers.items()}
    with ExitStack() as stack:
        for module in users:
            for name in initialisers.keys() & vars(module).keys():
                if vars(module)[name] is initialisers[name]:
                    stack.enter_context(patch.object(module, name, skipped[name]))
        if "transformers.modeling_utils" in sys.modules:
            from transformers import PreTrainedModel

            stack.enter_context(patch.object(PreTrainedModel, "initialize_weights", _nothing))
        try:
            yield
        finally:
            active = False


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Does nothing."""
