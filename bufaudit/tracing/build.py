"""A target to a model on the meta device, with no weights initialised."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_any, tree_map_only

from bufaudit.errors import BufauditError
from bufaudit.tracing.configs import load_class, make_config
from bufaudit.tracing.offline import offline
from bufaudit.tracing.reasons import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    try:
        model = _on_meta(target)
    except Exception as error:
        raise BuildError(target.class_name, reason(error, target.config)) from error
    tensors = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    return BuiltModel(model, tuple(name for name, tensor in tensors if not tensor.is_meta))


def _on_meta(target: Target) -> nn.Module:
    """The model, by the first way of building it that works: from the cheapest to the one that bears most."""
    with offline(), without_initialisation():
        for way in (_all_on_meta, _mixed_on_meta):
            with suppress(Exception), way():
                return construct(target)
        with _registered_on_meta():
            model = construct(target)
            for module in model.modules():
                module._buffers.update(
                    {name: each if each is None else _to_meta(each) for name, each in module._buffers.items()}
                )
        return model


@contextmanager
def _all_on_meta() -> Iterator[None]:
    """A context for all that names no device itself."""
    with _META:
        yield


@contextmanager
def _mixed_on_meta() -> Iterator[None]:
    """A context for code that mixes such tensors with others."""
    with _META, MixedDevices():  # type: ignore[no-untyped-call]
        yield


@contextmanager
def _registered_on_meta() -> Iterator[None]:
    """A context for code that reads values: parameters are moved to meta once a module has them, all else stays."""
    register = nn.Module.register_parameter

    def register_on_meta(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(module, name, param)
        if param is not None and not param.is_meta:
            module._parameters[name] = _moved(param)

    with patch.object(nn.Module, "register_parameter", register_on_meta), MixedDevices():  # type: ignore[no-untyped-call]
        yield


def _moved(param: nn.Parameter) -> nn.Parameter:
    """A parameter on meta of the same kind, with what was noted on it."""
    moved = nn.Parameter(_to_meta(param.data), requires_grad=param.requires_grad)
    moved.__dict__.update(param.__dict__)
    return moved


@contextmanager
def without_initialisation() -> Iterator[None]:
    """A context in which the initialisers of torch and of transformers' models leave tensors as they are."""
    initialisers = {name: value for name, value in vars(nn.init).items() if name.endswith("_") and name[0] != "_"}
    users = [module for name, module in list(sys.modules.items()) if name.startswith("torch.nn.")]
    with ExitStack() as stack:
        for module in users:
            for name in initialisers.keys() & vars(module).keys():
                if vars(module)[name] is initialisers[name]:
                    stack.enter_context(patch.object(module, name, _untouched))
        if "transformers.modeling_utils" in sys.modules:
            from transformers import PreTrainedModel

            stack.enter_context(patch.object(PreTrainedModel, "initialize_weights", _untouched))
        yield


class MixedDevices(TorchDispatchMode):
    """Keeps an operation that has a meta input on meta, whatever else it is given and asked for."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not tree_any(_is_meta, (args, kwargs)):
            return func(*args, **kwargs)
        if func is torch.ops.aten.copy_.default and not args[0].is_meta:
            # Its values are unknown now, but only its shape can matter.
            return args[0]
        args, kwargs = tree_map_only(torch.Tensor, _to_meta, (args, kwargs))
        return func(*args, **(kwargs | {"device": _META} if kwargs.get("device") is not None else kwargs))


def _is_meta(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_meta


def _to_meta(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.is_meta else tensor.to(_META)


def _untouched(tensor: Any = None, *args: Any, **kwargs: Any) -> Any:
    return tensor
