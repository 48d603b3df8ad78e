"""The right files, each once, in a stable order, on real trees with links, pipes and odd names."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from bufaudit.errors import NoPythonFilesError, NoSuchPathError
from bufaudit.source.discovery import SourceFile, discover


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def found(folder: Path, *given: str, **options: object) -> list[str]:
    paths = [folder / name for name in given] or [folder]
    result = discover(paths, **{"root": folder, **options})  # type: ignore[arg-type]
    return [file.path.relative_to(folder).as_posix() for file in result.files]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder that looks like the top of a git work tree."""
    (tmp_path / "repo/.git/info").mkdir(parents=True)
    return tmp_path / "repo"


def test_python_files_in_the_order_of_their_paths(tmp_path: Path) -> None:
    make(tmp_path, "b.py", "a/z.py", "a/b/c.py", "a.py", "a/readme.md", "a/stub.pyi", "a/n.ipynb")
    assert found(tmp_path) == ["a.py", "a/b/c.py", "a/z.py", "b.py"]


def test_paths_keep_the_form_in_which_they_were_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "src/a.py")
    monkeypatch.chdir(tmp_path)
    for given, expected in [(".", "src/a.py"), ("src", "src/a.py"), ("src/../src", "src/../src/a.py")]:
        assert discover([Path(given)], root=tmp_path).files == (SourceFile(Path(expected), named=False),)
    assert discover([tmp_path], root=Path()).files == (SourceFile(tmp_path / "src/a.py", named=False),)


def test_a_named_file_counts_whatever_its_extension(tmp_path: Path) -> None:
    make(tmp_path, "tool", "a.py", "stub.pyi")
    result = discover([tmp_path / "tool", tmp_path / "stub.pyi"], root=tmp_path)
    assert result.files == (SourceFile(tmp_path / "stub.pyi", True), SourceFile(tmp_path / "tool", True))


def test_each_file_once(tmp_path: Path) -> None:
    make(tmp_path, "src/a.py", "src/b.py")
    (tmp_path / "src/0_link.py").symlink_to("b.py")
    (tmp_path / "other").symlink_to("src")
    result = discover(
        [tmp_path, tmp_path / "src", tmp_path / "other", tmp_path / "src/a.py", tmp_path / "other/a.py"], root=tmp_path
    )
    # The named one wins, then the one that is no link.
    assert [(file.path.relative_to(tmp_path).as_posix(), file.named) for file in result.files] == [
        ("other/a.py", True),
        ("other/b.py", False),
    ]


def test_a_file_is_taken_under_its_own_name_rather_than_a_links(tmp_path: Path) -> None:
    make(tmp_path, "real.py")
    (tmp_path / "a_link.py").symlink_to("real.py")
    assert found(tmp_path) == ["real.py"]


def test_linked_files_from_elsewhere_are_read_and_linked_folders_are_not_entered(tmp_path: Path) -> None:
    make(tmp_path, "outside/x.py", "in/a.py")
    (tmp_path / "in/linked.py").symlink_to(tmp_path / "outside/x.py")
    (tmp_path / "in/folder").symlink_to(tmp_path / "outside")
    (tmp_path / "in/folder.py").symlink_to(tmp_path / "outside")
    assert found(tmp_path, "in") == ["in/a.py", "in/linked.py"]
    assert found(tmp_path, "in/folder") == ["in/folder/x.py"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    make(tmp_path, "a/b/x.py")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to("self")
    (tmp_path / "a/self.py").symlink_to("self.py")
    (tmp_path / "a/gone.py").symlink_to("nowhere")
    assert found(tmp_path) == ["a/b/x.py"]
    assert found(tmp_path, "a/b/up/b/up") == ["a/b/up/b/up/b/x.py"]


def test_pipes_and_folders_named_like_files_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "folder.py/a.py")
    os.mkfifo(tmp_path / "pipe.py")
    assert found(tmp_path) == ["folder.py/a.py"]


