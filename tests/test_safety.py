"""A scan runs nothing of what it scans: no module, no configured program, nothing from a cache that it finds there."""

from __future__ import annotations

import json
import os
import pickle
import re
import stat
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import bufaudit
from bufaudit.codec import to_json
from bufaudit.source.cache import Entry, FactsCache, content_key
from bufaudit.source.reading import facts_of
from bufaudit.version import build_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: BUF302 in line 3.
LEAK = """\
class Average(Callback):
    def update_ema(self, ema_model, model, decay):
        for ema_param, param in zip(ema_model.parameters(), model.parameters()):
            ema_param.lerp_(param, 1.0 - decay)
"""

#: Runs the command line and writes down what the interpreter, and each worker that it forks, does meanwhile.
WATCHED = """\
import json, os, sys

log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def watch(event, arguments):
    if event == "exec":
        shown = [arguments[0].co_filename]
    elif event.startswith(("subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "pty.",
                           "socket.", "ctypes.", "pickle.", "marshal.load", "urllib.", "webbrowser.")):
        shown = [str(argument) for argument in arguments]
    else:
        return
    os.write(log, json.dumps([event, shown]).encode() + b"\\n")

sys.addaudithook(watch)
from bufaudit.cli import run
status = run(sys.argv[2:])
os.write(log, json.dumps(["modules", [
    f"{name}={getattr(module, '__file__', None)}" for name, module in list(sys.modules.items())
]]).encode() + b"\\n")
sys.exit(status)
"""


