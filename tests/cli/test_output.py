"""Where reports go and how they look there: pipes, files, terminals wide, narrow and dumb, file names of any bytes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from bufaudit.cli import run
from bufaudit.report import SCAN_FORMATS

from .support import AVERAGE, CLEAN, SAVE, complaint, environment, on_terminal, process, terminal_output, write

if TYPE_CHECKING:
    from pathlib import Path

ESCAPE = "\x1b"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a BUF302 and a BUF201; the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("")
    write(tmp_path, average=AVERAGE, clean=CLEAN, save=SAVE)
    return tmp_path


def shell(script: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a shell script in which `$BUFAUDIT` is the command."""
    env = environment({"BUFAUDIT": f"{sys.executable} -m bufaudit"})
    return subprocess.run(["bash", "-c", script], cwd=cwd, capture_output=True, env=env, timeout=60, check=False)


class TestPipes:
    def test_a_reader_that_leaves_is_no_error(self, project: Path) -> None:
        # More than a pipe holds, so that the write fails and not only the flush at exit.
        for number in range(400):
            write(project, **{f"average_{number:03}": AVERAGE})
        done = shell("$BUFAUDIT scan --output-format=concise | head -1; echo ${PIPESTATUS[0]}", project)
        first, status = done.stdout.decode().splitlines()
        assert first.startswith("average.py:2:5: BUF302")
        assert (status, done.stderr) == ("1", b"")

    def test_a_closed_standard_output_is_told(self, project: Path) -> None:
        done = shell("$BUFAUDIT scan >&-", project)
        assert (done.returncode, done.stderr) == (2, b"bufaudit: cannot write standard output: it is closed\n")

    def test_a_closed_standard_error_does_not_matter(self, project: Path) -> None:
        done = shell("$BUFAUDIT scan --output-format=concise 2>&-", project)
        assert (done.returncode, done.stdout.count(b"\n")) == (1, 2)

    def test_a_closed_standard_input_is_an_empty_file(self, project: Path) -> None:
        assert shell("$BUFAUDIT scan - --stdin-filename=average.py <&-", project).returncode == 0

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
    def test_a_full_disk_is_not_taken_for_findings(self, project: Path) -> None:
        done = shell("$BUFAUDIT scan >/dev/full", project)
        assert done.returncode == 2
        assert done.stderr.startswith(b"bufaudit: cannot write standard output: ")
        assert done.stderr.count(b"\n") == 1

    def test_no_locale_changes_a_byte(self, project: Path) -> None:
        (project / "größe.py").write_text(AVERAGE, "utf-8")
        plain = process("scan", "--output-format=concise", cwd=project, env={"PYTHONUTF8": "1"})
        ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
        other = process("scan", "--output-format=concise", cwd=project, env=ascii_only)
        assert "größe.py".encode() in plain.stdout
        assert plain.stdout.splitlines()[0] == other.stdout.splitlines()[0]
        assert (other.returncode, other.stderr) == (1, b"")


