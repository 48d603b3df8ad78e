"""Runs a path's tensor code without data and notes in the ledger where every value comes from.

Tensors stand on the meta device here and claim to be on the CPU, unless the path itself put them on meta. What is small
and needs no data that is not there is computed for real, so that `.item()` of a constant works.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bufaudit.tracing.provenance import CHECKPOINT, COMPUTED, UNWRITTEN, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bufaudit.tracing.provenance import Ledger, Memory

#: Elements up to which a value is computed for real.
_SMALL = 1 << 16
_CPU = torch.device("cpu")
_META = torch.device("meta")

_EMPTY = frozenset(
    "empty empty_like empty_strided empty_permuted new_empty new_empty_strided _empty_affine_quantized".split()
)
#: They take shape and dtype from a tensor, and nothing of its value.
_SHAPED = frozenset(
    "zeros_like ones_like full_like rand_like randn_like randint_like new_zeros new_ones new_full".split()
)
#: In place, and nothing of the old value is left.
_OVERWRITING = frozenset(
    "copy_ fill_ zero_ normal_ uniform_ random_ bernoulli_ exponential_ geometric_ log_normal_ cauchy_ eye_".split()
)
#: In place, on a part that only the values of indices or masks tell.
_SCATTERING = frozenset(
    "index_put_ _index_put_impl_ index_copy_ index_fill_ index_add_ scatter_ scatter_add_ scatter_reduce_ "
    "masked_fill_ masked_scatter_ put_".split()
)
#: They give Python what a tensor holds.
_READING = frozenset("_local_scalar_dense equal is_nonzero allclose".split())
#: On meta these have no data to move.
_MOVING = frozenset("_to_copy copy_ copy".split())


class UntraceableError(BaseException):
    """A path asks for a value that only real data has; not an `Exception`, so that the path cannot swallow it."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an operator does to its arguments, read off its schema."""

    name: str
    writes: tuple[int, ...]
    out: tuple[str, ...]
    views: bool
    takes_device: bool

    @property
    def empty(self) -> bool:
        return self.name in _EMPTY


