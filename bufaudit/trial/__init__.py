"""A load path put to reality: real `from_pretrained`, real DeepSpeed ZeRO-3, real ranks on the CPU.

Importing this costs no torch: models live in child processes only.
"""

from __future__ import annotations

from bufaudit.trial.verifying import PATHS, TIMEOUT, Trial, verify, verify_models

__all__ = ["PATHS", "TIMEOUT", "Trial", "verify", "verify_models"]
