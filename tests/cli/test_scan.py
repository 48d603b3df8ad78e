"""`bufaudit scan`: its options, its exit status, what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bufaudit.cli import run

from .support import AVERAGE, BROKEN, CLEAN, LOAD, SAVE, codes, complaint, process, report, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one medium BUF302, one medium BUF201, one low BUF104 and a clean file; the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("")
    write(tmp_path, average=AVERAGE, clean=CLEAN, load=LOAD, save=SAVE)
    return tmp_path


def configure(project: Path, table: str) -> None:
    (project / "pyproject.toml").write_text(f"[tool.bufaudit]\n{table}\n")


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, committed."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git(project, "init", "-q", "-b", "main")
    (project / ".gitignore").write_text(".bufaudit_cache/\n")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "start")
    return project


class TestExitStatus:
    def test_findings_give_1(self, project: Path) -> None:
        assert run(["scan"]) == 1

    def test_a_clean_project_gives_0(self, project: Path) -> None:
        assert run(["scan", "clean.py"]) == 0

    def test_exit_zero_still_reports(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["scan", "--exit-zero", "--output-format=concise"]) == 0
        assert "BUF302" in capsys.readouterr().out

    def test_exit_zero_does_not_hide_that_the_scan_could_not_run(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        complaint(capsys, "scan", "--exit-zero", "missing.py")

    def test_a_mistake_of_our_own_is_not_taken_for_findings(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(*arguments: object, **keywords: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("bufaudit.api.scan", fail)
        assert run(["scan"]) == 2
        assert "please report" in capsys.readouterr().err

    def test_the_process_exits_with_the_status(self, project: Path) -> None:
        statuses = [process("scan", *arguments, cwd=project).returncode for arguments in ((), ("clean.py",), ("x.py",))]
        assert statuses == [1, 0, 2]


class TestRules:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ((), ["BUF302", "BUF201"]),
            (("--select=BUF302",), ["BUF302"]),
            (("--select=params-only-average",), ["BUF302"]),
            (("--select=BUF2",), ["BUF201"]),
            (("--select=BUF2,BUF3",), ["BUF302", "BUF201"]),
            (("--select=BUF2", "--select=BUF302"), ["BUF302", "BUF201"]),
            (("--select= BUF2 , BUF302 ",), ["BUF302", "BUF201"]),
            (("--ignore=BUF302",), ["BUF201"]),
            (("--ignore=params-only-save",), ["BUF302"]),
            (("--ignore=BUF2",), ["BUF302"]),
            (("--select=BUF", "--ignore=BUF2,BUF3"), []),
            (("--select=BUF201", "--ignore=BUF2"), ["BUF201"]),
            (("--min-confidence=low",), ["BUF302", "BUF104", "BUF201"]),
            (("--min-confidence=high",), []),
            (("--select=BUF104",), []),
            (("--select=BUF104", "--min-confidence=low"), ["BUF104"]),
        ],
    )
    def test_selection(
        self, project: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: list[str]
    ) -> None:
        assert codes(capsys, *arguments) == expected


class TestConfiguration:
    def test_settings_come_from_pyproject(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        configure(project, 'select = ["BUF201"]\nmin-confidence = "low"')
        assert codes(capsys) == ["BUF201"]

    def test_the_command_line_comes_before_them(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        configure(project, 'select = ["BUF201"]\noutput-format = "concise"')
        assert codes(capsys, "--select=BUF302") == ["BUF302"]

    def test_output_format_from_pyproject(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        configure(project, 'output-format = "concise"')
        run(["scan", "average.py"])
        assert capsys.readouterr().out.startswith("average.py:2:5: BUF302 ")

    def test_per_file_ignores(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        configure(project, 'per-file-ignores = { "av*.py" = ["BUF3"] }')
        assert codes(capsys) == ["BUF201"]

    def test_found_from_a_subfolder_upwards(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure(project, 'select = ["BUF302"]')
        (project / "inner").mkdir()
        write(project / "inner", average=AVERAGE, save=SAVE)
        monkeypatch.chdir(project / "inner")
        assert codes(capsys) == ["BUF302"]

    def test_the_project_of_the_path_decides_not_the_current_folder(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        configure(project, 'select = ["BUF302"]')
        monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
        assert codes(capsys, project) == ["BUF302"]

    def test_isolated_reads_none(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        configure(project, "no such thing")
        assert codes(capsys, "--isolated") == ["BUF302", "BUF201"]

    def test_another_file_of_settings(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        configure(project, 'select = ["BUF302"]')
        (project / "other.toml").write_text('[tool.bufaudit]\nselect = ["BUF201"]\n')
        assert codes(capsys, "--config=other.toml") == ["BUF201"]


class TestFiles:
    def test_a_folder_and_a_file_in_it_count_the_file_once(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = report(capsys, ".", "average.py", project / "average.py")
        assert [finding["code"] for finding in found["findings"]] == ["BUF302", "BUF201"]
        assert found["summary"]["files"] == 4

    def test_exclude_adds_to_the_settings(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        configure(project, 'exclude = ["save.py"]')
        assert codes(capsys) == ["BUF302"]
        assert codes(capsys, "--exclude=load.py,average.py") == []

    def test_a_named_file_obeys_excludes_only_when_forced(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure(project, 'exclude = ["save.py"]')
        assert codes(capsys, "save.py") == ["BUF201"]
        assert report(capsys, "save.py", "--force-exclude")["summary"] == {"files": 0, "findings": 0, "by_code": {}}

    def test_gitignore(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (project / ".gitignore").write_text("save.py\n")
        assert codes(capsys) == ["BUF302"]
        assert codes(capsys, "--no-respect-gitignore") == ["BUF302", "BUF201"]

    def test_one_worker_or_several_find_the_same(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for number in range(60):
            write(project, **{f"average_{number}": AVERAGE, f"save_{number}": SAVE})
        alone = report(capsys, "--no-cache", "--jobs=1")
        assert len(alone["findings"]) == 122
        assert report(capsys, "--no-cache", "--jobs=3") == alone

    def test_unnamed_broken_file_is_a_warning_and_the_rest_is_scanned(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(project, broken=BROKEN)
        found = [(finding["code"], finding["severity"]) for finding in report(capsys)["findings"]]
        assert found == [("BUF302", "warning"), ("BUF000", "warning"), ("BUF201", "error")]

    def test_named_broken_file_is_an_error(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(project, broken=BROKEN)
        (finding,) = report(capsys, "broken.py")["findings"]
        assert (finding["code"], finding["severity"], finding["line"]) == ("BUF000", "error", 1)

    @pytest.mark.skipif(sys.version_info >= (3, 15), reason="this Python can parse it")
    def test_code_for_a_newer_python_is_left_out_by_name_and_version(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(project, future="lazy import torch\n")
        assert run(["scan", "--select=BUF000"]) == 0
        skipped = capsys.readouterr().err
        assert "future.py" in skipped
        assert "needs a newer Python" in skipped
        assert "3.15" in skipped

    @pytest.mark.skipif(sys.version_info >= (3, 15), reason="this Python can parse it")
    def test_code_for_a_newer_python_given_by_name_is_a_finding_with_the_version(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(project, future="lazy import torch\n")
        (finding,) = report(capsys, "future.py")["findings"]
        assert finding["code"] == "BUF000"
        assert "3.15" in finding["message"]

    def test_paths_and_fingerprints_from_a_subfolder(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Paths are relative to the current folder, fingerprints to the project."""
        inner = project / "inner"
        inner.mkdir()
        write(inner, average=AVERAGE)
        (outside,) = report(capsys, "inner")["findings"]
        monkeypatch.chdir(inner)
        (inside,) = report(capsys)["findings"]
        above = report(capsys, project / "save.py")["findings"]
        assert (outside["path"], inside["path"]) == ("inner/average.py", "average.py")
        assert outside["fingerprint"] == inside["fingerprint"]
        assert [finding["path"] for finding in above] == [str(project / "save.py")]


