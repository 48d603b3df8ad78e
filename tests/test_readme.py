"""What the README says is so: its output is real, its settings, options, commands and hooks exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
import yaml

import bufaudit
from bufaudit import config
from bufaudit.cli import group
from bufaudit.config import Settings, load_settings
from bufaudit.outcomes import PROBE_OUTCOMES
from bufaudit.report import INVENTORY_FORMATS, PROBE_FORMATS, SCAN_FORMATS

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "leaky_model"
README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"^\| `(?P<key>[a-z-]+)` \| (?:`(?P<default>[^`]+)`|none) \|", re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [match["text"] for match in BLOCK.finditer(README) if match["language"] == language]


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def consoles(*commands: str) -> list[str]:
    """The console blocks that show one of some commands."""
    return [block for block in blocks("console") if block.split()[2] in commands]


def arguments_and_output(block: str) -> tuple[list[str], str]:
    command, _, shown = block.partition("\n")
    prompt, program, *arguments = shlex.split(command)
    assert (prompt, program) == ("$", "bufaudit")
    return arguments, shown


def release_on_path(release: str) -> tuple[Path, ...]:
    """What must stand before site-packages to get a release of transformers; skips the test where it is not there."""
    if version("transformers") == release:
        return ()
    folder = ROOT / ".venv" / "old" / f"transformers-{release}"
    if not folder.is_dir():
        pytest.skip(f"transformers {release} is not installed in {folder.relative_to(ROOT)}")
    return (folder,)


def environment_with(before: Sequence[Path] = ()) -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(map(str, (*before, ROOT)))}


def run(*command: str, cwd: Path = ROOT, before: Sequence[Path] = ()) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment_with(before), capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("block", consoles("scan", "inventory"))
def test_output_is_real(block: str) -> None:
    command, shown = arguments_and_output(block)
    printed = run(sys.executable, "-m", "bufaudit", *command, "--no-cache")
    assert printed == shown, f"put this under {command}:\n\n{printed}"


def test_every_console_block_is_held_to_what_is_printed() -> None:
    assert consoles("scan", "inventory", "probe", "verify") == blocks("console")


@pytest.mark.slow
@pytest.mark.parametrize("block", consoles("probe", "verify"))
def test_output_on_models_is_real(block: str) -> None:
    """Where the block names a release of transformers, with that one."""
    pytest.importorskip("torch")
    command, shown = arguments_and_output(block)
    if command[0] == "verify":
        pytest.importorskip("deepspeed")
    release = re.search(r"transformers ([\d.]+),", shown)
    before = () if release is None else release_on_path(release[1])
    printed = run(sys.executable, "-m", "bufaudit", *command, cwd=EXAMPLE, before=before)
    assert printed == shown, f"put this under {command}:\n\n{printed}"


@pytest.mark.parametrize(("loader", "passes"), [("load_on_ranks_and_broadcast", True), ("load_on_ranks", False)])
def test_the_test_of_a_model_repository_passes_only_where_state_is_kept(loader: str, passes: bool) -> None:
    pytest.importorskip("torch")
    (code,) = (block for block in blocks("python") if "assert_state_kept" in block)
    code = code.replace("load_on_ranks_and_broadcast", loader) + "\ntest_loading_keeps_every_buffer()\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=EXAMPLE, env=environment_with(), capture_output=True, text=True
    )
    assert done.returncode == int(not passes), done.stderr
    assert passes or "leaky_model/layers.py:61" in done.stderr


def test_every_outcome_and_path_of_the_probe_is_explained() -> None:
    explained = re.findall(r"^\| `(\w[\w:-]*)` \|", section("Probe: what a load would lose"), re.MULTILINE)
    assert explained[:4] == ["zero3", "from_pretrained", "params-only", "module:function"]
    assert sorted(explained[4:]) == sorted(PROBE_OUTCOMES)


def test_python_example_prints_what_it_says() -> None:
    (code,) = (block for block in blocks("python") if "import bufaudit" in block)
    (shown,) = blocks("text")
    printed = run(sys.executable, "-c", code.replace("min_confidence", "cache=False, min_confidence"))
    assert printed == shown, f"put this in the text block:\n\n{printed}"


def test_every_setting_is_documented_with_its_default() -> None:
    defaults = Settings(ROOT)
    documented = {match["key"]: match["default"] for match in SETTING.finditer(section("Configuration"))}
    assert documented.keys() == config._KEYS.keys()
    for key, text in documented.items():
        default = getattr(defaults, key.replace("-", "_"))
        if text is None:
            assert default is None, key
        else:
            value = tomllib.loads(f"value = {text}")["value"]
            assert (tuple(value) if isinstance(value, list | dict) else value) == default, key


def test_example_settings_can_be_read(tmp_path: Path) -> None:
    (example,) = (block for block in blocks("toml") if "[tool.bufaudit]" in block)
    (tmp_path / "pyproject.toml").write_text(example, "utf-8")
    assert load_settings(tmp_path).exclude == ("third_party/",)


def test_ruff_is_told_about_our_codes_as_this_repository_does() -> None:
    (example,) = (block for block in blocks("toml") if "[tool.ruff.lint]" in block)
    own = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert tomllib.loads(example)["tool"]["ruff"]["lint"]["external"] == own["tool"]["ruff"]["lint"]["external"]


def test_commands_and_options_exist() -> None:
    context = click.Context(group)
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    options = {name: {o for p in command.params for o in p.opts} for name, command in commands.items() if command}
    used = re.findall(r"^(?:\$ | {4}| *- (?:run: )?)(?:uvx )?bufaudit ([a-z].*)$", README, re.MULTILINE)
    used += re.findall(r"`(?:uvx (?:--from \. )?)?bufaudit ([a-z][^`]*)`", README)
    assert len(used) > 10
    for line in used:
        name, *rest = line.partition("#")[0].split()
        assert name in commands, line
        assert {word for word in rest if word.startswith("--")} <= options[name], line
    every = set.union(*options.values()) | {"--from"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= every


def test_every_output_format_is_named() -> None:
    text = section("Output formats and CI")
    assert all(f"`{name}`" in text for name in (*SCAN_FORMATS, *INVENTORY_FORMATS, *PROBE_FORMATS))


def test_hooks_exist() -> None:
    hooks = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))}
    (example,) = (block for block in blocks("yaml") if block.startswith("repos:"))
    assert set(re.findall(r"- id: (\S+)", example)) == hooks
    (repository,) = yaml.safe_load(example)["repos"]
    assert repository["rev"] == f"v{bufaudit.__version__}"


def test_workflows_are_yaml_that_runs_a_scan() -> None:
    workflows = [yaml.safe_load(block) for block in blocks("yaml")]
    assert sum("bufaudit scan" in str(workflow) for workflow in workflows) == 2


def test_silencing_example_silences(tmp_path: Path) -> None:
    (example,) = (block for block in blocks("python") if "bufaudit: ignore" in block)
    body = "".join(f"    {line}\n" for line in example.splitlines())
    for number, text in enumerate((body, re.sub(r" *# bufaudit.*", "", body))):
        path = tmp_path / f"loading{number}.py"
        path.write_text(f"def load_on_ranks(model, state_dict, rank):\n{text}", "utf-8")
    silenced, plain = (bufaudit.scan([tmp_path / f"loading{n}.py"], cache=False) for n in range(2))
    assert [finding.code for finding in plain.findings] == ["BUF102"]
    assert (silenced.findings, silenced.suppressed) == ((), 1)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https://)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
