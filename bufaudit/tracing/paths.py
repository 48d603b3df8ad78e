"""The load paths that ship, each as a way to one rank's loaded model."""

from __future__ import annotations

import inspect
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from bufaudit.declarations import package_path
from bufaudit.errors import BufauditError, printable
from bufaudit.selection import closest
from bufaudit.tracing import checkpoint as checkpoints
from bufaudit.tracing import stand_in
from bufaudit.tracing.build import construct, without_initialisation
from bufaudit.tracing.configs import load_class, make_config
from bufaudit.tracing.provenance import COMPUTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from bufaudit.tracing.checkpoint import Checkpoint
    from bufaudit.tracing.provenance import Ledger
    from bufaudit.tracing.ranks import Ranks
    from bufaudit.tracing.targets import Target

_CONFIG = "config.json"
#: The names of paths that ship.
NAMES = ("zero3", "from_pretrained", "params-only")
#: Releases of transformers whose entry points the adapters know.
_OLDEST, _NEWEST = (4, 57), (5, 999)
#: What the adapters take hold of, or lean on, in `transformers.modeling_utils`.
_ENTRY_POINTS = ("safe_open", "load_state_dict", "is_deepspeed_zero3_enabled")
_ZERO3_LOADER = "_load_state_dict_into_zero3_model"


class UntracedError(BufauditError):
    """A path that cannot be followed here; the message is the reason."""


class UnknownPathError(BufauditError):
    """A path that nothing is called by."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'there is no load path "{printable(name)}"; known are {", ".join(NAMES)}, and module:function for your own'
        )


class LoaderError(BufauditError):
    """A `module:function` that leads to no function."""


@dataclass(frozen=True, slots=True)
class LoadPath:
    """A load path. `alike` tells that no rank can know which one it is, so that one trace stands for all of them;
    `reads_files` that it takes the checkpoint from a folder, and not as a state dict.

    `around` sets up what surrounds all ranks and gives what one rank does: from its number to the loaded model.
    `loader` is the place of the code that loads.
    """

    name: str
    alike: bool
    reads_files: bool
    around: Callable[[Run], Any]
    loader: str | None = None


@dataclass(slots=True)
class Run:
    """One run of a path: what it is to load, and between which ranks.

    `named` is the checkpoint under the model's own names, as a state dict of the model has them.
    """

    target: Target
    checkpoint: Checkpoint
    named: Checkpoint
    ranks: Ranks
    ledger: Ledger
    #: Called with a rank and its model as soon as the loader proper is done.
    loaded: Callable[[int, nn.Module], None] = field(default=lambda rank, model: None)


def find(name: str) -> LoadPath:
    """The path of a name. Raises as `check_name` does, and `UntracedError` where it cannot be followed here."""
    match name:
        case "zero3":
            _check_release((*_ENTRY_POINTS, _ZERO3_LOADER))
            return LoadPath(
                name,
                alike=False,
                reads_files=True,
                around=_zero3,
                loader=_place(_zero3_loader()),
            )
        case "from_pretrained":
            _check_release(_ENTRY_POINTS)
            return LoadPath(
                name,
                alike=True,
                reads_files=True,
                around=_from_pretrained,
                loader=_place(_loader()),
            )
        case "params-only":
            return LoadPath(name, alike=True, reads_files=False, around=_params_only)
    if ":" not in name:
        raise UnknownPathError(name)
    return replace(of_function(_function(name)), name=name)


def check_name(name: str) -> None:
    """Raise `UnknownPathError` for a name that can be none, and `LoaderError` for one that leads to no function."""
    if ":" in name:
        _function(name)
    elif name not in NAMES:
        raise UnknownPathError(name)


def of_function(function: Callable[[nn.Module, dict[str, torch.Tensor]], object]) -> LoadPath:
    """A path that is a function of the user's."""
    name = f"{function.__module__}:{function.__qualname__}"
    return LoadPath(name, alike=False, reads_files=False, around=_calling(function), loader=_place(function))


