"""Facts are reused only where the code that made them is the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import bufaudit
from bufaudit.version import __version__, build_id

_ASK = "from bufaudit.version import build_id; print(build_id())"


def asked(folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", _ASK], env=environment, cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_version_is_a_release_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_build_changes_with_the_code_that_makes_facts_and_with_nothing_else(tmp_path: Path) -> None:
    package = tmp_path / "bufaudit"
    shutil.copytree(Path(bufaudit.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    before = asked(tmp_path)
    assert before == build_id()
    for unrelated in ("checks/load.py", "api.py"):
        (package / unrelated).write_text((package / unrelated).read_text("utf-8") + "# more\n", "utf-8")
    assert asked(tmp_path) == before
    seen = {before}
    for maker in ("source/flow.py", "source/facts.py", "codec.py"):
        (package / maker).write_text((package / maker).read_text("utf-8") + "# more\n", "utf-8")
        seen.add(asked(tmp_path))
    assert len(seen) == 4