class Watched:
    """What a scan did, as its audit events tell."""

    def __init__(self, project: Path, log: Path, *arguments: str) -> None:
        self.done = subprocess.run(
            [sys.executable, "-P", "-c", WATCHED, log, "scan", *arguments],
            cwd=project, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        events = [json.loads(line) for line in log.read_text().splitlines()]
        self.modules = next(shown for event, shown in events if event == "modules")
        self.run_files = {shown[0] for event, shown in events if event == "exec"}
        self.programs = [shown for event, shown in events if event == "subprocess.Popen"]
        self.forks = sum(event in ("os.fork", "os.forkpty") for event, _ in events)
        known = ("modules", "exec", "subprocess.Popen", "os.fork")
        self.others = [(event, shown) for event, shown in events if event not in known and event != "marshal.loads"]

    def loaded_from(self, folder: Path) -> list[str]:
        """Modules and code of the process that come from a folder."""
        inside = os.fspath(folder)
        return [name for name in (*self.modules, *self.run_files) if inside in name]


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that whatever runs writes; it lies outside of the project."""
    return tmp_path / "marker"


@pytest.fixture
def project(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of modules that all write the marker when they are imported, with a leak in each."""
    folder = tmp_path / "project"
    package = folder / "package"
    package.mkdir(parents=True)
    hostile = f"open({os.fspath(marker)!r}, 'w').write(__file__)\n"
    names = ("model", "conftest", "sitecustomize", "usercustomize", "setup", "__init__", "__main__")
    # The names of modules that a scan needs itself.
    names += ("click", "rich", "pathspec", "torch", "json", "tokenize", "difflib", "subprocess", "tempfile", "platform")
    for name in names:
        (folder / f"{name}.py").write_text(f"{LEAK}\n{hostile}")
        (package / f"{name}.py").write_text(f"{LEAK}\nimport model\n{hostile}")
    (folder / "pyproject.toml").write_text("[tool.bufaudit]\n")
    for variable in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.chdir(folder)
    return folder


class TestModules:
    def test_nothing_is_imported(self, project: Path, tmp_path: Path, marker: Path) -> None:
        watched = Watched(project, tmp_path / "log", "--output-format=json", "--jobs=1")
        assert json.loads(watched.done.stdout)["summary"]["by_code"] == {"BUF302": 34}
        assert not marker.exists()
        assert watched.loaded_from(project) == []
        assert watched.run_files, "the audit hook saw nothing"
        assert (watched.programs, watched.forks, watched.others) == ([], 0, [])
        assert not [name for name in watched.modules if name.startswith(("torch=", "transformers=", "libcst="))]

    def test_nor_by_workers_which_are_the_only_processes(self, project: Path, tmp_path: Path, marker: Path) -> None:
        for number in range(60):
            (project / f"module_{number}.py").write_text((project / "model.py").read_text())
        watched = Watched(project, tmp_path / "log", "--output-format=json", "--jobs=2")
        assert json.loads(watched.done.stdout)["summary"]["by_code"] == {"BUF302": 94}
        assert not marker.exists()
        assert watched.loaded_from(project) == []
        assert watched.programs == []
        assert watched.forks <= 2
        # Workers send plain values; this is how they come back.
        ours = ("bufaudit.source", "concurrent.futures", "multiprocessing", "builtins", "functools", "_functools")
        assert not [
            each for each in watched.others if each[0] != "pickle.find_class" or not each[1][0].startswith(ours)
        ]

    def test_nor_as_a_module_run_from_within_the_tree(self, project: Path, marker: Path) -> None:
        """`python -m` looks for modules in the current folder first."""
        done = subprocess.run(
            [sys.executable, "-m", "bufaudit", "scan", "--output-format=sariff"],
            cwd=project, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Did you mean 'sarif'?" in done.stderr
        done = subprocess.run([sys.executable, "-m", "bufaudit", "scan"], cwd=project, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (1, b"")
        assert not marker.exists()

    def test_an_inventory_imports_nothing_either(self, project: Path, marker: Path) -> None:
        bufaudit.inventory(["."], cache=False)
        assert not marker.exists()


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(project: Path, tmp_path: Path, marker: Path) -> Path:
    """The project in git, with a configuration that names a program wherever git would run one."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho \"$0 $*\" >> '{marker}'\nexit 1\n")
    program.chmod(0o755)
    git(project, "init", "-q", "-b", "main")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "start")
    (project / ".gitattributes").write_text("*.py filter=evil diff=evil merge=evil\n")
    settings = {
        "filter.evil.clean": program, "filter.evil.smudge": program, "filter.evil.process": program,
        "filter.evil.required": "true",
        "diff.evil.textconv": program, "diff.evil.command": program, "diff.external": program,
        "merge.evil.driver": program,
        "core.fsmonitor": program, "core.pager": program, "core.editor": program, "core.sshCommand": program,
        "core.askPass": program, "core.gitProxy": program, "core.alternateRefsCommand": program,
        "credential.helper": f"!{program}", "gpg.program": program, "sequence.editor": program,
        "interactive.diffFilter": program, "pager.diff-index": program, "pager.ls-files": program,
        "alias.ls-files": f"!{program}", "alias.diff-index": f"!{program}", "alias.merge-base": f"!{program}",
        "alias.rev-parse": f"!{program}", "remote.origin.url": f"ext::{program}", "remote.origin.promisor": "true",
        "remote.origin.uploadpack": program, "extensions.partialClone": "origin", "uploadpack.packObjectsHook": program,
    }  # fmt: skip
    for key, value in settings.items():
        git(project, "config", key, os.fspath(value))
    for hook in ("post-index-change", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman", "post-checkout"):
        path = project / ".git" / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(program.read_text())
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (project / "model.py").write_text(f"{(project / 'model.py').read_text()}\nchanged = True\n")
    (project / "new.py").write_text(LEAK)
    return project


class TestGit:
    def test_the_configuration_is_hostile(self, repository: Path, marker: Path) -> None:
        """What the next test shows means something only if an ordinary git command runs these programs."""
        subprocess.run(["git", "-C", repository, "status"], capture_output=True, check=False)
        assert marker.exists()

    @pytest.mark.parametrize("base", [[], ["--base-ref=main"]], ids=["head", "base-ref"])
    def test_what_a_repository_configures_is_not_run(
        self, repository: Path, tmp_path: Path, marker: Path, base: list[str]
    ) -> None:
        watched = Watched(repository, tmp_path / "log", "--changed-only", "--output-format=json", *base)
        assert [f["path"] for f in json.loads(watched.done.stdout)["findings"]] == ["model.py", "new.py"]
        assert not marker.exists()
        assert watched.programs
        assert all(arguments.startswith("['git', ") for _, arguments, *_ in watched.programs)
        assert (watched.forks, watched.others) == (0, [])

    def test_git_is_not_asked_where_it_need_not_be(self, repository: Path, tmp_path: Path, marker: Path) -> None:
        watched = Watched(repository, tmp_path / "log")
        assert watched.programs == []
        assert not marker.exists()

    def test_a_git_in_the_project_is_not_taken(self, repository: Path, tmp_path: Path, marker: Path) -> None:
        (repository / "git").write_text((tmp_path / "program").read_text())
        (repository / "git").chmod(0o755)
        watched = Watched(repository, tmp_path / "log", "--changed-only", "--exit-zero")
        assert watched.done.returncode == 0
        assert not marker.exists()


class Explosive:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


def header() -> bytes:
    return json.dumps({"bufaudit": 1, "build": build_id()}).encode() + b"\n"


def forge(folder: Path, path: Path, facts: bytes, **fields: object) -> None:
    """A cache whose one entry has a valid checksum and speaks of the file as it is."""
    cache = FactsCache(folder, build_id())
    content = content_key(path.read_bytes())
    entry = {"stamp": None, "content": content, "plain": False, "whole": True, "facts": facts, **fields}
    cache.add(os.fspath(path), Entry(**entry))  # type: ignore[arg-type]
    cache.save()


def scanned(project: Path) -> list[tuple[str, int]]:
    return [(finding.path, finding.line) for finding in bufaudit.scan([project / "model.py"]).findings]


class TestCache:
    """Whatever lies where the cache should be, the findings are those of the source, and nothing else changes."""

    @pytest.fixture
    def folder(self, project: Path) -> Path:
        folder = project / ".bufaudit_cache"
        folder.mkdir()
        return folder

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\0\xff\xfe" * 1000,
            b"{}\n[]\nnull\n",
            b"[" * 200_000,
            b"9" * 200_000,
        ],
        ids=["empty", "binary", "json", "deep", "digits"],
    )
    @pytest.mark.parametrize("with_header", [False, True], ids=["bare", "with-header"])
    def test_damaged(self, project: Path, folder: Path, content: bytes, with_header: bool) -> None:
        lines = content.replace(b"\n", b"\t") if with_header else content
        data = header() + b"x\t" + lines + b"\t" + lines + b"\n" if with_header else content
        (folder / "facts.jsonl").write_bytes(data)
        assert scanned(project) == [("model.py", 3)]

    def test_a_pickle(self, project: Path, folder: Path, marker: Path) -> None:
        data = pickle.dumps(Explosive(marker))
        for content in (
            data,
            header() + data,
            header() + b"0\t" + json.dumps(str(project / "model.py")).encode() + data,
        ):
            for name in ("facts.jsonl", "facts.pickle", "facts.db", "facts"):
                (folder / name).write_bytes(content)
            assert scanned(project) == [("model.py", 3)]
        assert not marker.exists()

    @pytest.mark.parametrize(
        "facts",
        [
            b"null",
            b"[]",
            b"{}",
            b'"text"',
            b"1e400",
            b"NaN",
            b"9" * 10_000,
            b"[" * 100_000 + b"]" * 100_000,
            b"[[],[],[],[],[[1,2,3]],[],[],[],[],null,null]",
            b'[[],[],[],[],[],[],[],[],[[1e400,1,1,[],"line","noqa","",1]],null,null]',
            b'[[["os",{"__reduce__":[]}]],[],[],[],[],[],[],[],[],null,null]',
            b"not json",
            b"",
        ],
        ids=lambda facts: facts[:20].decode() or "empty",
    )
    def test_values_of_other_types_with_a_valid_checksum(self, project: Path, folder: Path, facts: bytes) -> None:
        forge(folder, project / "model.py", facts)
        assert scanned(project) == [("model.py", 3)]

    @pytest.mark.parametrize(
        "stamp",
        [(10**400, 0, 0, 0), (-1, -1, -1, -1), (float("inf"),) * 4, (float("nan"),) * 4, (1,), "text", {"a": 1}],
    )
    def test_stamps_of_other_types(self, project: Path, folder: Path, stamp: object) -> None:
        forge(folder, project / "model.py", b"null", stamp=stamp)
        assert scanned(project) == [("model.py", 3)]

    @pytest.mark.parametrize("position", [99, -1, 10**30])
    def test_facts_that_point_nowhere(self, project: Path, folder: Path, position: int) -> None:
        """Of the right types, and still no facts that reading a file could give."""
        path = project / "model.py"
        written = to_json(facts_of(path.read_bytes())).decode()
        assert '"write"' in written
        forged = re.sub(r'(\["write",\[[\d,]*\],)\[[\d,]+\]', rf"\g<1>[{position}]", written)
        assert forged != written
        forge(folder, path, forged.encode())
        assert scanned(project) == [("model.py", 3)]

    def test_places_outside_of_the_file(self, project: Path, folder: Path) -> None:
        path = project / "model.py"
        facts = facts_of(path.read_bytes())
        (function,) = (each for each in facts.functions if each.walks)
        for line in (-(10**9), 0, 10**18):
            walks = tuple(replace(walk, place=replace(walk.place, line=line)) for walk in function.walks)
            forged = replace(facts, functions=(replace(function, walks=walks),))
            forge(folder, path, to_json(forged))
            (finding,) = bufaudit.scan([path]).findings
            assert finding.excerpt == ""

    def test_an_entry_for_a_file_elsewhere_is_not_followed(self, project: Path, folder: Path, tmp_path: Path) -> None:
        secret = tmp_path / "secret.py"
        secret.write_text(LEAK)
        before = secret.stat()
        for path in (secret, project / ".." / "secret.py", tmp_path):
            cache = FactsCache(folder, build_id())
            cache.add(os.fspath(path), Entry((1, 1, 1, 1), "0" * 32, False, True, b"null"))
            cache.save()
        assert [path for path, _ in scanned(project)] == ["model.py"]
        assert secret.stat().st_mtime_ns == before.st_mtime_ns

    def test_a_link_in_place_of_the_file_is_replaced_and_not_followed(
        self, project: Path, folder: Path, tmp_path: Path
    ) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (folder / "facts.jsonl").symlink_to(victim)
        assert scanned(project) == [("model.py", 3)]
        assert victim.read_text() == "precious"

    def test_a_link_in_place_of_the_folder_is_not_followed(self, project: Path, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "facts.jsonl").write_text("precious")
        (project / ".bufaudit_cache").symlink_to(elsewhere)
        assert scanned(project) == [("model.py", 3)]
        assert (elsewhere / "facts.jsonl").read_text() == "precious"
        assert os.listdir(elsewhere) == ["facts.jsonl"]

    def test_a_folder_in_place_of_the_file(self, project: Path, folder: Path) -> None:
        (folder / "facts.jsonl").mkdir()
        assert scanned(project) == [("model.py", 3)]
        assert os.listdir(folder) == ["facts.jsonl"]

    def test_a_file_in_place_of_the_folder(self, project: Path) -> None:
        (project / ".bufaudit_cache").write_text("a file")
        assert scanned(project) == [("model.py", 3)]
        assert (project / ".bufaudit_cache").read_text() == "a file"

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
    def test_a_pipe_in_place_of_the_file_is_not_waited_for(self, project: Path, folder: Path) -> None:
        os.mkfifo(folder / "facts.jsonl")
        assert scanned(project) == [("model.py", 3)]


class TestSettings:
    @pytest.mark.parametrize(
        "table",
        [
            "select = [\"__import__('os')\"]",
            'plugins = ["model"]',
            'load-plugins = ["model"]',
            'output-format = "model"',
            'baseline = "/dev/zero/x"',
            'per-file-ignores = { "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}" = ["BUF101"] }',
            "jobs = 1" + "0" * 100,
            "select = " + "[" * 5000 + "]" * 5000,
        ],
        ids=["expression", "plugins", "load-plugins", "format", "device", "braces", "jobs", "deep"],
    )
    def test_hostile_ones_are_refused_or_harmless(self, project: Path, marker: Path, table: str) -> None:
        (project / "pyproject.toml").write_text(f"[tool.bufaudit]\n{table}\n")
        done = subprocess.run(
            [sys.executable, "-m", "bufaudit", "scan", "model.py"],
            cwd=project, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
        assert not marker.exists()
