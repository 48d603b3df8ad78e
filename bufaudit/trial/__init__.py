"""A load path put to reality: real `from_pretrained`, real DeepSpeed ZeRO-3, real ranks on the CPU.

Importing this costs no torch: models live in child processes only.
"""

from __future__ import annotations

from bufaudit.trial.messages import Subject
from bufaudit.trial.verifying import PATHS, TIMEOUT, MissingPackageError, TrialError, verify_models

__all__ = ["PATHS", "TIMEOUT", "MissingPackageError", "Subject", "TrialError", "verify_models"]