def test_a_named_pipe_is_left_to_whoever_reads_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    assert found(tmp_path, "pipe.py") == ["pipe.py"]


def test_odd_names(tmp_path: Path) -> None:
    odd = ["a\nb/c d.py", "[q].py", os.fsdecode(b"\xff\xfe.py"), "é.py"]
    make(tmp_path, *odd)
    assert found(tmp_path) == sorted(odd)


# What is left out


def test_built_in_excludes(tmp_path: Path) -> None:
    left_out = [".git", ".tox", "node_modules", "__pycache__", "build", "x.egg-info", ".bufaudit_cache", ".venv"]
    make(tmp_path, "a.py", "build.py", "sub/dist.py", *(f"sub/{folder}/b.py" for folder in left_out))
    assert found(tmp_path) == ["a.py", "build.py", "sub/dist.py"]


def test_virtual_environments_of_any_name(tmp_path: Path) -> None:
    make(tmp_path, "venv/a.py", "my-env/lib/b.py", "my-env/pyvenv.cfg")
    assert found(tmp_path) == ["venv/a.py"]


def test_what_lies_in_an_excluded_folder_can_be_named(repository: Path) -> None:
    """Installed packages are scanned this way."""
    package = "env/lib/site-packages/transformers"
    make(repository, "a.py", "env/pyvenv.cfg", f"{package}/models/m.py", f"{package}/build/b.py", f"{package}/n.py")
    (repository / "env/.gitignore").write_text("*\n")
    (repository / ".gitignore").write_text("n.py\n")
    assert found(repository, package) == [f"{package}/models/m.py", f"{package}/n.py"]
    assert found(repository, f"{package}/build/b.py") == [f"{package}/build/b.py"]


def test_excludes_are_relative_to_the_root(tmp_path: Path) -> None:
    make(tmp_path, "src/gen/a.py", "src/b.py", "gen/c.py", "src/old_b.py")
    assert found(tmp_path, exclude=["src/gen", "old_*"]) == ["gen/c.py", "src/b.py"]
    assert found(tmp_path, "src", exclude=["src/gen", "old_*"]) == ["src/b.py"]
    assert found(tmp_path, "src", root=tmp_path / "src", exclude=["gen"]) == ["src/b.py", "src/old_b.py"]
    assert found(tmp_path, "src", root=tmp_path / "gen", exclude=["src/gen", "/old_b.py"]) == [
        "src/b.py",
        "src/gen/a.py",
        "src/old_b.py",
    ]


def test_a_built_in_exclude_can_be_taken_back(tmp_path: Path) -> None:
    make(tmp_path, "build/a.py", "dist/b.py")
    assert found(tmp_path, exclude=["!build/"]) == ["build/a.py"]


def test_force_exclude_holds_for_named_paths(tmp_path: Path) -> None:
    names = ["gen/deep/a.py", "build/b.py", "env/c.py", "d.py"]
    make(tmp_path, *names, "env/pyvenv.cfg")
    assert found(tmp_path, *names, exclude=["gen"]) == sorted(names)
    assert found(tmp_path, *names, exclude=["gen"], force_exclude=True) == ["d.py"]
    assert found(tmp_path, "gen/deep", "d.py", exclude=["gen"], force_exclude=True) == ["d.py"]
    assert found(tmp_path, "d.py", root=tmp_path / "gen", exclude=["d.py"], force_exclude=True) == []


def test_a_hook_whose_files_are_all_excluded_has_nothing_to_do(tmp_path: Path) -> None:
    make(tmp_path, "build/b.py")
    assert found(tmp_path, "build/b.py", force_exclude=True) == []


# .gitignore