def _place(function: Any) -> str | None:
    """Where a function begins, as `package/file.py:line`."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return None if code is None else f"{package_path(code.co_filename)}:{code.co_firstlineno}"


def _loader() -> Any:
    from transformers import PreTrainedModel

    return PreTrainedModel._load_pretrained_model


def _zero3_loader() -> Any:
    from transformers import modeling_utils

    return getattr(modeling_utils, _ZERO3_LOADER)


def _unknown_loader(entry: str) -> UntracedError:
    import transformers

    return UntracedError(
        f"transformers {transformers.__version__} does not load through {entry}, as releases known here do"
    )


def _check_release(entry_points: tuple[str, ...]) -> None:
    try:
        import transformers
        from transformers import modeling_utils
    except ImportError as error:
        raise UntracedError(f"transformers cannot be imported: {error}") from None
    version = transformers.__version__
    release = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if not _OLDEST <= release <= _NEWEST:
        raise UntracedError(f"the loader of transformers {version} is not known; 4.57 and 5 are")
    for name in entry_points:
        if not hasattr(modeling_utils, name):
            raise UntracedError(
                f"transformers {version} has no modeling_utils.{name}, where its loader is taken hold of"
            )


@contextmanager
def _from_pretrained(run: Run) -> Iterator[Callable[[int], nn.Module]]:
    recipe = run.target.config
    if recipe is None:
        raise UntracedError(f"{run.target.class_name} is no model of transformers, and has no loader of its own")
    kind: Any = load_class(run.target.model_class)
    with checkpoints.in_place_of_files(run.checkpoint, run.ledger) as folder, _single_threaded(), _marked(run):

        def load(rank: int) -> nn.Module:
            # A saved config is not always what it was made from.
            config = {} if _CONFIG in run.checkpoint.companions else {"config": make_config(recipe)}
            try:
                model: nn.Module = kind.from_pretrained(str(folder.path), use_safetensors=True, **config)
            except Exception as error:
                if folder.read or not type(error).__module__.startswith("safetensors"):
                    raise
                raise _unknown_loader("modeling_utils.safe_open") from error
            if not folder.read:
                raise _unknown_loader("modeling_utils.safe_open")
            return model

        yield load


@contextmanager
def _zero3(run: Run) -> Iterator[Callable[[int], nn.Module]]:
    from transformers import modeling_utils
    from transformers.integrations import deepspeed as integration

    config = _DeepSpeedConfig()
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(integration, "_hf_deepspeed_config_weak_ref", lambda: config))
        stack.enter_context(stand_in.deepspeed(run.ranks, run.ledger))
        loader = stack.enter_context(mock.patch.object(modeling_utils, _ZERO3_LOADER, wraps=_zero3_loader()))
        load = stack.enter_context(_from_pretrained(run))

        def and_check(rank: int) -> nn.Module:
            model: nn.Module = load(rank)
            if not loader.called:
                raise _unknown_loader(f"modeling_utils.{_ZERO3_LOADER}")
            return model

        yield and_check


@contextmanager
def _params_only(run: Run) -> Iterator[Callable[[int], nn.Module]]:
    def load(rank: int) -> nn.Module:
        with without_initialisation():
            model = construct(run.target)
        for tensor in (*model.parameters(), *model.buffers()):
            run.ledger.write(tensor, COMPUTED)
        state = checkpoints.state_dict(run.named, run.ledger)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in state:
                    parameter.copy_(state[name])
        return model

    yield load


def _calling(function: Callable[[nn.Module, dict[str, torch.Tensor]], object]) -> Callable[[Run], Any]:
    @contextmanager
    def around(run: Run) -> Iterator[Callable[[int], nn.Module]]:
        def load(rank: int) -> nn.Module:
            model = construct(run.target)
            result = function(model, checkpoints.state_dict(run.named, run.ledger))
            return result if isinstance(result, torch.nn.Module) else model

        yield load

    return around


def _function(name: str) -> Callable[[nn.Module, dict[str, torch.Tensor]], object]:
    module, _, path = name.partition(":")
    try:
        found: Any = import_module(module)
    except Exception as error:
        why = f"{type(error).__name__}: {printable(error)}"
        raise LoaderError(f"the load path {printable(name)} cannot be imported: {why}") from None
    for part in path.split("."):
        near = closest(part, vars(found)) if hasattr(found, "__dict__") else None
        found = getattr(found, part, None)
        if found is None:
            hint = "" if near is None else f"; did you mean {printable(near)}?"
            raise LoaderError(f'there is no "{printable(path)}" in {printable(module)}{hint}')
    if not callable(found):
        raise LoaderError(f"{printable(name)} is no function")
    function: Callable[[nn.Module, dict[str, torch.Tensor]], object] = found
    return function


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Modes are a thread's own, and transformers reads with threads unless it is told not to."""
    with mock.patch.dict(os.environ, {"HF_DEACTIVATE_ASYNC_LOAD": "1"}):
        os.environ.pop("HF_ENABLE_PARALLEL_LOADING", None)
        yield


@contextmanager
def _marked(run: Run) -> Iterator[None]:
    """Tells the run where transformers has loaded and goes on to missing keys."""
    from transformers import PreTrainedModel

    steps = ("_finalize_model_loading", "_move_missing_keys_from_meta_to_cpu", "_initialize_missing_keys")
    name = next((step for step in steps if step in vars(PreTrainedModel)), None)
    if name is None:
        yield
        return
    original = vars(PreTrainedModel)[name]
    function = original.__func__ if isinstance(original, staticmethod) else original

    def marked(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        run.loaded(run.ranks.rank, model)
        return function(model, *args, **kwargs)

    replacement = staticmethod(marked) if isinstance(original, staticmethod) else marked
    with mock.patch.object(PreTrainedModel, name, replacement):
        yield


class _DeepSpeedConfig:
    """What transformers asks of the DeepSpeed configuration that is in force."""

    def __init__(self) -> None:
        self.config = {"zero_optimization": {"stage": 3}, "train_micro_batch_size_per_gpu": 1}

    def is_zero3(self) -> bool:
        return True

    def is_zero2(self) -> bool:
        return False

    def is_offload(self) -> bool:
        return False

    def get_value(self, key: str, default: Any = None) -> Any:
        return default
