"""Which part of the package may know which: read from its imports, and seen in what a process really loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bufaudit
from bufaudit.checks import _FAMILIES
from bufaudit.source.facts import FileFacts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

PACKAGE = Path(bufaudit.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

#: They know settings and values only.
SMALL = {
    *("baseline", "codec", "collector", "config", "failures", "grouping", "outcomes", "patterns", "selection"),
    "torch_state",
    "version",
}
#: They build and load models.
RUN_TIME = {"headers", "survey", "testing", "tracing", "trial"}

#: What turns source into findings.
STATIC = (
    *("project", "users", "restoring", "checks", "fixes", "silencing", "findings", "inventorying", "session"),
    "catalogue",
)

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
    "tracing": (*STATIC, "trial", "survey", "testing", "baseline", "report", "api", "cli"),
    "trial": (*STATIC, "survey", "testing", "baseline", "report", "api", "cli"),
    "testing": (*STATIC, "source", "trial", "survey", "api", "cli"),
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
    assert {part_of(path) for path in FILES} - {"__init__", "__main__", "cli"} - SMALL <= set(FORBIDDEN)


@pytest.mark.parametrize("part", sorted(SMALL))
def test_settings_and_values_know_no_stage(part: str) -> None:
    stages = ("source", "project", "checks", "fixes", "session", "silencing", "findings", "inventorying", "api", "cli")
    assert imports_any((f"bufaudit.{name}" for name in stages), inside=part) == []


def test_the_static_part_imports_no_torch() -> None:
    """The environment of a hook has none."""
    assert imports_any(("torch", "transformers", "safetensors", "deepspeed", "numpy"), outside=RUN_TIME) == []


def test_the_static_part_knows_nothing_of_models() -> None:
    """Of what builds and loads them, only the api and the commands know."""
    run_time = (f"bufaudit.{name}" for name in RUN_TIME)
    assert imports_any(run_time, outside={*RUN_TIME, "api", "cli"}) == []


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
    (tmp_path / "model.py").write_text("def load_checkpoint(model, path, rank):\n    state = torch.load(path)\n"
                                       "    if rank == 0:\n        for n, b in model.named_buffers():\n"
                                       "            b.copy_(state[n])\n")  # fmt: skip
    script = "from bufaudit.cli import run\nassert run(['scan', 'model.py']) == 1"
    loaded = loaded_by(script, tmp_path)
    unwanted = {*HEAVY, "multiprocessing", "concurrent", "asyncio", "subprocess", "ctypes", "difflib", "xml", "email"}
    assert "bufaudit.checks" in loaded
    assert not tops(loaded) & unwanted
    assert not loaded & {"bufaudit.report.sarif", "bufaudit.report.junit", "bufaudit.cli.inventory", "bufaudit.fixes"}


def families_in(loaded: set[str]) -> set[str]:
    """The families of checks among loaded modules."""
    return {name.rpartition(".")[2] for name in loaded if name.startswith("bufaudit.checks.")} & set(dict(_FAMILIES))


def test_a_scan_loads_the_families_that_have_facts_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("import torch\n\ndef double(x):  # bufaudit: ignore[BUF101]\n    return 2 * x\n")
    (tmp_path / "drop.py").write_text("def load(model):\n    model.to_empty(device='cuda')\n"
                                      "    model.load_state_dict(torch.load('x'))\n")  # fmt: skip
    (tmp_path / "attribute.py").write_text("import torch\nfrom torch import nn\nclass Net(nn.Module):\n"
                                           "    def __init__(self):\n        super().__init__()\n"
                                           "        self.scale = torch.ones(3)\n"
                                           "    def forward(self, x):\n        return x * self.scale\n")  # fmt: skip
    script = "import bufaudit\nbufaudit.scan([{!r}], cache=False)"
    loaded = {name: families_in(loaded_by(script.format(f"{name}.py"), tmp_path)) for name in ("empty", "attribute")}
    assert loaded == {"empty": set(), "attribute": {"attribute"}}
    of_drop = families_in(loaded_by(script.format("drop.py"), tmp_path))
    assert of_drop >= {"materialise", "sleep"}
    assert not of_drop & {"attribute", "registration", "restore"}


def test_a_clean_file_loads_nothing_that_tells_of_findings(tmp_path: Path) -> None:
    """Most files of a commit are clean; a linter that an editor runs gets them from standard input."""
    (tmp_path / "model.py").write_text("import torch\nx = torch.ones(3)\n")
    unneeded = {"hashlib", "tomllib", "textwrap", "traceback", "tempfile"}
    unneeded |= {f"bufaudit.{name}" for name in ("inventorying", "silencing", "restoring", "users", "baseline")}
    unneeded |= {f"bufaudit.source.{name}" for name in ("mentions", "parts", "git")}
    from_disk = loaded_by("from bufaudit.cli import run\nassert run(['scan', '--no-cache', 'model.py']) == 0", tmp_path)
    assert not from_disk & unneeded
    given = "import io, sys\nsys.stdin = io.TextIOWrapper(io.BytesIO(b'x = 1'))\nfrom bufaudit.cli import run\n"
    from_input = loaded_by(f"{given}assert run(['scan', '--stdin-filename', 'model.py']) == 0", tmp_path)
    assert not from_input & (unneeded | {"bufaudit.source.discovery", "bufaudit.source.ignore"})


def test_every_family_is_asked_about_facts_that_there_are() -> None:
    """A family that is not listed, or whose facts are misspelt, would be silent."""
    modules = {
        path.stem
        for path in (PACKAGE / "checks").glob("*.py")
        if "def check(subject: Subject)" in path.read_text("utf-8")
    }
    assert [name for name, _ in _FAMILIES] == list(dict(_FAMILIES))
    assert set(dict(_FAMILIES)) == modules - {"__init__"}
    assert {fact for _, facts in _FAMILIES for fact in facts} <= {field.name for field in fields(FileFacts)}


@pytest.mark.parametrize("command", ["probe", "verify"])
def test_a_command_on_models_loads_none_of_torch_before_it_runs(command: str, tmp_path: Path) -> None:
    """Its help, and what it says of wrong options, must not take seconds."""
    loaded = loaded_by(f"from bufaudit.cli import run\nrun(['{command}', '--help'])", tmp_path)
    assert f"bufaudit.cli.{command}" in loaded
    assert not tops(loaded) & {*HEAVY}


def test_the_parent_of_a_trial_loads_no_torch(tmp_path: Path) -> None:
    """Models live in child processes only, and the parent must be free to end these."""
    assert not tops(loaded_by("import bufaudit.trial", tmp_path)) & {*HEAVY}


def test_what_a_test_suite_imports_loads_no_torch_by_itself(tmp_path: Path) -> None:
    assert not tops(loaded_by("import bufaudit.testing", tmp_path)) & {*HEAVY, "click"}


def test_the_api_loads_no_command_line(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("x = 1\n")
    loaded = loaded_by("import bufaudit\nbufaudit.scan(['model.py'])", tmp_path)
    assert not tops(loaded) & {*HEAVY, "click"}
    assert not {name for name in loaded if name.startswith("bufaudit.cli")}