def test_nested_ignore_files_and_negations(repository: Path) -> None:
    make(repository, "a.py", "gen/b.py", "gen/keep.py", "sub/gen/c.py", "sub/d_pb2.py", "sub/own_pb2.py", "sub/x/e.py")
    (repository / ".gitignore").write_text("gen/*\n!gen/keep.py\n*_pb2.py\n/x\n")
    (repository / "sub/.gitignore").write_text("!own_pb2.py\n/gen/\n")
    assert found(repository) == ["a.py", "gen/keep.py", "sub/own_pb2.py", "sub/x/e.py"]
    assert found(repository, "sub") == ["sub/own_pb2.py", "sub/x/e.py"]
    assert "gen/b.py" in found(repository, respect_gitignore=False)


def test_ignore_files_hold_outside_of_repositories_too(tmp_path: Path) -> None:
    make(tmp_path, "a.py", "b.py", "sub/b.py", "sub/c.py")
    (tmp_path / ".gitignore").write_text("b.py\n")
    assert found(tmp_path) == ["a.py", "sub/c.py"]
    assert found(tmp_path, "sub") == ["sub/c.py"]
    # Above the root of the project nothing holds.
    assert found(tmp_path, "sub", root=tmp_path / "sub") == ["sub/b.py", "sub/c.py"]


def test_a_named_file_may_be_ignored(repository: Path) -> None:
    make(repository, "b.py")
    (repository / ".gitignore").write_text("b.py\n")
    assert found(repository, "b.py") == ["b.py"]


def test_info_exclude_of_the_repository(repository: Path) -> None:
    make(repository, "a.py", "b.py", "sub/b.py", "sub/c.py")
    (repository / ".git/info/exclude").write_text("\ufeffb.py\n")
    assert found(repository) == ["a.py", "sub/c.py"]
    assert found(repository, "sub") == ["sub/c.py"]


def test_info_exclude_of_a_linked_work_tree(tmp_path: Path) -> None:
    main, linked = tmp_path / "main", tmp_path / "linked"
    subprocess.run(["git", "init", "--quiet", main], check=True)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", main, *identity, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    subprocess.run(["git", "-C", main, "worktree", "add", "-q", "--detach", linked], check=True)
    (main / ".git/info/exclude").write_text("b.py\n")
    make(linked, "a.py", "b.py")
    assert found(linked) == ["a.py"]


def test_patterns_end_at_a_nested_repository(repository: Path) -> None:
    make(repository, "a.py", "inner/.git/HEAD", "inner/a.py", "inner/b.py")
    (repository / ".gitignore").write_text("a.py\n")
    (repository / "inner/.gitignore").write_text("b.py\n")
    assert found(repository) == ["inner/a.py"]


def test_an_ignore_file_that_is_none_does_no_harm(repository: Path) -> None:
    make(repository, "a.py", "sub/b.py", "sub/sub/c.py")
    os.mkfifo(repository / ".gitignore")
    (repository / "sub/.gitignore").mkdir()
    (repository / "sub/sub/.gitignore").write_bytes(b"\xff\n\0\n[\n" + b"x" * 1000)
    assert found(repository) == ["a.py", "sub/b.py", "sub/sub/c.py"]


def test_an_endless_ignore_file_is_a_warning(repository: Path) -> None:
    make(repository, "a.py")
    (repository / ".gitignore").write_text("a.py\n" * 300_000)
    result = discover([repository], root=repository)
    assert len(result.files) == 1
    assert len(result.warnings) == 1
    assert "was not honoured: it is larger than 1000000 bytes" in result.warnings[0]


# What goes wrong


def test_missing_path_with_the_name_meant(tmp_path: Path) -> None:
    make(tmp_path, "models/loader.py")
    with pytest.raises(NoSuchPathError, match=r"loadr\.py does not exist; did you mean .*models/loader\.py\?$"):
        discover([tmp_path / "models/loadr.py"], root=tmp_path)
    with pytest.raises(NoSuchPathError, match=r"did you mean .*models/loader\.py\?$"):
        discover([tmp_path / "model/loader.py"], root=tmp_path)
    with pytest.raises(NoSuchPathError, match=r"did you mean .*models\?$"):
        discover([tmp_path / "model/other.py"], root=tmp_path)
    with pytest.raises(NoSuchPathError, match=r"quite_other does not exist$"):
        discover([tmp_path / "quite_other"], root=tmp_path)


