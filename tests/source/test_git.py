"""What changed is what git says changed, and asking runs nothing that the repository configures."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from bufaudit.errors import (
    GitFailedError,
    GitMissingError,
    NoMergeBaseError,
    NotARepositoryError,
    UnknownRefError,
    UnsafeRepositoryError,
)
from bufaudit.source.git import changed_files, repository_root


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No git configuration but the test's own, and no variables of a hook that may be running these tests."""
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=None if env is None else {**os.environ, **env},
    )
    return done.stdout.strip()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def age(folder: Path) -> None:
    """Make files look older than the index, so that their times are trusted."""
    past = time.time() - 1000
    for path in folder.rglob("*.py"):
        os.utime(path, (past, past))
    git(folder, "update-index", "--refresh")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three committed files on branch main."""
    folder = tmp_path / "work tree"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name in ("kept.py", "edited.py", "sub/removed.py"):
        write(folder / name, f"name = {name!r}\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


def names(root: Path, base_ref: str | None = None) -> list[str]:
    return [path.relative_to(root).as_posix() for path in changed_files(root, base_ref)]


def test_nothing_changed(repository: Path) -> None:
    assert changed_files(repository) == []


def test_root_from_below(repository: Path) -> None:
    assert repository_root(repository / "sub") == repository.resolve()


def test_staged_unstaged_and_untracked_files_count(repository: Path) -> None:
    write(repository / "staged.py", "")
    git(repository, "add", "staged.py")
    write(repository / "edited.py", "changed = 1\n")
    write(repository / "new folder/new\nline.py", "")
    assert names(repository) == ["edited.py", "new folder/new\nline.py", "staged.py"]


def test_undecodable_name(repository: Path) -> None:
    path = os.fsencode(repository) + b"/\xff.py"
    with open(path, "wb"):
        pass
    assert changed_files(repository) == [Path(os.fsdecode(path))]


def test_a_change_that_keeps_size_and_time_of_an_untrusted_entry_is_seen(repository: Path) -> None:
    """Within the index's own time stamp, times prove nothing, so contents decide."""
    target = repository / "edited.py"
    status = target.stat()
    target.write_text(target.read_text().replace("edited", "EDITED"))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.utime(repository / ".git/index", ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert names(repository) == ["edited.py"]


def test_a_touched_file_with_the_same_content_did_not_change(repository: Path) -> None:
    age(repository)
    os.utime(repository / "edited.py")
    assert names(repository) == []


def test_sha256_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "repo")
    folder = tmp_path / "repo"
    write(folder / "a.py", "a = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=first")
    os.utime(folder / "a.py", (1, 1))
    assert names(folder) == []
    write(folder / "a.py", "a = 2\n")
    assert names(folder) == ["a.py"]


def test_deleted_files_are_left_out(repository: Path) -> None:
    (repository / "kept.py").unlink()
    git(repository, "rm", "--quiet", "sub/removed.py")
    assert names(repository) == []


def test_renamed_file_counts_under_its_new_name(repository: Path) -> None:
    git(repository, "mv", "kept.py", "renamed.py")
    assert names(repository) == ["renamed.py"]


def test_ignored_files_and_nested_repositories_are_left_out(repository: Path) -> None:
    write(repository / ".gitignore", "made_*.py\n")
    write(repository / "made_1.py", "")
    git(repository, "init", "--quiet", "inner")
    write(repository / "inner/a.py", "")
    assert names(repository) == [".gitignore"]


def test_base_is_where_the_branches_parted(repository: Path) -> None:
    """Changes that happened on the base after the branch left it are none of the branch's."""
    git(repository, "checkout", "--quiet", "-b", "feature")
    write(repository / "feature.py", "")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message=feature")
    git(repository, "checkout", "--quiet", "main")
    write(repository / "kept.py", "changed_on_main = 1\n")
    git(repository, "commit", "--quiet", "--all", "--message=main")
    git(repository, "checkout", "--quiet", "feature")
    write(repository / "edited.py", "in_the_work_tree = 1\n")
    assert names(repository, "main") == ["edited.py", "feature.py"]
    assert names(repository) == ["edited.py"]


def test_before_the_first_commit_all_files_count(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "repo")
    write(tmp_path / "repo/staged.py", "")
    git(tmp_path / "repo", "add", ".")
    write(tmp_path / "repo/untracked.py", "")
    assert names(tmp_path / "repo") == ["staged.py", "untracked.py"]


