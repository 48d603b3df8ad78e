"""The rule that CONTRIBUTING.md takes as its example works as it is written there, and the layout is the real one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"CONTRIBUTING.md describes another {path.name}"
    path.write_text(text.replace(old, new), "utf-8")


def test_example_rule_reports_what_its_page_marks(tmp_path: Path) -> None:
    page = re.search(r"^````markdown\n(.*?)^````$", GUIDE, re.MULTILINE | re.DOTALL)
    check = re.search(r'^```python\n("""What buffers.*?)^```$', GUIDE, re.MULTILINE | re.DOTALL)
    assert page is not None
    assert check is not None
    for folder in ("bufaudit", "rules"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "rules" / "BUF999.md").write_text(page[1], "utf-8")
    (tmp_path / "bufaudit" / "checks" / "naming.py").write_text(check[1], "utf-8")
    families = tmp_path / "bufaudit" / "checks" / "__init__.py"
    first = '    ("load", ("functions",)),\n'
    edit(families, first, f'{first}    ("naming", ("registrations",)),\n')
    examples = re.findall(r"^```python\n(.*?)^```$", page[1], re.MULTILINE | re.DOTALL)
    user = tmp_path / "user.py"
    user.write_text("import torch\nfrom torch import nn\n\n" + "\n".join(examples), "utf-8")
    command = [sys.executable, "-m", "bufaudit", "scan", "--no-cache", "--output-format", "concise", "user.py"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    (line,) = (n for n, each in enumerate(user.read_text("utf-8").splitlines(), start=1) if "# expect: BUF999" in each)
    assert [each.split(" ")[:2] for each in done.stdout.splitlines() if "BUF999 " in each] == [
        [f"user.py:{line}:9:", "BUF999"]
    ], done.stdout + done.stderr
    assert done.returncode == 1


def test_layout_names_every_module_and_no_other() -> None:
    layout = GUIDE.partition("\n## Layout\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"^      ([\w.]+/?) ", layout, re.MULTILINE))
    package = ROOT / "bufaudit"
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    # Too small to be worth a line.
    small = {"__init__.py", "__main__.py", "codec.py", "collector.py", "errors.py", "results.py", "version.py"}
    assert named == folders | {path.name for path in package.glob("*.py")} - small


def test_every_script_and_file_that_is_named_exists() -> None:
    for name in re.findall(r"`((?:benchmarks|bufaudit|tests|examples)/[\w./]+)`", GUIDE):
        assert (ROOT / name).exists() or name == "bufaudit/checks/naming.py", name
