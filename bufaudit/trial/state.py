"""All tensors of a model, and those of the files of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    import torch

    from bufaudit.outcomes import Kind


class NamedTensor(NamedTuple):
    """A parameter or buffer under one of its names."""

    name: str
    kind: Kind
    tensor: torch.Tensor


def named_state(model: torch.nn.Module) -> Iterator[NamedTensor]:
    """Parameters and both kinds of buffers, module by module; a tied tensor comes under each of its names."""
    for prefix, module in model.named_modules(remove_duplicate=False):
        dot = f"{prefix}." if prefix else ""
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield NamedTensor(dot + name, "parameter", parameter)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                persistent = name not in module._non_persistent_buffers_set
                yield NamedTensor(dot + name, "persistent_buffer" if persistent else "non_persistent_buffer", buffer)


def dtype_name(dtype: torch.dtype) -> str:
    """`float32` for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def read_file_keys(checkpoint: Path) -> set[str]:
    """The keys of all safetensors files of a checkpoint."""
    from safetensors import safe_open

    keys: set[str] = set()
    for file in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            keys.update(opened.keys())
    return keys


def read_file_values(checkpoint: Path, names: Collection[str]) -> dict[str, torch.Tensor]:
    """What the safetensors files of a checkpoint hold under some names."""
    from safetensors import safe_open

    values: dict[str, torch.Tensor] = {}
    for file in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            values |= {key: opened.get_tensor(key) for key in set(opened.keys()) & set(names)}
    return values
