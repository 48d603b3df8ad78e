"""Which part of the package may know which: read from its imports, and seen in what a process really loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bufaudit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

PACKAGE = Path(bufaudit.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

#: They know settings and values only.
SMALL = {
    *("baseline", "codec", "collector", "config", "grouping", "outcomes", "patterns", "selection", "torch_state"),
    "version",
}
#: They build and load models.
RUN_TIME = {"headers", "survey", "testing", "tracing", "trial"}

HEAVY = ("torch", "transformers", "safetensors", "deepspeed", "numpy", "libcst", "rich")

#: What each part may not import, at run time or for its types.
FORBIDDEN = {
    "source": (
        "project",
        "checks",
        "fixes",
        "report",
        "session",
        "silencing",
        "findings",
        "inventorying",
        "api",
        "cli",
    ),
    "project": ("checks", "fixes", "report", "session", "silencing", "findings", "inventorying", "api", "cli"),
    "users": ("checks", "fixes", "report", "session", "silencing", "findings", "inventorying", "api", "cli"),
    "restoring": ("checks", "fixes", "report", "session", "silencing", "findings", "inventorying", "api", "cli"),
    "checks": ("fixes", "report", "session", "silencing", "findings", "inventorying", "api", "cli"),
    "inventorying": ("checks", "fixes", "report", "session", "api", "cli"),
    "declarations": ("checks", "fixes", "report", "session", "silencing", "findings", "inventorying", "api", "cli"),
    "silencing": ("fixes", "report", "session", "api", "cli"),
    "findings": ("fixes", "report", "session", "api", "cli"),
    "session": ("fixes", "report", "api", "cli"),
    "api": ("cli",),
    "fixes": ("report", "cli"),
    "report": (
        "source",
        "project",
        "checks",
        "fixes",
        "session",
        "silencing",
        "findings",
        "inventorying",
        "api",
        "cli",
    ),
    "results": ("source", "project", "checks", "fixes", "report", "session", "api", "cli"),
    "errors": ("source", "project", "checks", "fixes", "report", "session", "api", "cli", "results"),
    "catalogue": ("source", "project", "checks", "fixes", "report", "session", "api", "cli"),
}


def part_of(path: Path) -> str:
    """The first module name below the package: `source` for `bufaudit/source/flow.py`, `api` for `bufaudit/api.py`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever in the file, with each imported name below it."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_any(modules: Iterable[str], *, outside: Collection[str] = (), inside: str | None = None) -> list[str]:
    """The imports of some modules, as `file: module`, outside of some parts of the package or inside of one."""
    prefixes = tuple(f"{module}." for module in modules)
    return [
        f"{path.relative_to(PACKAGE).as_posix()}: {name}"
        for path in FILES
        if part_of(path) not in outside and inside in (None, part_of(path))
        for name in imports_of(path)
        if f"{name}.".startswith(prefixes)
    ]


def calls_any(names: Collection[str], *, outside: Collection[str] = ()) -> list[str]:
    """The calls of some plain names, as `file:line: name`."""
    return [
        f"{path.relative_to(PACKAGE).as_posix()}:{node.lineno}: {node.func.id}"
        for path in FILES
        if part_of(path) not in outside
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
    ]


@pytest.mark.parametrize("part", FORBIDDEN)
def test_data_flows_one_way(part: str) -> None:
    """Text to facts to index to findings to report, and never back."""
    assert imports_any((f"bufaudit.{name}" for name in FORBIDDEN[part]), inside=part) == []


def test_every_part_below_the_command_line_has_its_rule() -> None:
    """A new module that nobody thought about would be free to import anything."""
    assert {part_of(path) for path in FILES} - {"__init__", "__main__", "cli"} - SMALL - RUN_TIME <= set(FORBIDDEN)


@pytest.mark.parametrize("part", sorted(SMALL))
def test_settings_and_values_know_no_stage(part: str) -> None:
    stages = ("source", "project", "checks", "fixes", "session", "silencing", "findings", "inventorying", "api", "cli")
    assert imports_any((f"bufaudit.{name}" for name in stages), inside=part) == []