class TestStandardInput:
    def test_is_read_in_place_of_the_named_file(self, project: Path) -> None:
        arguments = ("scan", "-", "--stdin-filename=clean.py", "--output-format=concise")
        done = process(*arguments, cwd=project, input=AVERAGE.encode())
        assert done.returncode == 1
        assert done.stdout.startswith(b"clean.py:2:5: BUF302 ")

    def test_the_file_need_not_exist_and_obeys_the_settings_of_its_folder(self, project: Path) -> None:
        configure(project, 'per-file-ignores = { "new/*" = ["BUF302"] }')
        done = process("scan", "-", "--stdin-filename=new/thing.py", cwd=project, input=AVERAGE.encode())
        assert (done.returncode, done.stdout) == (0, b"No problems in 1 file.\n")

    def test_knows_the_rest_of_the_project(self, project: Path) -> None:
        write(
            project,
            layers="class Clip(nn.Module):\n    def __init__(self):\n        self.bound = nn.Buffer(torch.zeros(2))\n",
        )
        text = "from layers import Clip\n\n\ndef update(decay):\n    model = Clip()\n    ema = Clip()\n"
        text += (
            "    for slow, fast in zip(ema.parameters(), model.parameters()):\n        slow.lerp_(fast, 1.0 - decay)\n"
        )
        done = process("scan", "--stdin-filename=ema.py", "--output-format=json", cwd=project, input=text.encode())
        (finding,) = json.loads(done.stdout)["findings"]
        assert finding["confidence"] == "high"
        assert [(each["path"], each["line"]) for each in finding["related"]] == [("layers.py", 3)]

    def test_is_named_so_a_broken_one_is_an_error(self, project: Path) -> None:
        arguments = ("scan", "-", "--stdin-filename=x.py", "--output-format=jsonl")
        done = process(*arguments, cwd=project, input=BROKEN.encode())
        assert json.loads(done.stdout)["severity"] == "error"

    def test_obeys_excludes_only_when_forced(self, project: Path) -> None:
        """As a named file does: editors scan what is open, and leave out what the project leaves out."""
        configure(project, 'exclude = ["made/"]')
        arguments = ("scan", "-", "--stdin-filename=made/x.py")
        assert process(*arguments, cwd=project, input=AVERAGE.encode()).returncode == 1
        done = process(*arguments, "--force-exclude", cwd=project, input=AVERAGE.encode())
        assert (done.returncode, done.stdout) == (0, b"No problems in 0 files.\n")

    def test_without_a_name(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "--stdin-filename" in complaint(capsys, "scan", "-")

    def test_among_other_paths(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Files that would not be looked at must not look clean."""
        assert "no other paths" in complaint(capsys, "scan", "--stdin-filename=x.py", "average.py")
        assert "no other paths" in complaint(capsys, "scan", "--stdin-filename=x.py", "-", "average.py")


class TestCache:
    def test_lies_in_the_project_and_changes_nothing(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        cold = report(capsys)
        assert (project / ".bufaudit_cache" / "facts.jsonl").exists()
        assert report(capsys) == cold

    def test_no_cache_writes_none(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        report(capsys, "--no-cache")
        assert not (project / ".bufaudit_cache").exists()

    def test_cache_dir(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        report(capsys, "--cache-dir=kept/here")
        assert (project / "kept" / "here" / "facts.jsonl").exists()
        assert not (project / ".bufaudit_cache").exists()

    def test_a_changed_file_is_read_again(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        report(capsys)
        write(project, average=CLEAN, clean=AVERAGE)
        assert [finding["path"] for finding in report(capsys)["findings"]] == ["clean.py", "save.py"]


class TestBaseline:
    def test_what_it_knows_does_not_count_and_what_is_new_does(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["scan", "--write-baseline=known.json"]) == 0
        assert "2 known findings" in capsys.readouterr().err
        assert run(["scan", "--baseline=known.json"]) == 0
        assert "2 in the baseline" in capsys.readouterr().out
        write(project, new=AVERAGE)
        assert [f["path"] for f in report(capsys, "--baseline=known.json")["findings"]] == ["new.py"]

    def test_moved_lines_stay_known(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run(["scan", "--write-baseline=known.json"])
        write(project, average="import os\n\n\n" + AVERAGE)
        assert codes(capsys, "--baseline=known.json") == []

    def test_holds_from_any_folder(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure(project, 'baseline = "known.json"')
        run(["scan", "--write-baseline=known.json"])
        (project / "inner").mkdir()
        monkeypatch.chdir(project / "inner")
        assert codes(capsys, "..") == []

    def test_writing_does_not_read_the_old_one(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Otherwise what is known already would be forgotten."""
        configure(project, 'baseline = "known.json"')
        for _ in range(2):
            assert run(["scan", "--write-baseline=known.json"]) == 0
        assert codes(capsys) == []

    def test_a_stale_entry_is_told(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run(["scan", "--write-baseline=known.json"])
        write(project, average=CLEAN)
        capsys.readouterr()
        assert run(["scan", "--baseline=known.json"]) == 0
        assert "warning: average.py: BUF302 in update_ema: 1 known, 0 found" in capsys.readouterr().err

    def test_a_part_of_the_project_or_of_the_rules_makes_nothing_stale(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(["scan", "--write-baseline=known.json"])
        for arguments in (["clean.py"], ["--select=BUF101"], ["--min-confidence=high"]):
            capsys.readouterr()
            assert run(["scan", "--baseline=known.json", *arguments]) == 0
            assert capsys.readouterr().err == ""

    def test_missing_or_damaged(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "--write-baseline" in complaint(capsys, "scan", "--baseline=missing.json")
        (project / "bad.json").write_text("[")
        assert "bad.json" in complaint(capsys, "scan", "--baseline=bad.json")
        assert "cannot be written" in complaint(capsys, "scan", "--write-baseline=no/such/folder.json")

    def test_not_written_from_a_part_that_git_chose(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "forget" in complaint(capsys, "scan", "--changed-only", "--write-baseline=known.json")


class TestChangedOnly:
    def test_nothing_changed_is_clean(self, repository: Path) -> None:
        assert run(["scan", "--changed-only"]) == 0

    def test_reports_on_changed_and_untracked_files_only(
        self, repository: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(repository, clean=AVERAGE, new=SAVE)
        found = report(capsys, "--changed-only")
        assert [finding["path"] for finding in found["findings"]] == ["clean.py", "new.py"]
        assert found["summary"]["files"] == 2

    def test_only_below_the_given_paths(self, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(repository, clean=AVERAGE, new=SAVE)
        assert [f["path"] for f in report(capsys, "new.py", "--changed-only")["findings"]] == ["new.py"]

    def test_since_the_merge_base(self, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
        git(repository, "switch", "-q", "-c", "topic")
        write(repository, new=AVERAGE)
        git(repository, "add", ".")
        git(repository, "commit", "-q", "-m", "new")
        assert codes(capsys, "--changed-only") == []
        assert [f["path"] for f in report(capsys, "--changed-only", "--base-ref=main")["findings"]] == ["new.py"]

    def test_from_a_subfolder(
        self, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (repository / "inner").mkdir()
        write(repository / "inner", new=AVERAGE)
        monkeypatch.chdir(repository / "inner")
        assert [f["path"] for f in report(capsys, "--changed-only")["findings"]] == ["new.py"]

    def test_other_files_are_context_all_the_same(self, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(
            repository,
            layers="class Clip(nn.Module):\n    def __init__(self):\n        self.bound = nn.Buffer(torch.zeros(2))\n",
        )
        git(repository, "add", ".")
        git(repository, "commit", "-q", "-m", "layers")
        text = "from layers import Clip\n\n\ndef update(decay):\n    model = Clip()\n    ema = Clip()\n"
        text += (
            "    for slow, fast in zip(ema.parameters(), model.parameters()):\n        slow.lerp_(fast, 1.0 - decay)\n"
        )
        write(repository, ema=text)
        (finding,) = report(capsys, "--changed-only")["findings"]
        assert (finding["path"], finding["confidence"]) == ("ema.py", "high")

    def test_unknown_base(self, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "no-such-branch" in complaint(capsys, "scan", "--changed-only", "--base-ref=no-such-branch")

    def test_outside_a_repository(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "git work tree" in complaint(capsys, "scan", "--changed-only")

    def test_base_ref_alone(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "--changed-only" in complaint(capsys, "scan", "--base-ref=main")


class TestRefusals:
    """Wrong use exits with 2 and says what to do, whatever is wrong."""

    @pytest.mark.parametrize(
        ("arguments", "hint"),
        [
            (("scan", "--select=BUF1O1"), "did you mean BUF101?"),
            (("scan", "--ignore=params-only-laod"), "did you mean params-only-load?"),
            (("scan", "--select=X"), "`bufaudit rule` lists them all"),
            (("scan", "--output-format=sariff"), "Did you mean 'sarif'?"),
            (("scan", "--min-confidence=hihg"), "Did you mean 'high'?"),
            (("scan", "--output-formt=json"), "--output-format"),
            (("scan", "avergae.py"), "did you mean average.py?"),
            (("scan", "--jobs=0"), "--jobs"),
            (("scan", "--jobs=many"), "--jobs"),
            (("scan", "--config=missing.toml"), "missing.toml does not exist"),
            (("scan", "--config=clean.py"), "clean.py has no table [tool.bufaudit]"),
            (("scan", "--isolated", "--config=pyproject.toml"), "no file at all"),
            (("scna",), "did you mean 'scan'?"),
            (("qqq",), "`bufaudit --help` lists them all"),
            (("inventory", "--output-format=jsno"), "Did you mean 'json'?"),
            (("rule", "BUF1011"), "did you mean BUF101?"),
        ],
    )  # fmt: skip
    def test_suggestion(
        self, project: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], hint: str
    ) -> None:
        assert hint in complaint(capsys, *arguments)

    @pytest.mark.parametrize(
        ("table", "hint"),
        [
            ('selct = ["BUF101"]', "did you mean select?"),
            ('select = ["BUF1O1"]', "did you mean BUF101?"),
            ('select = "BUF101"', "expected a list"),
            ('per-file-ignores = { "a.py" = ["BUF9"] }', "BUF9"),
            ('min-confidence = "hihg"', 'did you mean "high"?'),
            ("select = [", "is not TOML"),
        ],
    )
    def test_wrong_settings_name_the_file(
        self, project: Path, capsys: pytest.CaptureFixture[str], table: str, hint: str
    ) -> None:
        configure(project, table)
        said = complaint(capsys, "scan")
        assert hint in said
        assert "pyproject.toml" in said

    def test_no_python_file(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (project / "docs").mkdir()
        (project / "docs" / "index.md").write_text("# Title\n")
        assert "no Python file under docs" in complaint(capsys, "scan", "docs")

    def test_no_rule_left(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Looking for nothing must not read as finding nothing."""
        assert "no rule" in complaint(capsys, "scan", "--select=BUF302", "--ignore=BUF302")

    def test_the_process_shows_no_traceback(self, project: Path) -> None:
        done = process("scan", "--select=BUF1O1", cwd=project)
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr.startswith(b"bufaudit: select: ")
        assert done.stderr.count(b"\n") == 1


class TestHelp:
    def test_no_arguments_print_help(self, project: Path) -> None:
        done = process(cwd=project)
        assert done.returncode == 2
        assert all(name in done.stdout for name in (b"Usage: bufaudit", b"scan", b"inventory", b"rule"))
        assert b"Traceback" not in done.stderr

    @pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("scan", "--help"), ("inventory", "-h")])
    def test_help(self, project: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
        assert run(list(arguments)) == 0
        assert capsys.readouterr().out.startswith("Usage: bufaudit")

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        from bufaudit import __version__

        assert run(["--version"]) == 0
        assert __version__ in capsys.readouterr().out
