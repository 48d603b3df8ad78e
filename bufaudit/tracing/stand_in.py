"""A stand-in for DeepSpeed, in place also where DeepSpeed is installed.

It has what a load meets: `zero.Init` parts every parameter, which has shape (0,) from then on outside a gather;
`zero.GatheredParameters` gives the whole back for a while, and on leaving hands the modifier rank's value to all.
After deepspeed/runtime/zero/partition_parameters.py of DeepSpeed 0.19.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bufaudit.tracing.provenance import Ledger
    from bufaudit.tracing.ranks import Ranks

_NAMES = (
    *("deepspeed", "deepspeed.zero", "deepspeed.comm", "deepspeed.comm.comm", "deepspeed.accelerator"),
    *("deepspeed.utils", "deepspeed.runtime", "deepspeed.runtime.zero"),
    "deepspeed.runtime.zero.partition_parameters",
)
#: What `zero.Init` puts between a constructor and torch while it is open.
_CONSTRUCTORS = ("tensor", "empty", "zeros", "ones", "full", "arange", "eye", "randn")


@contextmanager
def deepspeed(ranks: Ranks, ledger: Ledger) -> Iterator[None]:
    """The stand-in under DeepSpeed's names; modules that are there under them come back afterwards."""
    partitioning = _Partitioning(ranks, ledger)
    modules = _modules(partitioning)
    real = [name for name in sys.modules if name == "deepspeed" or name.startswith("deepspeed.")]
    with mock.patch.dict(sys.modules), _constructors_part(partitioning):
        for name in real:
            del sys.modules[name]
        sys.modules.update(modules)
        yield


def whole(parameter: torch.Tensor) -> torch.Tensor:
    """A parameter as it is when it is gathered; the tensor itself where it is not parted."""
    gathered: torch.Tensor = getattr(parameter, "ds_tensor", parameter)
    return gathered if parameter.numel() == 0 else parameter


class _Partitioning:
    """Parameters in parts: each rank keeps the whole out of sight, and shows it where it is gathered."""

    def __init__(self, ranks: Ranks, ledger: Ledger) -> None:
        self._ranks = ranks
        self._ledger = ledger
        self._of_rank = threading.local()

    @property
    def building(self) -> bool:
        """Whether this rank is inside `zero.Init`."""
        return getattr(self._of_rank, "open", 0) > 0

    def open(self, change: int) -> None:
        """This rank enters (1) or leaves (-1) a `zero.Init`."""
        self._of_rank.open = getattr(self._of_rank, "open", 0) + change

    def finish(self, module: torch.nn.Module) -> None:
        """Part the parameters that a module has of its own. Every rank builds the same, so nothing is exchanged."""
        for parameter in module._parameters.values():
            if parameter is not None and not hasattr(parameter, "ds_id"):
                self._convert(parameter)

    def _convert(self, parameter: Any) -> None:
        if not hasattr(self._of_rank, "ids"):
            self._of_rank.ids = itertools.count()
        # DeepSpeed sends it as bytes, which torch refuses for a tensor without dimensions.
        parameter.data.view(torch.uint8)
        parameter.ds_id = next(self._of_rank.ids)
        parameter.ds_shape = parameter.shape
        parameter.ds_numel = parameter.numel()
        parameter.ds_persist = False
        parameter.ds_active_sub_modules = set()
        parameter.ds_process_group = dist.group.WORLD
        parameter.ds_status = "AVAILABLE"
        parameter.all_gather = lambda param_list=None, **_: self.gather(param_list or [parameter])
        parameter.partition = lambda param_list=None, has_been_updated=False, **_: self.part(
            param_list or [parameter], keep=has_been_updated
        )
        self.part([parameter], keep=True)

    def part(self, parameters: Iterable[Any], *, keep: bool) -> None:
        """Take the whole away; what was written to it stays where `keep` says so."""
        for parameter in parameters:
            if parameter.ds_status == "NOT_AVAILABLE":
                continue
            if keep:
                parameter.ds_tensor = parameter.data
            parameter.data = torch.empty(0, dtype=parameter.dtype)
            parameter.ds_status = "NOT_AVAILABLE"

    def gather(self, parameters: Iterable[Any]) -> None:
        """Show the whole: a copy, as every gather makes one."""
        parameters = list(parameters)
        self._meet("gather", parameters, lambda _: None)
        for parameter in parameters:
            if parameter.ds_status == "NOT_AVAILABLE":
                parameter.data = parameter.ds_tensor.clone()
                parameter.ds_status = "AVAILABLE"

    def spread(self, parameters: list[Any], source: int) -> None:
        """Give every rank the value that one rank has."""

        def exchange(brought: list[list[Any]]) -> None:
            for same in zip(*brought, strict=True):
                for parameter in same:
                    if parameter is not same[source]:
                        self._ledger.copy(parameter.data, same[source].data)
                        self._ledger.memory(parameter.data).values = None

        self._meet(f"a broadcast of gathered parameters from rank {source}", parameters, exchange)

    def _meet(self, what: str, parameters: list[Any], work: Callable[[list[list[Any]]], None]) -> None:
        numbers = ", ".join(str(parameter.ds_id) for parameter in parameters[:3])
        self._ranks.meet(
            "deepspeed", range(self._ranks.size), f"{what} ({len(parameters)}: {numbers})", parameters, work
        )