class Recorder:
    """The modes that one rank's thread runs under, over a ledger that all ranks share."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._function_mode = Claims(ledger)
        self._dispatch_mode = _Records(ledger)

    def __enter__(self) -> Recorder:
        self._dispatch_mode.__enter__()
        self._function_mode.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._function_mode.__exit__(*exception)
        self._dispatch_mode.__exit__(*exception)


def fresh(ledger: Ledger, shape: Sequence[int], dtype: torch.dtype, origin: int) -> torch.Tensor:
    """A tensor of the traced path, without data, whose value has an origin."""
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        tensor = torch.empty(tuple(shape), dtype=dtype, device=_META)
    ledger.enter(tensor, origin)
    return tensor


class Claims(TorchFunctionMode):
    """Answers what a tensor says of its own place as it would where the path runs."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._answers: dict[Any, Callable[..., Any]] = {
            torch.Tensor.device.__get__: self._device,
            torch.Tensor.is_meta.__get__: self._is_meta,
            torch.Tensor.is_cpu.__get__: self._is_cpu,
            torch.Tensor.data_ptr: self._data_ptr,
            torch.Tensor.to: self._to,
            torch.Tensor.cpu: self._cpu,
            torch.Tensor.numpy: self._values,
            torch.Tensor.tolist: self._values,
            torch.Tensor.__array__: self._values,
        }
        super().__init__()

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        answer = self._answers.get(func)
        if answer is not None:
            return answer(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _device(self, func: Any, tensor: torch.Tensor) -> torch.device:
        device: torch.device = func(tensor)
        return _CPU if device.type == "meta" and not self._ledger.memory(tensor).on_meta else device

    def _is_meta(self, func: Any, tensor: torch.Tensor) -> bool:
        return bool(func(tensor)) and self._ledger.memory(tensor).on_meta

    def _is_cpu(self, func: Any, tensor: torch.Tensor) -> bool:
        return bool(func(tensor)) or not self._ledger.memory(tensor).on_meta

    def _data_ptr(self, func: Any, tensor: torch.Tensor) -> int:
        if not tensor.is_meta or self._ledger.memory(tensor).on_meta:
            return int(func(tensor))
        return tensor.untyped_storage()._cdata + tensor.storage_offset() * tensor.element_size()

    def _cpu(self, func: Any, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if tensor.is_meta and not self._ledger.memory(tensor).on_meta:
            return tensor
        result: torch.Tensor = func(tensor, *args, **kwargs)
        return result

    def _to(self, func: Any, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """A move to where the tensor says that it is must give the tensor itself, not a copy."""
        if tensor.is_meta and not self._ledger.memory(tensor).on_meta:
            args = tuple(
                self._claimed(arg) if isinstance(arg, torch.Tensor) else arg for arg in args if not _is_cpu(arg)
            )
            if "other" in kwargs:
                kwargs["other"] = self._claimed(kwargs["other"])
            if _is_cpu(kwargs.get("device")):
                del kwargs["device"]
            if not args and not kwargs.keys() - {"non_blocking", "memory_format", "copy"} and not kwargs.get("copy"):
                return tensor
            if len(args) == 1 and isinstance(args[0], bool):
                return tensor
        result: torch.Tensor = func(tensor, *args, **kwargs)
        return result

    def _claimed(self, other: torch.Tensor) -> torch.Tensor | torch.dtype:
        """What `tensor.to(other)` asks for of a tensor on the CPU."""
        here = not other.is_meta or not self._ledger.memory(other).on_meta
        return other.dtype if here and other.device.type in ("cpu", "meta") else other

    def _values(self, func: Any, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        memory = self._ledger.memory(tensor)
        if (tensor.is_meta or memory.stale) and not memory.on_meta:
            raise UntraceableError(f"the path reads the values of a tensor with {func.__name__}()")
        return func(tensor, *args, **kwargs)


class _Records(TorchDispatchMode):
    """Runs each operator without the data that is not there, and writes down what it makes of where."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger
        self._plans: dict[Any, _Plan] = {}

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for kind in types:
            if kind is not torch.Tensor and kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
                return NotImplemented
        plan = self._plans.get(func)
        if plan is None:
            plan = self._plans[func] = _plan(func)
        with torch._C.DisableTorchFunction():
            return self._run(func, plan, args, kwargs or {})

    def _run(self, func: Any, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        ledger = self._ledger
        if plan.views:
            return func(*args, **kwargs)
        inputs = [(tensor, ledger.memory(tensor)) for tensor in _tensors(args, kwargs)]
        if not inputs:
            return self._make(func, plan, args, kwargs)
        absent = any(tensor.is_meta or memory.stale for tensor, memory in inputs)
        device = kwargs.get("device") if plan.takes_device else None
        if absent:
            on_meta = any(memory.on_meta for _, memory in inputs)
            moves = device.type if isinstance(device, torch.device) else None
            self._refuse(func, plan, inputs, on_meta, moves)
            if moves is not None:
                on_meta = moves == "meta"
            result = self._without_data(func, plan, args, kwargs, device)
        else:
            on_meta = isinstance(device, torch.device) and device.type == "meta"
            result = func(*args, **kwargs)
        if plan.writes or plan.out:
            self._note_writes(plan, args, kwargs, inputs)
        self._note_results(plan, result, inputs, on_meta)
        return result

    def _make(self, func: Any, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator that takes no tensor: for real where its result is small, or where meta cannot."""
        device = kwargs.get("device")
        if isinstance(device, torch.device) and device.type == "meta":
            result = func(*args, **kwargs)
            self._enter_all(result, UNWRITTEN, on_meta=True)
            return result
        origin = UNWRITTEN if plan.empty else COMPUTED
        if plan.takes_device:
            try:
                result = func(*args, **(kwargs | {"device": _META, "pin_memory": False}))
            except (NotImplementedError, TypeError, RuntimeError):
                result = None
            if isinstance(result, torch.Tensor) and result.numel() > _SMALL:
                self._enter_all(result, origin)
                return result
        result = func(*args, **kwargs)
        self._enter_all(result, origin)
        return result

    def _enter_all(self, result: Any, origin: int, *, on_meta: bool = False) -> None:
        for tensor in _tensors((result,), {}):
            if not self._ledger.knows(tensor):
                self._ledger.enter(tensor, origin, on_meta=on_meta)

    def _refuse(
        self,
        func: Any,
        plan: _Plan,
        inputs: Sequence[tuple[torch.Tensor, Memory]],
        on_meta: bool,
        moves: str | None,
    ) -> None:
        """Raise what torch would raise there, and what only the missing data here makes impossible."""
        if plan.name in _READING and not on_meta:
            raise UntraceableError(f"the path reads the value of a tensor ({plan.name.strip('_')})")
        if plan.name not in _MOVING:
            return
        source = inputs[-1][1] if plan.name == "copy_" else inputs[0][1]
        target_on_meta = inputs[0][1].on_meta if plan.name == "copy_" else moves in (None, "meta")
        if source.on_meta and not target_on_meta:
            raise NotImplementedError("Cannot copy out of meta tensor; no data!")

    def _without_data(self, func: Any, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any], device: Any) -> Any:
        """Run on meta; tensors that are real here take part as meta ones."""
        swapped: dict[int, torch.Tensor] = {}

        def on_meta(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                if value.is_meta:
                    return value
                stand_in = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=_META)
                swapped[id(stand_in)] = value
                return stand_in
            if isinstance(value, (list, tuple)):
                return type(value)(on_meta(each) for each in value)
            return value

        moved = {key: on_meta(value) for key, value in kwargs.items()}
        if device is not None:
            moved["device"] = _META
            moved.pop("pin_memory", None)
            moved.pop("non_blocking", None)
        try:
            result = func(*(on_meta(arg) for arg in args), **moved)
        except NotImplementedError as error:
            raise UntraceableError(f"{plan.name} cannot run without data") from error
        for index in plan.writes:
            for tensor in _tensors((args[index],), {}):
                if not tensor.is_meta:
                    self._ledger.memory(tensor).stale = True
        if isinstance(result, torch.Tensor):
            return swapped.get(id(result), result)
        if isinstance(result, (list, tuple)):
            return type(result)(swapped.get(id(each), each) for each in result)
        return result

    def _note_writes(
        self,
        plan: _Plan,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: Sequence[tuple[torch.Tensor, Memory]],
    ) -> None:
        ledger = self._ledger
        targets = [
            *(tensor for index in plan.writes if index < len(args) for tensor in _tensors((args[index],), {})),
            *(tensor for name in plan.out if name in kwargs for tensor in _tensors((kwargs[name],), {})),
        ]
        written = {id(tensor) for tensor in targets}
        sources = [tensor for tensor, _ in inputs if id(tensor) not in written]
        if plan.name == "copy_" and sources:
            ledger.copy(targets[0], sources[0])
            return
        of_sources = _union(ledger, sources)
        for target in targets:
            if plan.name in _OVERWRITING or plan.out:
                ledger.write(target, joined(of_sources) if sources else COMPUTED)
            elif plan.name in _SCATTERING:
                values = _union(ledger, sources[-1:]) if sources else COMPUTED
                ledger.write(target, ledger.origin(target) | (values or COMPUTED))
            elif plan.name not in ("set_", "resize_", "detach_", "requires_grad_", "as_strided_", "t_", "squeeze_"):
                ledger.write(target, joined(ledger.origin(target) | of_sources))

    def _note_results(
        self, plan: _Plan, result: Any, inputs: Sequence[tuple[torch.Tensor, Memory]], on_meta: bool
    ) -> None:
        ledger = self._ledger
        origin: int | None = None
        for tensor in _tensors((result,), {}):
            if ledger.knows(tensor):
                continue
            if on_meta or plan.empty:
                ledger.enter(tensor, UNWRITTEN, on_meta=on_meta)
                continue
            if plan.name in _SHAPED:
                ledger.enter(tensor, COMPUTED)
                continue
            if origin is None:
                origin = joined(_union(ledger, [each for each, _ in inputs]))
            ledger.enter(tensor, origin)
            if origin not in (UNWRITTEN, COMPUTED, CHECKPOINT):
                self._note_parts(plan, tensor, [each for each, _ in inputs])

    def _note_parts(self, plan: _Plan, result: torch.Tensor, inputs: Sequence[torch.Tensor]) -> None:
        """Where a copy or a concatenation keeps the parts apart, so does the ledger."""
        if plan.name in ("clone", "_to_copy", "contiguous") and len(inputs) == 1:
            self._ledger.copy(result, inputs[0])
        elif plan.name == "cat" and result.dim():
            sizes = [tensor.numel() for tensor in inputs]
            if sum(sizes) == result.numel() and all(
                tensor.shape[1:] == result.shape[1:] for tensor in inputs if tensor.numel()
            ):
                start = 0
                for tensor in inputs:
                    if tensor.numel():
                        self._ledger.copy(result[start : start + tensor.shape[0]], tensor)
                        start += tensor.shape[0]


def _plan(func: Any) -> _Plan:
    schema = func._schema
    writes, out = [], []
    views = takes_device = False
    for index, argument in enumerate(schema.arguments):
        takes_device |= argument.name == "device"
        if argument.alias_info is None:
            continue
        if not argument.alias_info.is_write:
            views = True
        elif argument.kwarg_only:
            out.append(argument.name)
        else:
            writes.append(index)
    name = schema.name.partition("::")[2]
    return _Plan(name, tuple(writes), tuple(out), views and not writes, takes_device)


def _tensors(args: Iterable[Any], kwargs: dict[str, Any]) -> Iterator[torch.Tensor]:
    for value in args:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value, {})
    for value in kwargs.values():
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value, {})


def _union(ledger: Ledger, tensors: Iterable[torch.Tensor]) -> int:
    origin = 0
    for tensor in tensors:
        origin |= ledger.origin(tensor)
    return origin


def _is_cpu(value: Any) -> bool:
    return (isinstance(value, str) and value.startswith("cpu")) or (
        isinstance(value, torch.device) and value.type == "cpu"
    )
