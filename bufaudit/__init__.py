"""Finds model state, registered buffers above all, that PyTorch code silently drops."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bufaudit.version import __version__

if TYPE_CHECKING:
    from bufaudit.api import inventory, probe, scan, verify
    from bufaudit.config import Settings, load_settings
    from bufaudit.errors import BufauditError
    from bufaudit.outcomes import ModelReport, PathError, PathReport, ProbeResult, TensorReport, VerifyResult
    from bufaudit.results import Finding, InventoryResult, Registration, Related, ScanResult

_HOMES = {
    "inventory": "api",
    "probe": "api",
    "scan": "api",
    "verify": "api",
    "Settings": "config",
    "load_settings": "config",
    "BufauditError": "errors",
    "ModelReport": "outcomes",
    "PathError": "outcomes",
    "PathReport": "outcomes",
    "ProbeResult": "outcomes",
    "TensorReport": "outcomes",
    "VerifyResult": "outcomes",
    "Finding": "results",
    "InventoryResult": "results",
    "Registration": "results",
    "Related": "results",
    "ScanResult": "results",
}

__all__ = [
    "BufauditError",
    "Finding",
    "InventoryResult",
    "ModelReport",
    "PathError",
    "PathReport",
    "ProbeResult",
    "Registration",
    "Related",
    "ScanResult",
    "Settings",
    "TensorReport",
    "VerifyResult",
    "__version__",
    "inventory",
    "load_settings",
    "probe",
    "scan",
    "verify",
]


def __getattr__(name: str) -> object:
    """Public names are imported when they are first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"bufaudit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted(__all__)