def _gathered_parameters(partitioning: _Partitioning) -> type:
    class GatheredParameters:
        """`deepspeed.zero.GatheredParameters`."""

        def __init__(
            self, params: Any, modifier_rank: int | None = None, fwd_module: Any = None, enabled: bool = True
        ) -> None:
            given = [params] if isinstance(params, torch.Tensor) else list(params)
            parted: dict[int, Any] = {id(each): each for each in given if hasattr(each, "ds_id")}
            self.params: list[Any] = sorted(parted.values(), key=lambda parameter: parameter.ds_id)
            self.enabled = enabled and bool(self.params)
            self.modifier_rank = modifier_rank

        def __enter__(self) -> None:
            if not self.enabled:
                return
            inside = [p.ds_id for p in self.params if getattr(p, "ds_z3_gathered_param_context_depth", 0) > 0]
            if inside:
                raise RuntimeError(
                    "Nested GatheredParameters contexts cannot overlap parameters; "
                    f"parameter ds_ids already gathered by an outer context: {inside}"
                )
            partitioning.gather(self.params)
            for parameter in self.params:
                parameter.ds_z3_gathered_param_context_depth = 1

        def __exit__(self, kind: Any, *exception: object) -> None:
            if not self.enabled:
                return
            for parameter in self.params:
                parameter.ds_z3_gathered_param_context_depth = 0
            if kind is None and self.modifier_rank is not None:
                partitioning.spread(self.params, self.modifier_rank)
            partitioning.part(self.params, keep=kind is None and self.modifier_rank is not None)

    return GatheredParameters


def _init(partitioning: _Partitioning) -> type:
    class Init:
        """`deepspeed.zero.Init`."""

        def __init__(self, module: torch.nn.Module | None = None, *_: Any, enabled: bool = True, **__: Any) -> None:
            self.enabled = enabled
            if module is not None and enabled:
                for each in module.modules():
                    partitioning.finish(each)

        def __enter__(self) -> None:
            partitioning.open(1 if self.enabled else 0)

        def __exit__(self, *exception: object) -> None:
            partitioning.open(-1 if self.enabled else 0)

    return Init


