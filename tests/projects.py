"""Small projects on disk, indexed."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit.project import Project
from bufaudit.source.reading import FactsStore

if TYPE_CHECKING:
    from pathlib import Path

    from bufaudit.project import Reach


@dataclass(frozen=True, slots=True)
class Sources:
    """A project's folder and its index; files are named relative to the folder."""

    folder: Path
    project: Project

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def find(self, file: str, name: str) -> str | None:
        """`file:Class` for the class that a name stands for, None where the project does not have it."""
        found = self.project.find_class(self.path(file), name)
        return None if found is None else f"{self._relative(found.path)}:{found.fact.name}"

    def lineage(self, file: str, name: str) -> list[str]:
        start = self.project.find_class(self.path(file), name)
        assert start is not None
        return [f"{self._relative(found.path)}:{found.fact.name}" for found in self.project.lineage(start)]

    def foreign_bases(self, file: str, name: str) -> list[str]:
        start = self.project.find_class(self.path(file), name)
        assert start is not None
        return list(self.project.foreign_bases(start))

    def reach(self, file: str, name: str) -> Reach:
        return self.project.reach(self.path(file), name)

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self.folder}/")


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files, their texts without common indentation."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")


def project_of(folder: Path, files: dict[str, str]) -> Sources:
    """Files written to a folder, and the index over them."""
    write(folder, files)
    store = FactsStore()
    return Sources(folder, Project(store.load, store.parts, store.mentions, (str(folder), str(folder / "src"))))
