"""What keeps a trial from being held."""

from __future__ import annotations

from bufaudit.errors import BufauditError


class TrialError(BufauditError):
    """A trial cannot be held, or not of this model."""
