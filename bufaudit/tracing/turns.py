"""What belongs to a process, and to each rank while ranks share one: put away and brought back with each turn."""

from __future__ import annotations

import os
import sys
from operator import is_
from typing import Any

import torch

#: Modules and classes whose attributes code exchanges for a while, such as initialisers that do nothing.
_PATCHED_MODULES = (
    *("torch", "torch.nn.init", "torch.utils._device"),
    *("torch.nn.modules.activation", "torch.nn.modules.transformer", "torch.nn.modules.linear"),
    *("torch.nn.modules.loss", "torch.nn.modules.batchnorm", "torch.nn.modules.conv"),
    *("torch.nn.modules.normalization", "torch.nn.modules.rnn", "torch.nn.modules.sparse"),
    *("torch.nn.modules.module", "transformers.modeling_utils", "transformers.initialization"),
)
_PATCHED_CLASSES = (("transformers.modeling_utils", "PreTrainedModel"), ("torch.nn.modules.module", "Module"))
_ENVIRONMENT = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
_MISSING = object()


class ProcessState:
    """The state of the process as each rank has changed it; as a context, it leaves the process as it was."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._changes: list[dict[tuple[int, str], Any]] = [{} for _ in range(size)]
        self._dtypes: list[torch.dtype] = []
        self._owners: list[Any] = []
        self._before: list[dict[str, Any]] = []
        self._environment: dict[str, str | None] = {}

    def __enter__(self) -> ProcessState:
        self._owners = [sys.modules[name] for name in _PATCHED_MODULES if name in sys.modules]
        self._owners += [
            getattr(sys.modules[module], name)
            for module, name in _PATCHED_CLASSES
            if hasattr(sys.modules.get(module), name)
        ]
        self._before = [dict(vars(owner)) for owner in self._owners]
        self._dtypes = [torch.get_default_dtype()] * self._size
        self._default = torch.get_default_dtype()
        self._environment = {name: os.environ.get(name) for name in _ENVIRONMENT}
        return self

    def __exit__(self, *exception: object) -> None:
        torch.set_default_dtype(self._default)
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def switch(self, leaving: int | None, arriving: int | None) -> None:
        """Put away what one rank has changed, and bring back what another one had."""
        if leaving == arriving:
            return
        if leaving is not None:
            self._dtypes[leaving] = torch.get_default_dtype()
            self._changes[leaving] = self._put_away()
        if arriving is None:
            return
        torch.set_default_dtype(self._dtypes[arriving])
        for (index, name), value in self._changes[arriving].items():
            _set(self._owners[index], name, value)
        os.environ.update(
            {"RANK": str(arriving), "LOCAL_RANK": str(arriving)}
            | dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(self._size))
        )

    def _put_away(self) -> dict[tuple[int, str], Any]:
        """The attributes that differ from what they were before the ranks began, which they are now again."""
        changes: dict[tuple[int, str], Any] = {}
        for index, (owner, before) in enumerate(zip(self._owners, self._before, strict=True)):
            now = vars(owner)
            # This happens at every turn. Names keep their order, so that where nothing has changed the values tell.
            if len(now) == len(before) and all(map(is_, now.values(), before.values())):
                continue
            for name, value in list(now.items()):
                if before.get(name, _MISSING) is not value:
                    changes[index, name] = value
            for name in before.keys() - now.keys():
                changes[index, name] = _MISSING
        for index, name in changes:
            _set(self._owners[index], name, self._before[index].get(name, _MISSING))
        return changes


def _set(owner: Any, name: str, value: Any) -> None:
    if value is _MISSING:
        if name in vars(owner):
            delattr(owner, name)
    else:
        setattr(owner, name, value)
