"""No network: some configs and models look for backbones or kernels on a hub as soon as they are made."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Where the hub's client and transformers keep what they have read of `HF_HUB_OFFLINE`.
_SWITCHES = (("huggingface_hub.constants", "HF_HUB_OFFLINE"), ("transformers.utils.hub", "_is_offline_mode"))


@contextmanager
def offline() -> Iterator[None]:
    """A context in which nothing is downloaded, and nobody waits for a hub that cannot be reached."""
    with ExitStack() as stack:
        for name, switch in _SWITCHES:
            with suppress(ImportError):
                module = import_module(name)
                if hasattr(module, switch):
                    stack.enter_context(patch.object(module, switch, True))
        yield
