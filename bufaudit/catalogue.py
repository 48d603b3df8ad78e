"""The rules as their pages in `rules/` describe them: the only source of a rule's name, severity and words."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from bufaudit.patterns import lazy_pattern
from bufaudit.results import Confidence, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADINGS = (
    "What it finds",
    "Why it matters",
    "Example",
    "Use instead",
    "Fix",
    "When it is fine",
    "References",
)
_FRONT_MATTER = lazy_pattern(r"\A\+\+\+\n(?P<toml>.*?)\n\+\+\+\n(?P<body>.*)\Z", re.DOTALL)
_HEADING = lazy_pattern(r"^## (?P<title>.+)$", re.MULTILINE)
_CODE_BLOCK = lazy_pattern(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)

FixKind = Literal["none", "safe", "unsafe"]


class PageError(ValueError):
    """A rule's page that does not follow the form; the message names the page and what is wrong."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `sections` maps each heading of `HEADINGS` to its Markdown."""

    code: str
    name: str
    family: str
    severity: Severity
    confidence: Confidence
    fix: FixKind
    since: str
    retired: bool
    sections: Mapping[str, str]

    @property
    def summary(self) -> str:
        """The first paragraph of *What it finds*, on one line."""
        return " ".join(self.sections["What it finds"].split("\n\n", 1)[0].split())

    @property
    def url(self) -> str:
        """Where the page can be read online."""
        return f"https://github.com/bufaudit/bufaudit/blob/main/rules/{self.code}.md"

    @property
    def markdown(self) -> str:
        """The page without its front matter."""
        parts = [f"# {self.name} ({self.code})"]
        parts += [f"## {title}\n\n{text}" for title, text in self.sections.items()]
        return "\n\n".join(parts) + "\n"

    def code_blocks(self, heading: str) -> tuple[str, ...]:
        """The Python code blocks under a heading."""
        return tuple(match["code"] for match in _CODE_BLOCK.finditer(self.sections[heading] + "\n"))


def parse_page(text: str, origin: str) -> Rule:
    """A rule's page as a `Rule`.

    Raises `PageError` where front matter or a heading is missing, unknown or out of order.
    """
    import tomllib

    match = _FRONT_MATTER.match(text)
    if match is None:
        raise PageError(f"{origin}: no TOML front matter between two lines of +++")
    try:
        meta = tomllib.loads(match["toml"])
    except tomllib.TOMLDecodeError as error:
        raise PageError(f"{origin}: front matter is not TOML: {error}") from None
    wanted = {"code", "name", "family", "severity", "confidence", "fix", "since"}
    if set(meta) - {"retired"} != wanted:
        raise PageError(f"{origin}: front matter must have exactly {', '.join(sorted(wanted))}")
    for key, choices in (("severity", Severity), ("confidence", Confidence), ("fix", FixKind)):
        if meta[key] not in get_args(choices):
            raise PageError(f"{origin}: {key} must be one of {', '.join(get_args(choices))}")
    pieces = _HEADING.split(match["body"])
    titles = tuple(title.strip() for title in pieces[1::2])
    if titles != HEADINGS:
        raise PageError(f"{origin}: headings must be exactly {', '.join(HEADINGS)}; found {', '.join(titles)}")
    sections = dict(zip(titles, (piece.strip() for piece in pieces[2::2]), strict=True))
    return Rule(**{"retired": False, **meta}, sections=sections)


class _Pages(Mapping[str, Rule]):
    """The rules of a folder of pages by their codes, each page read when somebody asks for its rule."""

    def __init__(self, folder: Path) -> None:
        self._paths = {
            name.removesuffix(".md"): folder / name for name in sorted(os.listdir(folder)) if name.endswith(".md")
        }
        self._read: dict[str, Rule] = {}

    def __getitem__(self, code: str) -> Rule:
        if code not in self._read:
            path = self._paths[code]
            self._read[code] = parse_page(path.read_text("utf-8"), path.name)
        return self._read[code]

    def __contains__(self, code: object) -> bool:
        return code in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


@cache
def rules() -> Mapping[str, Rule]:
    """Every rule by its code, in the order of codes."""
    return _Pages(_folder())


def _folder() -> Path:
    package = Path(__file__).resolve().parent
    installed = package / "rules"
    return installed if installed.is_dir() else package.parent / "rules"