def test_conflicts_and_files_to_be_added_count(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "-b", "other")
    write(repository / "edited.py", "other = 1\n")
    git(repository, "commit", "--quiet", "--all", "--message=other")
    git(repository, "checkout", "--quiet", "main")
    write(repository / "edited.py", "main = 1\n")
    git(repository, "commit", "--quiet", "--all", "--message=main")
    with pytest.raises(subprocess.CalledProcessError):
        git(repository, "merge", "other")
    assert "edited.py" in git(repository, "ls-files", "--unmerged")
    write(repository / "intended.py", "x = 1\n")
    git(repository, "add", "--intent-to-add", "intended.py")
    assert names(repository) == ["edited.py", "intended.py"]


def test_linked_work_tree(repository: Path) -> None:
    linked = repository.parent / "linked"
    git(repository, "worktree", "add", "--quiet", str(linked))
    write(linked / "edited.py", "changed = 1\n")
    assert repository_root(linked) == linked.resolve()
    assert names(linked) == ["edited.py"]


def test_index_of_a_partial_commit_is_used(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`git commit FILE` shows hooks an index of its own, in which other staged files are not."""
    own = repository / ".git/next-index-1.lock"
    own.write_bytes((repository / ".git/index").read_bytes())
    write(repository / "edited.py", "changed = 1\n")
    git(repository, "rm", "--quiet", "--cached", "kept.py", env={"GIT_INDEX_FILE": str(own)})
    git(repository, "add", "edited.py", env={"GIT_INDEX_FILE": str(own)})
    monkeypatch.setenv("GIT_INDEX_FILE", str(own))
    assert names(repository) == ["edited.py", "kept.py"]


def test_variables_of_another_repository_are_ignored(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook's git exports where its own repository is, which may not be the one asked about."""
    other = repository.parent / "other"
    git(repository.parent, "init", "--quiet", str(other))
    write(other / "foreign.py", "")
    git(other, "add", ".")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    assert repository_root(repository) == repository.resolve()
    assert names(repository) == []


def test_unknown_ref(repository: Path) -> None:
    with pytest.raises(UnknownRefError, match="no commit named nowhere; fetch it first"):
        changed_files(repository, "nowhere")


@pytest.mark.parametrize(
    "ref", ["", "--output=stolen", "--since=yesterday", "-h", "kept.py", "HEAD:kept.py", "main\nHEAD"]
)
def test_what_is_no_ref_is_never_an_option(repository: Path, ref: str) -> None:
    with pytest.raises(UnknownRefError):
        changed_files(repository, ref)
    assert not (repository / "stolen").exists()


def test_unrelated_histories(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--orphan", "unrelated")
    git(repository, "commit", "--quiet", "--message=other root")
    with pytest.raises(NoMergeBaseError, match="shallow clone"):
        changed_files(repository, "main")


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(NotARepositoryError, match="not in a git work tree"):
        repository_root(tmp_path)


def test_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitMissingError, match="not found on PATH"):
        repository_root(tmp_path)


def test_repository_of_somebody_else(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for path in (repository, repository / ".git"):
        os.chown(path, 12345, 12345)
    monkeypatch.setenv("SUDO_UID", "0")
    with pytest.raises(UnsafeRepositoryError, match=r"safe\.directory"):
        repository_root(repository)


def test_broken_repository_is_an_error_with_gits_own_words(repository: Path) -> None:
    (repository / ".git/index").write_bytes(b"no index at all, but long enough for one")
    with pytest.raises(GitFailedError, match=r"git ls-files failed: .*index"):
        changed_files(repository)


def hostile(repository: Path) -> Path:
    """Configure every program that git may start while it looks at a work tree; each leaves a mark when run."""
    marks = repository.parent / "marks"
    marks.mkdir()
    config = repository / ".git/config"

    def program(name: str) -> str:
        path = repository.parent / f"run_{name}.sh"
        # A filter passes its input on; a remote that did would keep git waiting.
        rest = "cat" if name in {"clean", "smudge"} else "exit 1"
        path.write_text(f"#!/bin/sh\ntouch '{marks}/{name}'\n{rest}\n")
        path.chmod(0o755)
        return str(path)

    hooks = repository.parent / "hooks"
    hooks.mkdir()
    hook = Path(program("hook"))
    for name in ("post-index-change", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman", "post-checkout"):
        (hooks / name).write_text(hook.read_text())
        (hooks / name).chmod(0o755)
    settings = {
        "filter.evil.clean": program("clean"),
        "filter.evil.smudge": program("smudge"),
        "filter.evil.required": "true",
        "filter.long.process": program("process"),
        "filter.long.clean": program("clean"),
        "diff.external": program("external"),
        "diff.evil.command": program("driver"),
        "diff.evil.textconv": program("textconv"),
        "core.fsmonitor": program("monitor"),
        "core.hooksPath": str(hooks),
        "core.pager": program("pager"),
        "pager.ls-files": program("pager"),
        "pager.diff-index": program("pager"),
        "core.editor": program("editor"),
        "core.sshCommand": program("ssh"),
        "core.askPass": program("askpass"),
        "core.gitProxy": program("proxy"),
        "core.alternateRefsCommand": program("refs"),
        "credential.helper": f"!{program('credential')}",
        "alias.ls-files": f"!{program('alias')}",
        "alias.diff-index": f"!{program('alias')}",
        "alias.rev-parse": f"!{program('alias')}",
        "merge.evil.driver": program("merge"),
        "gpg.program": program("gpg"),
        "uploadpack.packObjectsHook": program("pack"),
        "protocol.allow": "always",
        "protocol.ext.allow": "always",
        "remote.origin.url": f"ext::{program('remote')}",
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": program("uploadpack"),
        "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
        "extensions.partialClone": "origin",
        "core.repositoryFormatVersion": "1",
        "diff.autoRefreshIndex": "true",
        "core.untrackedCache": "true",
        "submodule.recurse": "true",
        "status.submoduleSummary": "true",
    }
    for name, value in settings.items():
        git(repository, "config", "--file", str(config), name, value)
    return marks


def make_racy(repository: Path) -> None:
    """Give all files and the index one time, so that git itself could only compare contents."""
    now = time.time_ns()
    for path in [*repository.rglob("*.py"), repository / ".git/index"]:
        os.utime(path, ns=(now, now))


def test_nothing_that_the_repository_configures_is_run(repository: Path) -> None:
    write(repository / ".gitattributes", "*.py filter=evil diff=evil merge=evil\nkept.py filter=long\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message=attributes")
    git(repository, "branch", "base")
    marks = hostile(repository)
    status = (repository / "edited.py").stat()
    (repository / "edited.py").write_text("name = 'EDITED.py'\n")
    os.utime(repository / "edited.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    make_racy(repository)
    write(repository / "untracked.py", "")

    assert repository_root(repository) == repository.resolve()
    assert names(repository) == ["edited.py", "untracked.py"]
    assert names(repository, "base") == ["edited.py", "untracked.py"]
    assert list(marks.iterdir()) == []

    # The trap works: git asked the ordinary way falls into it.
    subprocess.run(["git", "-C", repository, "status"], check=False, capture_output=True)
    for options in (["--ext-diff"], ["--no-ext-diff", "--textconv"]):
        command = ["git", "-C", repository, "diff", *options, "--", "edited.py"]
        subprocess.run(command, check=False, capture_output=True)
    assert {"clean", "process", "monitor", "driver", "textconv"} <= {path.name for path in marks.iterdir()}


def test_missing_objects_are_not_fetched(repository: Path) -> None:
    """A partial clone names a remote to fetch from on demand, which may be any program."""
    tree = git(repository, "rev-parse", "HEAD^{tree}")
    marks = hostile(repository)
    (repository / ".git/objects" / tree[:2] / tree[2:]).unlink()

    with pytest.raises(GitFailedError, match="diff-index"):
        changed_files(repository)
    assert list(marks.iterdir()) == []

    quiet = ["-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null"]
    subprocess.run(["git", "-C", repository, *quiet, "cat-file", "-p", tree], check=False, capture_output=True)
    assert [path.name for path in marks.iterdir()] == ["remote"]


def test_asking_writes_nothing(repository: Path) -> None:
    age(repository)
    os.utime(repository / "edited.py")
    before = {path: path.stat().st_mtime_ns for path in (repository / ".git").rglob("*")}
    changed_files(repository)
    assert {path: path.stat().st_mtime_ns for path in (repository / ".git").rglob("*")} == before


def test_a_git_that_never_answers_is_given_up(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "git").write_text("#!/bin/sh\nexec sleep 30\n")
    (slow / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
    monkeypatch.setattr("bufaudit.source.git.TIMEOUT", 0.2)
    with pytest.raises(GitFailedError, match="no answer"):
        repository_root(repository)
