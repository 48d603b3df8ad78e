"""What can be wrong with the name of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.errors import BufauditError, printable

if TYPE_CHECKING:
    from pathlib import Path


class TargetError(BufauditError):
    """A name that stands for no model, or options that do not go with it."""


class UnknownTargetError(TargetError):
    """A name that nothing is called by."""

    def __init__(self, what: str, text: str, suggestion: str | None, hint: str = "") -> None:
        hint = hint if suggestion is None else f"did you mean {printable(suggestion)}?"
        super().__init__(f'there is no {what} "{printable(text)}"' + (f"; {hint}" if hint else ""))


class UntrustedCodeError(TargetError):
    """A directory whose model is its own code, which nobody has said may run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"the model in {printable(folder)} is code of its own, which would have to run; read it, and if you trust "
            "it add --trust-remote-code"
        )


class ImportFailureError(TargetError):
    """A module with a model class in it that cannot be imported."""

    def __init__(self, module: str, error: Exception) -> None:
        super().__init__(f"{printable(module)} cannot be imported: {type(error).__name__}: {printable(error)}")
