"""A user's mistakes: each message says what is wrong and what to do; the command line exits with 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def printable(text: object) -> str:
    """The text on one line, with control characters and undecodable bytes as backslash escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in str(text))


class BufauditError(Exception):
    """The run cannot go on because of something that the user can put right."""


class MissingPackageError(BufauditError):
    """A package that a command needs, and that is not installed or cannot be imported."""

    def __init__(self, command: str, error: ImportError) -> None:
        super().__init__(
            f"{command} needs {printable(error.name or 'a package')}, which cannot be imported ({printable(error)}); "
            f"install it with: pip install 'bufaudit[{command}]'"
        )


class NoSuchPathError(BufauditError):
    """A path given by name that leads nowhere."""

    def __init__(self, path: Path, reason: str = "does not exist", suggestion: str | None = None) -> None:
        hint = "" if suggestion is None else f"; did you mean {printable(suggestion)}?"
        super().__init__(f"{printable(path)} {reason}{hint}")


class NoPythonFilesError(BufauditError):
    """Paths below which there is nothing to look at: an empty run must never read as a clean one."""

    def __init__(self, paths: Sequence[Path], *, left_out: bool, warnings: Sequence[str] = ()) -> None:
        message = f"no Python file under {', '.join(printable(path) for path in paths) or 'no path at all'}"
        if left_out:
            message += (
                "; excludes and .gitignore files left something out: name the files themselves, "
                "or take the pattern away, to have them scanned"
            )
        super().__init__("\n".join((message, *warnings)))


class GitError(BufauditError):
    """Git cannot say what was asked."""


class GitMissingError(GitError):
    """There is no git to ask."""

    def __init__(self) -> None:
        super().__init__("git was not found on PATH; install it, or scan without asking git which files changed")


class NotARepositoryError(GitError):
    """A folder that no git work tree holds."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{printable(path)} is not in a git work tree; run inside one, "
            "or scan without asking git which files changed"
        )


class UnsafeRepositoryError(GitError):
    """A repository that belongs to somebody else, which git refuses to read."""

    def __init__(self, path: Path) -> None:
        shown = printable(path)
        super().__init__(
            f"git refuses to read the repository of {shown}, because somebody else owns it; if you trust it, "
            f"run: git config --global --add safe.directory {shown}"
        )


class UnknownRefError(GitError):
    """A name that stands for no commit."""

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"git knows no commit named {printable(ref)}; fetch it first "
            "(a CI checkout often has one branch only), or name another base"
        )


class NoMergeBaseError(GitError):
    """Two commits whose common history is not here."""

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"HEAD and {printable(ref)} have no common commit here; in a shallow clone, "
            "fetch more history first (git fetch --unshallow)"
        )


class GitFailedError(GitError):
    """A git command that failed for a reason of its own."""

    def __init__(self, command: str, message: str) -> None:
        super().__init__(f"git {command} failed: {printable(message.strip()) or 'it gave no reason'}")
