"""A setting means one thing wherever it is given, and one that means nothing is an error that says so."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufaudit import config
from bufaudit.catalogue import rules
from bufaudit.config import ConfigError, Settings, UnknownKeyError, WrongValueError, load_settings, override
from bufaudit.selection import UnknownRuleError, ignored_for, selected_codes

EVERY_KEY = """
[tool.bufaudit]
select = ["ALL", "BUF1", "params-only-save"]
ignore = ["BUF301"]
exclude = ["vendored/", "*_pb2.py"]
respect-gitignore = false
min-confidence = "low"
baseline = "ci/known.json"
output-format = "sarif"
jobs = 3
cache = false
cache-dir = "out/cache"
buffer-style = "nn.Buffer"
src = ["lib"]

[tool.bufaudit.per-file-ignores]
"tests/*" = ["BUF1"]
"a.py" = ["one-rank-load", "BUF000"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project at the top of a repository."""
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    return folder


def write(folder: Path, text: str) -> Path:
    """A pyproject.toml with the text."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(text, "utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    """What is said about a pyproject.toml, without its path."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(folder)
    message = str(caught.value)
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


def test_every_key_is_read(project: Path) -> None:
    write(project, EVERY_KEY)
    assert load_settings(project) == Settings(
        root=project,
        select=("ALL", "BUF1", "BUF201"),
        ignore=("BUF301",),
        per_file_ignores=(
            ("tests/*", tuple(code for code in rules() if code.startswith("BUF1"))),
            ("a.py", ("BUF000", "BUF102")),
        ),
        exclude=("vendored/", "*_pb2.py"),
        respect_gitignore=False,
        min_confidence="low",
        baseline=project / "ci/known.json",
        output_format="sarif",
        jobs=3,
        cache=False,
        cache_dir=project / "out/cache",
        buffer_style="nn.Buffer",
        src=("lib",),
    )


def test_every_field_but_the_root_is_a_key_and_the_sample_has_them_all() -> None:
    fields = {field.name.replace("_", "-") for field in dataclasses.fields(Settings)} - {"root"}
    assert set(config._KEYS) == fields
    assert all(f"\n{key} = " in EVERY_KEY or f".{key}]" in EVERY_KEY for key in fields)


def test_defaults_are_values_that_a_file_may_give(project: Path) -> None:
    settings = load_settings(project)
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(Settings)}
    assert settings == Settings(project)
    del values["root"]
    assert override(settings, **values) == settings


def test_ignored_per_file_are_codes_that_selection_can_take_away(project: Path) -> None:
    write(project, '[tool.bufaudit.per-file-ignores]\n"tests/*" = ["ALL"]')
    settings = load_settings(project)
    assert ignored_for("tests/a.py", settings.root, settings.per_file_ignores) == set(rules())
    assert ignored_for("a.py", settings.root, settings.per_file_ignores) == set()


class TestWhereSettingsComeFrom:
    """The nearest table within the repository, and nothing else."""

    def test_file_and_folder_find_the_same(self, project: Path) -> None:
        write(project, "[tool.bufaudit]\njobs = 2")
        (project / "src/deep").mkdir(parents=True)
        (project / "src/deep/model.py").touch()
        expected = Settings(project, jobs=2)
        for start in (project, project / "src/deep", project / "src/deep/model.py", project / "src/not-there.py"):
            assert load_settings(start) == expected

    def test_relative_start_is_below_the_current_folder(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(project, "[tool.bufaudit]\njobs = 2")
        (project / "src").mkdir()
        monkeypatch.chdir(project / "src")
        assert load_settings(Path()) == load_settings(Path("..")) == Settings(project, jobs=2)

    def test_nearest_table_wins_and_files_without_one_are_passed_by(self, project: Path) -> None:
        write(project, "[tool.bufaudit]\njobs = 2")
        write(project / "package", "[tool.ruff]\nline-length = 9")
        assert load_settings(project / "package") == Settings(project, jobs=2)
        write(project / "package", "[tool.bufaudit]\n")
        assert load_settings(project / "package") == Settings(project / "package")

    def test_search_ends_at_the_top_of_a_repository(self, project: Path) -> None:
        write(project.parent, "[tool.bufaudit]\njobs = 2")
        assert load_settings(project) == Settings(project)

    def test_linked_work_tree_is_a_repository_too(self, tmp_path: Path) -> None:
        write(tmp_path, "[tool.bufaudit]\njobs = 2")
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree/.git").write_text("gitdir: elsewhere")
        assert load_settings(tmp_path / "tree") == Settings(tmp_path / "tree")

    def test_without_a_table_the_root_is_the_nearest_project(self, project: Path) -> None:
        (project / "a/b").mkdir(parents=True)
        assert load_settings(project / "a/b").root == project
        write(project / "a", "[project]\nname = 'x'")
        assert load_settings(project / "a/b").root == project / "a"

    def test_without_any_project_the_root_is_the_current_folder(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(project)
        assert config._root([project.parent / "elsewhere"]) == project

    @pytest.mark.parametrize(
        "text",
        [
            "[tool.ruff]\nbroken = ",
            "[tool]\nruff = {}  # not bufaudit",
            "tool = 'bufaudit'",
            '[bufaudit]\nselect = "x"',
        ],
    )
    def test_files_that_say_nothing_to_us_are_no_error(self, project: Path, text: str) -> None:
        write(project, text)
        assert load_settings(project) == Settings(project)

    def test_folder_or_pipe_of_that_name_is_passed_by(self, project: Path) -> None:
        (project / "a/pyproject.toml").mkdir(parents=True)
        os.mkfifo(project / "pyproject.toml")
        assert load_settings(project / "a") == Settings(project)

    def test_isolated_reads_no_file(self, project: Path) -> None:
        write(project, "[tool.bufaudit]\nnonsense = 1")
        assert load_settings(project, isolated=True) == Settings(project)

    def test_byte_order_mark_is_no_part_of_the_text(self, project: Path) -> None:
        write(project, "\ufeff[tool.bufaudit]\njobs = 2")
        assert load_settings(project).jobs == 2


class TestNamedFile:
    """`config` takes the place of the search."""

    def test_pyproject_speaks_for_its_own_folder(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(project, "[tool.bufaudit]\njobs = 2")
        write(project / "other", "[tool.bufaudit]\nbaseline = 'known.json'")
        monkeypatch.chdir(project)
        expected = Settings(project / "other", baseline=project / "other/known.json")
        assert load_settings(project, config=Path("other/pyproject.toml")) == expected

    def test_other_file_speaks_for_the_project_at_hand(self, project: Path, tmp_path: Path) -> None:
        shared = tmp_path / "shared.toml"
        shared.write_text("[tool.bufaudit]\nbaseline = 'known.json'")
        assert load_settings(project, config=shared) == Settings(project, baseline=project / "known.json")

    def test_missing_file_is_an_error(self, project: Path) -> None:
        with pytest.raises(ConfigError, match=r"shared\.toml does not exist"):
            load_settings(project, config=project / "shared.toml")

    def test_file_without_the_table_is_an_error(self, project: Path) -> None:
        path = write(project, "[tool.ruff]")
        with pytest.raises(ConfigError, match=r"pyproject\.toml has no table \[tool\.bufaudit\]"):
            load_settings(project, config=path)

    def test_folder_is_an_error(self, project: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            load_settings(project, config=project)

    def test_named_file_and_no_file_exclude_each_other(self, project: Path) -> None:
        path = write(project, "[tool.bufaudit]")
        with pytest.raises(ConfigError, match="from no file at all"):
            load_settings(project, config=path, isolated=True)


class TestRefusals:
    """Each message names the file, the key, what was expected and what was found."""

    @pytest.mark.parametrize(
        ("key", "hint"),
        [
            ("selct", "did you mean select?"),
            ("per_file_ignores", "did you mean per-file-ignores?"),
            ("min-confidance", "did you mean min-confidence?"),
            ("root", "known are " + ", ".join(config._KEYS)),
        ],
    )
    def test_unknown_key(self, project: Path, key: str, hint: str) -> None:
        message = refusal(project, f"[tool.bufaudit]\n{key} = 1")
        assert message == f': [tool.bufaudit] there is no setting "{key}"; {hint}'

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ('select = "ALL"', 'a list of rule codes, beginnings of codes, or rule names, found the text "ALL"'),
            ("ignore = [101]", "a list of rule codes, beginnings of codes, or rule names, "
                               "found a list that holds the number 101"),
            ("exclude = {}", "a list of patterns, found a table"),
            ("src = [['x']]", "a list of folders, found a list that holds a list"),
            ("cache = 'no'", 'true or false, found the text "no"'),
            ("respect-gitignore = 1", "true or false, found the number 1"),
            ("jobs = 0", "a whole number of at least 1, found the number 0"),
            ("jobs = true", "a whole number of at least 1, found true"),
            ("jobs = 1.5", "a whole number of at least 1, found the number 1.5"),
            (f"cache = 0x{'f' * 9000}", "true or false, found a huge number"),
            ("baseline = ''", 'the path of a file, found the text ""'),
            ("baseline = 2020-01-01", "the path of a file, found a date"),
            ('cache-dir = "a\\u0000b"', 'the path of a folder, found the text "a\\x00b"'),
            ("min-confidence = 'hihg'", 'one of "low", "medium", "high", found the text "hihg"; did you mean "high"?'),
            ("buffer-style = 'Buffer'", 'one of "auto", "nn.Buffer", "register_buffer", '
                                        'found the text "Buffer"; did you mean "nn.Buffer"?'),
            ("output-format = ['json']", 'one of "full", "concise", "json", "jsonl", "sarif", "github", "gitlab", '
                                         '"junit", found a list'),
            ("cache = '" + "x" * 99 + "'", f'true or false, found the text "{"x" * 60}…"'),
        ],
    )  # fmt: skip
    def test_wrong_value(self, project: Path, line: str, expected: str) -> None:
        message = refusal(project, f"[tool.bufaudit]\n{line}")
        key = line.partition(" ")[0]
        assert message == f": [tool.bufaudit] {key}: expected {expected}"

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("per-file-ignores = ['x']", "found a list"),
            ("per-file-ignores = {'a/*' = 'BUF1'}", 'found the text "BUF1" for "a/*"'),
            ("per-file-ignores = {'a/*' = [1]}", 'found a list that holds the number 1 for "a/*"'),
        ],
    )
    def test_wrong_value_for_a_file(self, project: Path, text: str, found: str) -> None:
        message = refusal(project, f"[tool.bufaudit]\n{text}")
        assert message.startswith(": [tool.bufaudit] per-file-ignores: expected a table of file patterns, each with ")
        assert message.endswith(found)

    def test_pattern_that_takes_too_long(self, project: Path) -> None:
        message = refusal(project, f"[tool.bufaudit.per-file-ignores]\n'{'{a,b}' * 9}' = ['BUF101']")
        assert "per-file-ignores: the pattern" in message

    @pytest.mark.parametrize("key", ["select", "ignore", "per-file-ignores"])
    def test_rule_that_does_not_exist(self, project: Path, key: str) -> None:
        value = '["params-only-laod"]'
        message = refusal(
            project, f"[tool.bufaudit]\n{key} = " + (f'{{"a" = {value}}}' if key.startswith("p") else value)
        )
        assert message == (
            f': [tool.bufaudit] {key}: no rule is called "params-only-laod"; did you mean params-only-load?'
        )

    def test_table_that_is_none(self, project: Path) -> None:
        assert refusal(project, "[tool]\nbufaudit = 3") == ": tool.bufaudit: expected a table, found the number 3"

    def test_bad_toml_with_its_line(self, project: Path) -> None:
        message = refusal(project, "[tool.bufaudit]\ncache = true\nselect = ALL\n")
        assert message.startswith(" is not TOML: ")
        assert "line 3" in message

    def test_text_that_is_not_utf_8_with_its_line(self, project: Path) -> None:
        path = write(project, "")
        path.write_bytes(b"[tool.bufaudit]\n# caf\xe9\n")
        with pytest.raises(ConfigError, match="is not TOML: line 2 is not UTF-8"):
            load_settings(project)

    def test_endless_nesting(self, project: Path) -> None:
        assert refusal(project, "[tool.bufaudit]\nselect = " + "[" * 50_000).startswith((" cannot", " is not TOML"))

    def test_control_characters_do_not_reach_the_terminal(self, project: Path) -> None:
        assert refusal(project, '[tool.bufaudit]\n"\\u001b[31m" = 1').isprintable()


class TestOverride:
    """The command line has the last word."""

    BASE = Settings(
        Path("/project"), select=("BUF1", "BUF101"), ignore=("BUF102", "BUF3"), exclude=("old/",), jobs=2, src=("lib",)
    )

    def test_nothing_given_changes_nothing(self) -> None:
        assert override(self.BASE) == self.BASE
        assert override(self.BASE, select=None, cache=None, exclude=None) == self.BASE

    def test_value_replaces(self) -> None:
        given: dict[str, Any] = {
            "cache": False,
            "jobs": 5,
            "src": ["."],
            "min_confidence": "high",
            "output_format": "json",
            "buffer_style": "register_buffer",
            "respect_gitignore": False,
            "per_file_ignores": (("a.py", ("BUF101",)),),
        }
        changed = override(self.BASE, **given)
        assert {name: getattr(changed, name) for name in given} == {**given, "src": (".",)}

    def test_path_stays_relative_to_the_current_folder(self) -> None:
        changed = override(self.BASE, baseline=Path("known.json"), cache_dir="cache")
        assert (changed.baseline, changed.cache_dir) == (Path("known.json"), Path("cache"))
        assert override(self.BASE, baseline=Path("/tmp/known.json")).baseline == Path("/tmp/known.json")

    def test_per_file_ignores_may_be_a_table(self) -> None:
        changed = override(self.BASE, per_file_ignores={"a.py": ["params-only-load"]})
        assert changed.per_file_ignores == (("a.py", ("BUF101",)),)

    def test_excludes_add_up(self) -> None:
        assert override(self.BASE, exclude=["new/"]).exclude == ("old/", "new/")

    def test_select_replaces_and_outdoes_an_equal_ignore(self) -> None:
        changed = override(self.BASE, select=["one-rank-load", "BUF301"])
        assert (changed.select, changed.ignore) == (("BUF102", "BUF301"), ("BUF3",))
        assert selected_codes(rules(), changed.select, changed.ignore) == {"BUF102", "BUF301"}

    def test_select_of_many_leaves_a_more_specific_ignore(self) -> None:
        changed = override(self.BASE, select=["BUF1"])
        assert "BUF102" not in selected_codes(rules(), changed.select, changed.ignore)

    @pytest.mark.parametrize("ignore", ["BUF101", "BUF1", "BUF", "ALL"])
    def test_ignore_adds_up_and_outdoes_the_select_of_the_file(self, ignore: str) -> None:
        changed = override(self.BASE, ignore=[ignore])
        assert changed.ignore == ("BUF102", "BUF3", ignore)
        assert "BUF101" not in selected_codes(rules(), changed.select, changed.ignore)

    def test_ignore_of_a_rule_leaves_the_others(self) -> None:
        changed = override(self.BASE, ignore=["BUF101"])
        before = selected_codes(rules(), self.BASE.select, self.BASE.ignore)
        assert selected_codes(rules(), changed.select, changed.ignore) == before - {"BUF101"}

    def test_both_given_follow_the_usual_rule(self) -> None:
        changed = override(self.BASE, select=["BUF102"], ignore=["BUF1"])
        assert selected_codes(rules(), changed.select, changed.ignore) == {"BUF102"}

    @given(
        st.lists(st.sampled_from(["ALL", "BUF1", "BUF101", "BUF301"])),
        st.lists(st.sampled_from(["ALL", "BUF1", "BUF101", "BUF301"])),
    )
    def test_twice_is_once(self, select: list[str], ignore: list[str]) -> None:
        for given_lists in ({"select": select}, {"ignore": ignore}, {"select": select, "ignore": ignore}):
            once = override(self.BASE, **given_lists)
            twice = override(once, **given_lists)
            assert (twice.select, set(twice.ignore)) == (once.select, set(once.ignore))

    def test_unknown_name_is_refused(self) -> None:
        with pytest.raises(
            UnknownKeyError, match=r'^there is no setting "min_confidense"; did you mean min_confidence'
        ):
            override(self.BASE, min_confidense="low")
        with pytest.raises(UnknownKeyError):
            override(self.BASE, root=Path())

    def test_wrong_value_is_refused(self) -> None:
        with pytest.raises(WrongValueError, match=r"^select: expected a list of .*, found the text"):
            override(self.BASE, select="BUF101")
        with pytest.raises(WrongValueError, match=r"^per_file_ignores: .* found a list that holds the number 1"):
            override(self.BASE, per_file_ignores={1: ["BUF101"]})
        with pytest.raises(ConfigError, match=r'^select: no rule is called "BUF999"'):
            override(self.BASE, select=["BUF999"])


def test_rules_that_settings_name_directly_are_checked_too() -> None:
    with pytest.raises(UnknownRuleError):
        selected_codes(rules(), Settings(Path(), select=("nothing",)).select, ())
