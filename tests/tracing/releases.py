"""Older releases of transformers, each in a folder of its own, for children in which one of them stands first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What `make test` installs beside the newest release.
OLDER = ("5.5.3", "4.57.6")


def run(
    release: str | None, script: Path, *arguments: object, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a script in a child that imports an older release of transformers; None is the one that this process imports.

    Everything else is what this process imports, but for what the release needs in older versions. Skips the test where
    the release is not installed.
    """
    before = [] if release is None else [str(folder_of(release))]
    path = [*before, *(os.path.abspath(entry) for entry in sys.path if entry)]
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def folder_of(release: str) -> Path:
    """Where a release is installed; skips the test where it is not."""
    folder = ROOT / ".venv" / "old" / f"transformers-{release}"
    if not (folder / "transformers").is_dir():
        pytest.skip(f"transformers {release} is not in {folder.relative_to(ROOT)}; make test installs it")
    return folder