def test_the_static_part_imports_no_torch() -> None:
    """The environment of a hook has none."""
    assert imports_any(("torch", "transformers", "safetensors", "deepspeed", "numpy"), outside=RUN_TIME) == []


def test_only_fixes_import_libcst() -> None:
    assert imports_any(("libcst",), outside={"fixes"}) == []


def test_only_the_source_part_reads_syntax() -> None:
    """A check sees facts, never syntax."""
    assert imports_any(("ast", "tokenize", "symtable"), outside={"source", "fixes"}) == []


def test_only_the_command_line_prints() -> None:
    assert calls_any(("print", "input", "breakpoint"), outside={"cli"}) == []
    assert imports_any(("click", "logging"), outside={"cli"}) == []
    streams = {"stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__"}
    assert imports_any((f"sys.{stream}" for stream in streams), outside={"cli"}) == []
    used = [
        f"{path.relative_to(PACKAGE).as_posix()}:{node.lineno}"
        for path in FILES
        if part_of(path) != "cli"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("sys", stream) for stream in streams}
    ]
    assert used == []


def test_nothing_is_unpickled_or_run() -> None:
    """What comes from a scanned project is data."""
    loaders = (
        "pickle",
        "marshal",
        "shelve",
        "dill",
        "runpy",
        "code",
        "codeop",
        "importlib.util",
        "importlib.machinery",
    )
    assert imports_any(loaders, outside=RUN_TIME) == []
    assert calls_any(("eval", "exec", "compile", "__import__"), outside=RUN_TIME) == []


def test_processes_are_started_in_two_places_only() -> None:
    """Git is asked in one module, workers start in the other."""
    starters = ("subprocess", "concurrent", "multiprocessing", "asyncio", "pty", "os.system", "os.popen", "os.fork")
    found = imports_any(starters, outside=RUN_TIME)
    assert {each.partition(".")[0].replace(".py", "") for each in found} == {"source/git", "source/reading"}
    assert not [each for each in found if each.startswith("source/git") and "subprocess" not in each]
    assert not [each for each in found if each.startswith("source/reading") and "concurrent" not in each]


def loaded_by(script: str, cwd: Path) -> set[str]:
    """The modules that a fresh interpreter has loaded after a script, without those that it has anyway."""
    code = f"import sys\nbefore = set(sys.modules)\n{script}\nimport json\n"
    code += "print('\\n' + json.dumps(sorted(set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    loaded = loaded_by("import bufaudit", tmp_path)
    assert {name for name in loaded if name.startswith("bufaudit")} == {"bufaudit", "bufaudit.version"}
    assert not tops(loaded) & {*HEAVY, "click", "pathspec", "asyncio", "multiprocessing", "concurrent", "subprocess"}


def test_a_scan_of_one_file_loads_only_what_it_needs(tmp_path: Path) -> None:
    """A hook pays for every import at each commit."""
    (tmp_path / "model.py").write_text("def load_checkpoint(model, path):\n    state = torch.load(path)\n"
                                       "    for n, p in model.named_parameters():\n"
                                       "        p.data.copy_(state[n])\n")  # fmt: skip
    script = "from bufaudit.cli import run\nassert run(['scan', 'model.py']) == 1"
    loaded = loaded_by(script, tmp_path)
    unwanted = {*HEAVY, "multiprocessing", "concurrent", "asyncio", "subprocess", "ctypes", "difflib", "xml", "email"}
    assert "bufaudit.checks" in loaded
    assert not tops(loaded) & unwanted
    assert not loaded & {"bufaudit.report.sarif", "bufaudit.report.junit", "bufaudit.cli.inventory", "bufaudit.fixes"}


def test_the_api_loads_no_command_line(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("x = 1\n")
    loaded = loaded_by("import bufaudit\nbufaudit.scan(['model.py'])", tmp_path)
    assert not tops(loaded) & {*HEAVY, "click"}
    assert not {name for name in loaded if name.startswith("bufaudit.cli")}