class TestFiles:
    def test_the_report_goes_to_the_file_alone(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["scan", "--output-format=json", "--output-file=report.json"]) == 1
        assert capsys.readouterr().out == ""
        assert len(json.loads((project / "report.json").read_bytes())["findings"]) == 2

    def test_a_dash_is_standard_output(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["scan", "--output-format=json", "-o", "-"]) == 1
        assert len(json.loads(capsys.readouterr().out)["findings"]) == 2
        assert not (project / "-").exists()

    @pytest.mark.parametrize("command", [["scan"], ["inventory", "."], ["rule"]], ids=lambda command: command[0])
    def test_a_missing_folder(self, project: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
        said = complaint(capsys, *command, "--output-file=no/such/report.txt")
        assert said == "bufaudit: cannot write no/such/report.txt: there is no folder no/such\n"

    def test_a_folder_in_the_way(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (project / "folder").mkdir()
        assert complaint(capsys, "scan", "-o", "folder") == "bufaudit: cannot write folder: Is a directory\n"

    def test_colour_stays_out_of_files(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        run(["scan", "--output-file=report.txt"])
        assert ESCAPE not in (project / "report.txt").read_text()


class TestFormats:
    @pytest.mark.parametrize("format", SCAN_FORMATS)
    def test_machine_formats_hold_every_finding_and_nothing_of_a_terminal(self, project: Path, format: str) -> None:
        """Neither colour nor a narrow terminal gets into what a program reads."""
        done = process("scan", f"--output-format={format}", cwd=project, env={"FORCE_COLOR": "1", "COLUMNS": "20"})
        text = done.stdout.decode()
        assert done.returncode == 1
        assert {"BUF302", "BUF201"} == set(re.findall(r"BUF302|BUF201", text))
        assert (ESCAPE in text) == (format == "full")

    def test_they_parse(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def printed(format: str) -> str:
            run(["scan", f"--output-format={format}"])
            return capsys.readouterr().out

        assert json.loads(printed("json"))["summary"]["by_code"] == {"BUF201": 1, "BUF302": 1}
        assert [json.loads(line)["code"] for line in printed("jsonl").splitlines()] == ["BUF302", "BUF201"]
        assert [found["ruleId"] for found in json.loads(printed("sarif"))["runs"][0]["results"]] == ["BUF302", "BUF201"]
        assert len(json.loads(printed("gitlab"))) == 2
        assert len(ElementTree.fromstring(printed("junit")).findall(".//failure")) == 2
        assert [line[:9] for line in printed("github").splitlines()] == ["::warning", "::error f"]

    def test_statistics(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(project, another=AVERAGE)
        assert run(["scan", "--statistics"]) == 1
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert lines[:2] == [["2", "BUF302", "params-only-average"], ["1", "BUF201", "params-only-save"]]

    def test_statistics_in_json(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run(["scan", "--statistics", "--output-format=json"])
        assert len(json.loads(capsys.readouterr().out)["summary"]["statistics"]) == 2


class TestColour:
    def test_on_a_terminal(self, project: Path) -> None:
        status, shown = on_terminal("scan", cwd=project)
        assert status == 1
        assert ESCAPE in shown

    def test_not_in_a_pipe(self, project: Path) -> None:
        assert ESCAPE.encode() not in process("scan", cwd=project).stdout

    @pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}])
    def test_not_where_it_is_unwanted(self, project: Path, env: dict[str, str]) -> None:
        assert ESCAPE not in on_terminal("scan", cwd=project, env=env)[1]

    def test_an_empty_no_color_means_nothing(self, project: Path) -> None:
        """As no-color.org has it."""
        assert ESCAPE in on_terminal("scan", cwd=project, env={"NO_COLOR": ""})[1]

    @pytest.mark.parametrize("command", [["scan"], ["rule", "BUF101"]], ids=lambda command: command[0])
    def test_forced_in_a_pipe(self, project: Path, command: list[str]) -> None:
        assert ESCAPE.encode() in process(*command, cwd=project, env={"FORCE_COLOR": "1"}).stdout


class TestWidth:
    def test_a_narrow_terminal_is_not_overrun(self, project: Path) -> None:
        _, shown = on_terminal("scan", cwd=project, columns=50, env={"NO_COLOR": "1"})
        assert max(map(len, shown.splitlines())) <= 50
        assert "BUF302 params-only-average:" in shown

    def test_a_terminal_too_narrow_for_anything_still_gets_whole_names(self, project: Path) -> None:
        status, shown = on_terminal("scan", cwd=project, columns=5, env={"NO_COLOR": "1"})
        assert status == 1
        assert "average.py:2:5" in shown

    def test_a_terminal_that_does_not_know_its_width(self, project: Path) -> None:
        assert on_terminal("scan", cwd=project, columns=0, env={"NO_COLOR": "1"})[0] == 1


class TestFileNames:
    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            (b"with space.py", "with space.py"),
            (b"[red]bracket[bold].py", "[red]bracket[bold].py"),
            (b"new\nline.py", "new\\nline.py"),
            (b"tab\tescape\x1b[31m.py", "tab\\tescape\\x1b[31m.py"),
            (b"latin-\xe9.py", "latin-\\xe9.py"),
            (b"-dash.py", "-dash.py"),
            (b"%0A::error.py", "%0A::error.py"),
        ],
    )
    def test_any_name(self, project: Path, capsysbinary: pytest.CaptureFixture[bytes], name: bytes, shown: str) -> None:
        (project / "inner").mkdir()
        with open(os.path.join(os.fsencode(project), b"inner", name), "wb") as file:
            file.write(AVERAGE.encode())
        by_name = process("scan", b"inner/" + name, "--output-format=concise", cwd=project)
        assert by_name.stdout.decode().partition(":2:5: ")[0] == f"inner/{shown}"
        assert by_name.stdout.count(b"\n") == 1
        for format in SCAN_FORMATS:
            assert run(["scan", "inner", f"--output-format={format}"]) == 1
            printed = capsysbinary.readouterr()
            assert b"BUF302" in printed.out
            assert ESCAPE.encode() not in printed.out
            assert printed.err == b""

    def test_in_a_message_about_the_run(self, project: Path) -> None:
        done = process("scan", b"miss\ning-\xe9.py", cwd=project)
        assert (done.returncode, done.stderr) == (2, b"bufaudit: miss\\ning-\\udce9.py does not exist\n")

    def test_in_an_inventory(self, project: Path) -> None:
        text = "class Clip(nn.Module):\n    def __init__(self):\n        self.bound = nn.Buffer(torch.zeros(2))\n"
        with open(os.path.join(os.fsencode(project), b"new\nline-\xe9.py"), "wb") as file:
            file.write(text.encode())
        done = process("inventory", ".", "--output-format=csv", cwd=project)
        rows = list(csv.DictReader(io.StringIO(done.stdout.decode(), newline="")))
        assert (done.returncode, [row["name"] for row in rows]) == (0, ["bound"])


class TestProgress:
    """Drawn for a person who waits, and for nobody else."""

    SLOW_READING = textwrap.dedent("""\
        import sys, time
        from bufaudit.source import reading
        from bufaudit.cli import main

        fast = reading.read_source
        reading.read_source = lambda *given, **named: (time.sleep({delay}), fast(*given, **named))[1]
        main(["scan", "--no-cache", "--output-format=concise", *sys.argv[1:]])
    """)

    def command(self, delay: float) -> list[str]:
        return [sys.executable, "-c", self.SLOW_READING.format(delay=delay)]

    def test_after_a_second_and_gone_at_the_end(self, project: Path) -> None:
        status, shown = terminal_output(self.command(0.6), cwd=project, env={"TERM": "xterm"})
        assert status == 1
        assert "reading 2 of 3 files" in shown
        assert "reading 1 of 3 files" not in shown
        last_line = shown[: shown.index("average.py:2")].rpartition("\r")[2]
        assert last_line == "\x1b[K"

    def test_not_before(self, project: Path) -> None:
        assert "reading" not in terminal_output(self.command(0), cwd=project, env={"TERM": "xterm"})[1]

    def test_not_on_a_dumb_terminal(self, project: Path) -> None:
        assert "reading" not in terminal_output(self.command(0.6), cwd=project, env={"TERM": "dumb"})[1]

    def test_not_in_a_log(self, project: Path) -> None:
        done = subprocess.run(self.command(0.6), cwd=project, capture_output=True, env=environment(None), check=False)
        assert (done.returncode, done.stderr) == (1, b"")


class TestInterrupt:
    SCRIPT = "import sys, bufaudit.api, bufaudit.cli; print(1, flush=True); bufaudit.cli.main(sys.argv[1:])"

    def interrupted(self, project: Path, *arguments: str) -> tuple[int, bytes]:
        """Exit status and standard error of a run whose whole process group is interrupted, as a terminal does it."""
        with subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT, *arguments], cwd=project, env=environment(None), start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(0.5)
            os.killpg(child.pid, signal.SIGINT)
            return child.wait(60), child.communicate()[1]

    def test_is_told_in_one_line(self, project: Path) -> None:
        status, said = self.interrupted(project, "scan", "-", "--stdin-filename=x.py")
        assert (status, said.strip()) == (130, b"bufaudit: interrupted")

    def test_workers_stop_in_silence(self, project: Path) -> None:
        """None of them may add a traceback, and no report is written of a part."""
        for number in range(300):
            write(project, **{f"model_{number}": AVERAGE * 200})
        status, said = self.interrupted(project, "scan", "--no-cache", "--jobs=2", "--output-file=report.txt")
        assert (status, said.strip()) == (130, b"bufaudit: interrupted")
        assert not (project / "report.txt").exists()
