"""A target to a model on the meta device, with no weights initialised."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_any, tree_map_only

from bufaudit.errors import BufauditError, printable
from bufaudit.tracing.configs import load_class, make_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bufaudit.tracing.targets import Target

_META = torch.device("meta")
#: Packages of torch that bind initialisers to names of their own.
_USERS_OF_INIT = "torch.nn."


class BuildError(BufauditError):
    """A model that cannot be built; the message is the reason, on one line."""

    def __init__(self, class_name: str, error: BaseException) -> None:
        super().__init__(f"{class_name} cannot be built: {_reason(error)}")


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
    try:
        with without_initialisation(), _META, MixedDevices():
            model = construct(target)
    except Exception as error:
        raise BuildError(target.class_name, error) from error
    return BuiltModel(model, tuple(_escaped(model)))


@contextmanager
def without_initialisation() -> Iterator[None]:
    """A context in which the initialisers of torch and of transformers' models leave tensors as they are."""
    initialisers = {
        name: value for name, value in vars(nn.init).items() if name.endswith("_") and not name.startswith("_")
    }
    with ExitStack() as stack:
        for module in [module for name, module in sys.modules.items() if f"{name}.".startswith(_USERS_OF_INIT)]:
            for name, initialiser in initialisers.items():
                if vars(module).get(name) is initialiser:
                    stack.enter_context(patch.object(module, name, _untouched))
        _leave_transformers_alone(stack)
        yield


class MixedDevices(TorchDispatchMode):
    """Keeps an operation that has a meta input on meta, whatever else it is given."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten.copy_.default and args[1].is_meta and not args[0].is_meta:
            # The values are gone; only shapes matter here.
            return args[0]
        if tree_any(_is_meta, (args, kwargs)):
            args, kwargs = tree_map_only(torch.Tensor, _to_meta, (args, kwargs))
        return func(*args, **kwargs)


def _is_meta(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_meta


def _to_meta(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.is_meta else tensor.to(_META)


def _untouched(tensor: Any = None, *args: Any, **kwargs: Any) -> Any:
    return tensor


def _leave_transformers_alone(stack: ExitStack) -> None:
    """Models of transformers initialise themselves as the last step of construction, and tie weights after it."""
    if "transformers.modeling_utils" not in sys.modules:
        return
    from transformers import PreTrainedModel

    stack.enter_context(patch.object(PreTrainedModel, "initialize_weights", _untouched))


def _escaped(model: nn.Module) -> Iterator[str]:
    tensors = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    return (name for name, tensor in tensors if not tensor.is_meta)


def _reason(error: BaseException) -> str:
    text = " ".join(printable(line.strip()) for line in str(error).splitlines() if line.strip())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
