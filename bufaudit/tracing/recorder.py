"""Runs a path's tensor code without data and notes in the ledger where every value comes from.

Tensors stand on the meta device here and claim to be on the CPU, unless the path itself put them on meta. Small values
that do not come from the checkpoint or from a random generator are computed for real beside it, so that `.item()` of a
constant works.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bufaudit.declarations import package_path
from bufaudit.tracing.provenance import CHECKPOINT, COMPUTED, UNWRITTEN, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bufaudit.tracing.provenance import Ledger, Memory

#: Elements up to which, over all inputs together, a known value is computed with.
_SMALL = 1 << 22
#: Elements up to which a new value is known.
_SMALL_NEW = 1 << 16
#: Properties of it are functions to a mode, by their `__get__` and `__set__`.
_Tensor: Any = torch.Tensor
_CPU = torch.device("cpu")
_META = torch.device("meta")

_EMPTY = frozenset(
    (
        *("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"),
        *("_empty_affine_quantized",),
    )
)
#: They take shape and dtype from a tensor, and nothing of its value.
_SHAPED = frozenset(
    (
        *("zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like"),
        *("new_zeros", "new_ones", "new_full"),
    )
)
#: In place, and nothing of the old value is left.
_OVERWRITING = frozenset(
    (
        *("copy_", "fill_", "zero_", "normal_", "uniform_", "random_", "bernoulli_", "exponential_"),
        *("geometric_", "log_normal_", "cauchy_", "eye_", "_foreach_zero_"),
    )
)
#: In place, on a part that only the values of indices or masks tell.
_SCATTERING = frozenset(
    (
        *("index_put_", "_index_put_impl_", "index_copy_", "index_fill_", "index_add_", "scatter_"),
        *("scatter_add_", "scatter_reduce_", "masked_fill_", "masked_scatter_", "put_"),
    )
)
#: Nobody can tell what they give.
_RANDOM = frozenset(
    (
        *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal"),
        *("normal_", "uniform_", "random_", "bernoulli", "bernoulli_", "exponential_", "geometric_"),
        *("log_normal_", "cauchy_", "multinomial"),
    )
)
#: In place, and nothing of the value changes.
_UNTOUCHING = frozenset(
    (
        *("detach_", "requires_grad_", "as_strided_", "t_", "transpose_", "squeeze_"),
        *("unsqueeze_",),
    )
)


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
        """Whether it gives memory that nobody wrote."""
        return self.name in _EMPTY

    @property
    def fresh(self) -> bool:
        """Whether what it gives is new."""
        return not self.writes and not self.out


@contextmanager
def without_values(ledger: Ledger) -> Iterator[None]:
    """What torch does with values in Python: initialisers take the first draw, whatever it is; nothing is pickled."""
    reduce = _Tensor._reduce_ex_internal

    def pickled(tensor: torch.Tensor, protocol: int) -> Any:
        with torch._C.DisableTorchFunction():
            if tensor.is_meta and not ledger.memory(tensor).on_meta:
                raise UntraceableError("the path pickles a tensor")
        return reduce(tensor, protocol)

    with (
        mock.patch.object(torch.nn.init, "_no_grad_trunc_normal_", _drawn),
        mock.patch.object(_Tensor, "_reduce_ex_internal", pickled),
    ):
        yield


def _drawn(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    with torch.no_grad():
        return tensor.normal_()


class Recorder:
    """The modes that one rank's thread runs under, over a ledger that all ranks share."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._claims: Any = Claims(ledger)
        self._records: Any = _Records(ledger)

    def __enter__(self) -> Recorder:
        self._records.__enter__()
        self._claims.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._claims.__exit__(*exception)
        self._records.__exit__(*exception)


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
            _Tensor.device.__get__: self._device,
            _Tensor.is_meta.__get__: self._is_meta,
            _Tensor.is_cpu.__get__: self._is_cpu,
            _Tensor.data.__set__: self._set_data,
            _Tensor.data_ptr: self._data_ptr,
            _Tensor.to: self._to,
            _Tensor.cpu: self._cpu,
            _Tensor.numpy: self._values,
            _Tensor.tolist: self._values,
            _Tensor.__array__: self._values,
            torch.tensor: self._tensor,
        }
        super().__init__()

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        answer = self._answers.get(func)
        if answer is not None:
            return answer(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _here(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor stands on meta only here."""
        return tensor.is_meta and not self._ledger.memory(tensor).on_meta

    def _device(self, func: Any, tensor: torch.Tensor) -> torch.device:
        return _CPU if self._here(tensor) else func(tensor)

    def _is_meta(self, func: Any, tensor: torch.Tensor) -> bool:
        return tensor.is_meta and not self._here(tensor)

    def _is_cpu(self, func: Any, tensor: torch.Tensor) -> bool:
        return self._here(tensor) or bool(func(tensor))

    def _data_ptr(self, func: Any, tensor: torch.Tensor) -> int:
        if not self._here(tensor):
            return int(func(tensor))
        return int(tensor.untyped_storage()._cdata + tensor.storage_offset() * tensor.element_size())

    def _set_data(self, func: Any, tensor: torch.Tensor, value: torch.Tensor) -> None:
        """What came from outside of torch stands on the CPU here, and torch keeps the two apart."""
        if tensor.is_meta == value.is_meta:
            func(tensor, value)
        elif tensor.is_meta:
            func(tensor, twin(self._ledger, value))
        else:
            moved = torch.Tensor._make_subclass(type(tensor), value.detach(), tensor.requires_grad)
            torch._C._swap_tensor_impl(tensor, moved)

    def _cpu(self, func: Any, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return tensor if self._here(tensor) else func(tensor, *args, **kwargs)

    def _to(self, func: Any, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """A move to where the tensor says that it is must give the tensor itself, not a copy."""
        if self._here(tensor):
            if any(_is_on(_META, each) for each in (*args, kwargs.get("device"))):
                asked = [arg for arg in (*args, kwargs.get("dtype")) if isinstance(arg, torch.dtype)]
                return torch.empty_like(tensor, device=_META, dtype=asked[0] if asked else None)
            args = tuple(
                self._claimed(arg) if isinstance(arg, torch.Tensor) else arg for arg in args if not _is_cpu(arg)
            )
            if "other" in kwargs:
                args = (self._claimed(kwargs.pop("other")), *args)
            if _is_cpu(kwargs.get("device")):
                del kwargs["device"]
            asked = [arg for arg in args if not isinstance(arg, bool)]
            if not asked and not kwargs.get("copy") and kwargs.keys() <= {"non_blocking", "copy"}:
                return tensor
        return func(tensor, *args, **kwargs)

    def _claimed(self, other: torch.Tensor) -> torch.Tensor | torch.dtype:
        """What `tensor.to(other)` asks for of a tensor on the CPU."""
        return other.dtype if self._here(other) or other.is_cpu else other

    def _tensor(self, func: Any, data: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(data, torch.Tensor) or not self._here(data):
            return func(data, *args, **kwargs)
        copied = data.detach().clone()
        dtype = kwargs.get("dtype")
        return copied if dtype is None else copied.to(dtype)

    def _values(self, func: Any, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch._C._DisableTorchDispatch():
            known = _known(self._ledger, tensor)
            if known is None and not self._ledger.memory(tensor).on_meta:
                raise UntraceableError(f"the path reads the values of a tensor with {func.__name__}()")
            return func(tensor if known is None else known, *args, **kwargs)


class _Records(TorchDispatchMode):
    """Runs each operator without the data that is not there, and writes down what it makes of where."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ledger = ledger
        self._plans: dict[Any, _Plan] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled here, and the guard against it costs more than the work.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Iterable[Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for kind in types:
            if kind is not torch.Tensor and kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
                raise UntraceableError(f"the path uses tensors of the class {kind.__name__}, which are not followed")
        plan = self._plans.get(func)
        if plan is None:
            if "c10d" in func.namespace:
                raise UntraceableError(f"the path uses a functional collective ({func}), which is not followed")
            plan = self._plans[func] = _plan(func)
        if plan.views:
            result = func(*args, **(kwargs or {}))
            # What Python gives values for enters here.
            return twin(self._ledger, result) if plan.name == "lift_fresh" and not result.is_meta else result
        with torch._C.DisableTorchFunction():
            return self._run(func, plan, args, kwargs or {})

    def _run(self, func: Any, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if plan.name == "set_":
            if len(args) > 1 and isinstance(args[1], torch.UntypedStorage) and args[0].is_meta:
                args = (args[0], _without_data(self._ledger, args[1]), *args[2:])
            elif len(args) > 1 and isinstance(args[1], torch.Tensor) and args[0].is_meta != args[1].is_meta:
                raise UntraceableError("the path gives a tensor the memory of one from outside of torch (set_)")
            return func(*args, **kwargs)
        if plan.name == "resize_":
            return self._resize(func, args, kwargs)
        inputs = _tensors(args, kwargs)
        if not inputs:
            return self._make(func, plan, args, kwargs)
        memories = [self._ledger.memory(tensor) for tensor in inputs]
        device = kwargs.get("device") if plan.takes_device else None
        on_meta = any(memory.on_meta for memory in memories)
        self._refuse(plan, memories, device)
        if device is not None:
            on_meta = device.type == "meta"
        result = None if on_meta else self._with_values(func, plan, args, kwargs, inputs)
        known = result is not None
        if not known:
            result = self._without_values(func, plan, args, kwargs)
        if plan.writes or plan.out:
            self._note_writes(plan, args, kwargs, inputs, known=known)
        self._note_results(plan, result, inputs, on_meta)
        return result

    def _make(self, func: Any, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator that takes no tensor."""
        device = kwargs.get("device")
        on_meta = isinstance(device, torch.device) and device.type == "meta"
        if plan.name == "scalar_tensor" or (plan.name == "full" and not args[0]):
            # Torch makes one of a number that is written to a part of a tensor, where that tensor stands.
            on_meta = False
        origin = UNWRITTEN if plan.empty or on_meta else COMPUTED
        if not plan.takes_device:
            return func(*args, **kwargs)
        try:
            result = func(*args, **(kwargs | {"device": _META, "pin_memory": False}))
        except NotImplementedError:
            result = twin(self._ledger, func(*args, **kwargs))
        if on_meta or plan.name in _RANDOM or result.numel() > _SMALL_NEW:
            self._ledger.enter(result, origin, on_meta=on_meta)
        else:
            values = func(*args, **(kwargs | {"device": _CPU, "pin_memory": False}))
            self._ledger.enter(result, origin, values=values.untyped_storage())
        return result

    def _resize(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a tensor gains by being resized, nobody has written."""
        memory = self._ledger.memory(args[0])
        result = func(*args, **kwargs)
        grown = memory.storage.nbytes()
        if grown > memory.size:
            before, memory.size = memory.size, grown
            memory.spans.append((before, grown, UNWRITTEN))
            if memory.values is not None and memory.values is not memory.storage:
                memory.values.resize_(grown)
        return result

    def _refuse(self, plan: _Plan, memories: Sequence[Memory], device: torch.device | None) -> None:
        """Raise what torch raises where a path moves data that it does not have."""
        if plan.name == "copy_":
            refused = memories[-1].on_meta and not memories[0].on_meta
        else:
            refused = plan.name == "_to_copy" and memories[0].on_meta and device is not None and device.type != "meta"
        if refused:
            raise NotImplementedError("Cannot copy out of meta tensor; no data!")

    def _with_values(
        self, func: Any, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any], inputs: Sequence[torch.Tensor]
    ) -> Any:
        """Compute with the values where all of them are known and few; None where not."""
        if plan.name in _RANDOM:
            return None
        size = 1
        for tensor in inputs:
            size *= max(tensor.numel(), 1)
        if size > _SMALL:
            return None
        known: dict[int, torch.Tensor] = {}
        stands_for: dict[int, torch.Tensor] = {}
        for tensor in inputs:
            value = _known(self._ledger, tensor)
            if value is None:
                return None
            known[id(tensor)] = value
            stands_for[id(value)] = tensor
        if kwargs.get("device") is not None:
            kwargs = kwargs | {"device": _CPU}
        result = func(*_mapped(args, known), **{key: _mapped(value, known) for key, value in kwargs.items()})

        def given(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                return stands_for[id(value)] if id(value) in stands_for else twin(self._ledger, value)
            if isinstance(value, (list, tuple)):
                return type(value)(given(each) for each in value)
            return value

        return given(result)

    def _without_values(self, func: Any, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run on meta; what came from outside of torch takes part as a meta tensor."""
        moved: dict[int, torch.Tensor] = {}
        stands_for: dict[int, torch.Tensor] = {}
        for tensor in _tensors(args, kwargs):
            if not tensor.is_meta:
                shape = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=_META)
                moved[id(tensor)] = shape
                stands_for[id(shape)] = tensor
        if moved:
            args = _mapped(args, moved)
            kwargs = {key: _mapped(value, moved) for key, value in kwargs.items()}
        if kwargs.get("device") is not None:
            kwargs = {key: value for key, value in kwargs.items() if key not in ("pin_memory", "non_blocking")}
            kwargs["device"] = _META
        try:
            result = func(*args, **kwargs)
        except NotImplementedError as error:
            raise UntraceableError(f"the path needs values that only real data has ({plan.name})") from error
        except RuntimeError as error:
            if "meta tensor" not in str(error):
                raise
            raise UntraceableError(f"the path reads the value of a tensor ({plan.name.strip('_')})") from error
        return _mapped(result, stands_for) if stands_for else result

    def _note_writes(
        self,
        plan: _Plan,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: Sequence[torch.Tensor],
        *,
        known: bool,
    ) -> None:
        ledger = self._ledger
        targets = _tensors(
            [args[index] for index in plan.writes if index < len(args)],
            {name: kwargs[name] for name in plan.out if name in kwargs},
        )
        written = {id(tensor) for tensor in targets}
        sources = [tensor for tensor in inputs if id(tensor) not in written]
        if plan.name in _UNTOUCHING:
            return
        if plan.name == "_foreach_copy_":
            for target, source in zip(args[0], args[1], strict=True):
                ledger.memory(target).values = None
                ledger.copy(target, source)
            return
        if not known:
            for target in targets:
                ledger.memory(target).values = None
        if plan.name == "copy_" and sources:
            memory = ledger.memory(targets[0])
            if memory.loaded and not ledger.origin(sources[0]) & CHECKPOINT:
                memory.overwritten_at = _caller()
            ledger.copy(targets[0], sources[0])
            return
        of_sources = _union(ledger, sources)
        for target in targets:
            memory = ledger.memory(target)
            if memory.loaded and not of_sources & CHECKPOINT and memory.overwritten_at is None:
                memory.overwritten_at = _caller()
            if plan.name in _OVERWRITING or plan.out:
                ledger.write(target, joined(of_sources) if sources else COMPUTED)
            elif plan.name in _SCATTERING:
                ledger.write(target, ledger.origin(target) | (_union(ledger, sources[-1:]) or COMPUTED))
            else:
                ledger.write(target, joined(ledger.origin(target) | of_sources))

    def _note_results(self, plan: _Plan, result: Any, inputs: Sequence[torch.Tensor], on_meta: bool) -> None:
        ledger = self._ledger
        origin: int | None = None
        for tensor in _tensors((result,), {}):
            if ledger.knows(tensor) and not plan.fresh:
                continue
            values = ledger.memory(tensor).values if ledger.knows(tensor) else None
            if on_meta or plan.empty:
                ledger.enter(tensor, UNWRITTEN, on_meta=on_meta, values=values)
                continue
            if plan.name in _SHAPED:
                ledger.enter(tensor, COMPUTED, values=values)
                continue
            if origin is None:
                origin = _union(ledger, inputs)
            ledger.enter(tensor, joined(origin), values=values)
            if origin not in (0, UNWRITTEN, COMPUTED, CHECKPOINT):
                self._note_parts(plan, tensor, inputs)

    def _note_parts(self, plan: _Plan, result: torch.Tensor, inputs: Sequence[torch.Tensor]) -> None:
        """Where a copy or a concatenation keeps the parts apart, so does the ledger."""
        if plan.name in ("clone", "_to_copy") and len(inputs) == 1:
            self._ledger.copy(result, inputs[0])
        elif plan.name == "cat" and all(tensor.shape[1:] == result.shape[1:] for tensor in inputs if tensor.numel()):
            start = 0
            for tensor in inputs:
                if tensor.numel():
                    self._ledger.copy(result[start : start + tensor.shape[0]], tensor)
                    start += tensor.shape[0]


def twin(ledger: Ledger, real: torch.Tensor) -> torch.Tensor:
    """A tensor without data that stands for a real one, whose values stay known."""
    storage = _without_data(ledger, real.untyped_storage())
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        shaped = torch.empty(0, dtype=real.dtype, device=_META)
        return shaped.set_(storage, real.storage_offset(), real.shape, real.stride())


def _without_data(ledger: Ledger, values: torch.UntypedStorage) -> torch.UntypedStorage:
    """A meta storage that stands for a real one."""
    if values.device.type == "meta":
        return values
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        bytes_of_it = torch.empty(values.nbytes(), dtype=torch.uint8, device=_META)
    ledger.enter(bytes_of_it, COMPUTED, values=values)
    return bytes_of_it.untyped_storage()


def _known(ledger: Ledger, tensor: torch.Tensor) -> torch.Tensor | None:
    """The values of a tensor as a real one, None where they are not known."""
    values = ledger.memory(tensor).values
    if values is None or not tensor.is_meta:
        return None if values is None else tensor
    real = torch.empty(0, dtype=tensor.dtype, device=_CPU)
    return real.set_(values, tensor.storage_offset(), tensor.shape, tensor.stride())


def _mapped(value: Any, exchange: dict[int, torch.Tensor]) -> Any:
    """The value with some tensors in it exchanged, by their identity."""
    if isinstance(value, torch.Tensor):
        return exchange.get(id(value), value)
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(each, exchange) for each in value)
    return value


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


def _tensors(args: Iterable[Any], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """The tensors among arguments, and in lists among them."""
    found: list[torch.Tensor] = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(each for each in value if isinstance(each, torch.Tensor))
    return found


def _union(ledger: Ledger, tensors: Iterable[torch.Tensor]) -> int:
    origin = 0
    for tensor in tensors:
        origin |= ledger.origin(tensor)
    return origin


def _caller() -> str | None:
    """The line that runs now, of the code that is traced, as `package/file.py:line`."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in ("bufaudit", "torch", "contextlib"):
            return f"{package_path(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _is_cpu(value: Any) -> bool:
    return _is_on(_CPU, value)


def _is_on(device: torch.device, value: Any) -> bool:
    """Whether a value names a device of this type."""
    if isinstance(value, str):
        return value.partition(":")[0] == device.type
    return isinstance(value, torch.device) and value.type == device.type
