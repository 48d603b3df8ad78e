"""Problems to findings: the catalogue's words, paths as people read them, the source line, the fingerprint."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit import catalogue
from bufaudit.results import Finding, Related
from bufaudit.source.text import Unreadable, decode, read_source, split_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bufaudit.checks.context import Problem

UNREADABLE = "BUF000"
#: What follows in a line tells no finding from another.
_LONGEST_LINE = 1_000


@dataclass(frozen=True, slots=True)
class Presenter:
    """Turns the problems of a run into findings; `cwd` and `root` are absolute."""

    cwd: str
    root: str

    def findings(self, path: str, problems: Iterable[Problem], content: bytes | None = None) -> Iterator[Finding]:
        """The findings of one file, whose bytes may be given in place of those on disk."""
        problems = tuple(problems)
        lines = source_lines(path, content) if problems else []
        for problem in problems:
            excerpt = lines[problem.place.line - 1] if 1 <= problem.place.line <= len(lines) else ""
            yield self._finding(path, problem, excerpt)

    def shown(self, path: str) -> str:
        """A path as reports give it: relative to the current folder where it lies below it."""
        return _below(path, self.cwd) or path

    def relative(self, path: str) -> str:
        """A path relative to the project's root, with forward slashes, so that it is the same on every machine."""
        return (_below(path, self.root) or path).replace(os.sep, "/")

    def _finding(self, path: str, problem: Problem, excerpt: str) -> Finding:
        rule = catalogue.rules()[problem.code]
        place = problem.place
        unsure = problem.code == UNREADABLE and problem.confidence != "high"
        return Finding(
            code=problem.code,
            name=rule.name,
            severity="warning" if unsure else rule.severity,
            confidence=problem.confidence,
            path=self.shown(path),
            line=place.line,
            column=place.column,
            end_line=place.end_line,
            end_column=place.end_column,
            message=problem.message,
            symbol=problem.symbol,
            fingerprint=_fingerprint(problem.code, self.relative(path), problem.symbol, excerpt),
            related=tuple(Related(self.shown(note.path), note.line, note.message) for note in problem.notes),
            excerpt=excerpt,
        )


def source_lines(path: str, content: bytes | None = None) -> list[str]:
    """The lines of a file, none where it cannot be read; its bytes may be given in place of those on disk."""
    data = read_source(path) if content is None else content
    text = data if isinstance(data, Unreadable) else decode(data)
    return [] if isinstance(text, Unreadable) else split_lines(text)


def _below(path: str, folder: str) -> str | None:
    prefix = folder if folder.endswith(os.sep) else folder + os.sep
    return path[len(prefix) :] if path.startswith(prefix) else None


def _fingerprint(code: str, path: str, symbol: str, line: str) -> str:
    # Nobody else needs it: most runs find nothing, and it takes longer to load than a file to check.
    from hashlib import blake2b

    text = "\0".join((code, path, symbol, "".join(line[:_LONGEST_LINE].split())))
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