@contextmanager
def _constructors_part(partitioning: _Partitioning) -> Iterator[None]:
    """The end of a module's construction parts its parameters, and `Module.apply` gathers them for its function."""

    def parting(construct: Any) -> Any:
        @functools.wraps(construct)
        def wrapper(module: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
            if not partitioning.building or "_ds_child_entered" in module.__dict__:
                construct(module, *args, **kwargs)
                return
            # Bases are constructed inside of it, and the parameters are the whole module's.
            object.__setattr__(module, "_ds_child_entered", True)
            construct(module, *args, **kwargs)
            object.__delattr__(module, "_ds_child_entered")
            partitioning.finish(module)

        return wrapper

    original_apply = torch.nn.Module.apply

    def apply(module: torch.nn.Module, function: Callable[[torch.nn.Module], None]) -> torch.nn.Module:
        if not partitioning.building or hasattr(function, "wrapped"):
            return original_apply(module, function)

        def gathered(each: torch.nn.Module) -> None:
            parameters = [p for p in each.parameters(recurse=False) if hasattr(p, "ds_id")]
            for parameter in parameters:
                partitioning.gather([parameter])
            function(each)
            if parameters:
                partitioning.spread(parameters, 0)
            partitioning.part(parameters, keep=True)

        gathered.wrapped = True  # type: ignore[attr-defined]
        return original_apply(module, gathered)

    original_new = torch.Tensor.__new__

    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if not partitioning.building:
            return original_new(cls, *args, **kwargs)
        # DeepSpeed takes what `torch.Tensor(...)` gets for a shape, values too.
        return torch.empty(0).new_empty(*(args or (0,)), **kwargs)

    def subclass(cls: Any, **kwargs: Any) -> None:
        super(torch.nn.Module, cls).__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = parting(cls.__init__)
            later.append(cls)

    later: list[Any] = []
    base: Any = torch.nn.Module
    tensor: Any = torch.Tensor
    originals: dict[Any, Any] = {
        kind: vars(kind)["__init__"] for kind in _subclasses(torch.nn.Module) if "__init__" in vars(kind)
    }
    had_hook = vars(torch.nn.Module).get("__init_subclass__")
    try:
        for kind, construct in originals.items():
            kind.__init__ = parting(construct)
        base.apply = apply
        tensor.__new__ = new
        base.__init_subclass__ = classmethod(subclass)  # type: ignore[arg-type]
        yield
    finally:
        if had_hook is None:
            del base.__init_subclass__
        else:
            base.__init_subclass__ = had_hook
        base.apply = original_apply
        del tensor.__new__
        for kind, construct in originals.items():
            kind.__init__ = construct
        for kind in later:
            kind.__init__ = kind.__init__.__wrapped__


def _subclasses(kind: Any) -> set[Any]:
    found: set[Any] = set()
    waiting: list[Any] = [kind]
    while waiting:
        for each in waiting.pop().__subclasses__():
            if each not in found:
                found.add(each)
                waiting.append(each)
    return found


class _Accelerator:
    """What a load asks of `deepspeed.accelerator.get_accelerator()`: everything is on the CPU."""

    def device_name(self, index: Any = None) -> str:
        return "cpu"

    def current_device_name(self) -> str:
        return "cpu"

    def current_device(self) -> int | str:
        return "cpu"

    def device(self, index: Any = None) -> torch.device:
        return torch.device("cpu")

    def communication_backend_name(self) -> str:
        return "gloo"

    def on_accelerator(self, tensor: torch.Tensor) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def set_device(self, index: Any) -> None:
        """There is one."""

    def synchronize(self, index: Any = None) -> None:
        """Nothing runs ahead."""

    def empty_cache(self) -> None:
        """There is none."""


def _modules(partitioning: _Partitioning) -> dict[str, ModuleType]:
    modules = {name: _Module(name) for name in _NAMES}
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    accelerator = _Accelerator()
    partitions: Any = modules["deepspeed.runtime.zero.partition_parameters"]
    partitions.Init = _init(partitioning)
    partitions.GatheredParameters = _gathered_parameters(partitioning)
    partitions.register_external_parameter = _register_external_parameter
    partitions.unregister_external_parameter = lambda module, parameter: None
    partitions.is_zero_param = lambda parameter: hasattr(parameter, "ds_id")
    partitions.zero_wrapper_for_fp_tensor_constructor = lambda function, *_, **__: function
    for name in _CONSTRUCTORS:
        setattr(partitions, f"_orig_torch_{name}", getattr(torch, name))
    accelerators: Any = modules["deepspeed.accelerator"]
    partitions.get_accelerator = accelerators.get_accelerator = lambda: accelerator
    zero: Any = modules["deepspeed.zero"]
    for name in ("Init", "GatheredParameters", "register_external_parameter", "unregister_external_parameter"):
        setattr(zero, name, getattr(partitions, name))
    for name in ("deepspeed.comm", "deepspeed.comm.comm"):
        comm: Any = modules[name]
        comm.__dict__.update({key: value for key, value in vars(dist).items() if not key.startswith("__")})
        comm.init_distributed = lambda *_, **__: None
    package: Any = modules["deepspeed"]
    package.__version__ = "0"
    package.init_distributed = lambda *_, **__: None
    package.get_accelerator = accelerators.get_accelerator
    return dict(modules)


class _Module(ModuleType):
    """A module of the stand-in; what it lacks is an error that says whose lack it is."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise MissingFromStandInError(f"{self.__name__}.{name}")


class MissingFromStandInError(AttributeError):
    """Something of DeepSpeed that a path uses and the stand-in does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the path uses {name}, which the stand-in for DeepSpeed does not have")


def _register_external_parameter(module: torch.nn.Module, parameter: Any) -> None:
    if not isinstance(parameter, torch.nn.Parameter):
        raise RuntimeError("Parameter is not a torch.nn.Parameter")
    if not hasattr(parameter, "ds_id"):
        raise RuntimeError(
            f"Registering external parameter {type(module).__name__} whose parameter is no ZeRO-3 parameter"
        )