def test_relative_missing_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "loader.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoSuchPathError, match=r"^loadr\.py does not exist; did you mean loader\.py\?$"):
        discover([Path("loadr.py")], root=tmp_path)


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "gone.py").symlink_to("nowhere")
    (tmp_path / "loop.py").symlink_to("loop.py")
    make(tmp_path, "a.py")
    for name, complaint in [
        ("gone.py", "link that leads nowhere"),
        ("loop.py", "cannot be opened"),
        ("a\0b", r"a\\x00b is no possible path"),
        ("x" * 300, "cannot be opened"),
        ("a.py/b.py", "does not exist"),
    ]:
        with pytest.raises(NoSuchPathError, match=complaint):
            discover([tmp_path / name], root=tmp_path)


def test_names_in_messages_stay_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(NoSuchPathError, match=r"a\\nb\\udcff does not exist"):
        discover([tmp_path / "a\nb\udcff"], root=tmp_path)


def test_nothing_to_look_at_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, "readme.md")
    with pytest.raises(NoPythonFilesError, match=r"^no Python file under \S+$"):
        discover([tmp_path], root=tmp_path)
    with pytest.raises(NoPythonFilesError, match="no path at all"):
        discover([], root=tmp_path)


@pytest.mark.parametrize("left_out", ["build/a.py", "ignored/a.py", "env/a.py"])
def test_nothing_left_over_says_so(tmp_path: Path, left_out: str) -> None:
    make(tmp_path, left_out, "env/pyvenv.cfg")
    (tmp_path / ".gitignore").write_text("ignored/\n")
    with pytest.raises(NoPythonFilesError, match=r"excludes and \.gitignore files left something out"):
        discover([tmp_path], root=tmp_path)


def test_a_folder_that_cannot_be_listed_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing is refused by a stand-in, as no mode stops root."""
    make(tmp_path, "a.py", "locked\n/b.py")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if "locked" in path:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = discover([tmp_path], root=tmp_path)
    assert [file.path.name for file in result.files] == ["a.py"]
    assert len(result.warnings) == 1
    assert result.warnings[0].endswith("locked\\n/ was left out: Permission denied")
    with pytest.raises(NoPythonFilesError, match="was left out: Permission denied"):
        discover([tmp_path / "locked\n"], root=tmp_path)


def test_a_locked_folder(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("no mode stops root")
    make(tmp_path, "a.py", "locked/b.py")
    (tmp_path / "locked").chmod(0)
    try:
        result = discover([tmp_path], root=tmp_path)
        named = discover([tmp_path / "locked/b.py"], root=tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o755)
    assert len(result.files) == len(result.warnings) == 1
    assert named.files == (SourceFile(tmp_path / "locked/b.py", named=True),)


def test_a_named_path_that_may_not_be_looked_at_is_left_to_whoever_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for test runs as root."""
    make(tmp_path, "locked/b.py")
    stat = os.stat

    def refuse(path: os.PathLike[str], **options: bool) -> os.stat_result:
        if os.fspath(path).endswith("b.py"):
            raise PermissionError(13, "Permission denied")
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "lstat", refuse)
    assert found(tmp_path, "locked/b.py") == ["locked/b.py"]


def test_thousands_of_files_take_a_fraction_of_a_second(repository: Path) -> None:
    """The hook's time budget; several times what it takes on a slow machine."""
    for folder in range(60):
        (repository / f"a/b/c/m{folder}").mkdir(parents=True)
        for number in range(40):
            (repository / f"a/b/c/m{folder}/modeling_{number}.py").touch()
    lines = [f"/docs/{number}\nname{number}\n*.ext{number}\n**/tmp{number}/\n" for number in range(40)]
    (repository / ".gitignore").write_text("".join(lines))
    started = time.process_time()
    assert len(discover([repository], root=repository).files) == 2400
    assert time.process_time() - started < 0.5
