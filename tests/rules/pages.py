"""The code blocks of the rule pages, and what their marks promise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import bufaudit
from bufaudit.catalogue import HEADINGS, rules
from bufaudit.results import Confidence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bufaudit.results import Finding

_CODES = r"[A-Z]{3}\d{3}(?:, [A-Z]{3}\d{3})*"
_EXPECT = re.compile(rf"# expect: (?P<codes>{_CODES})$")
_KNOWN_MISS = re.compile(rf"# known miss: (?P<codes>{_CODES})$")
_MIN_CONFIDENCE = re.compile(r"# min confidence: (?P<level>\w+)$")
_LOOKS_LIKE_A_MARK = re.compile(r"#\s*(?:expect|known[ _-]?miss|min[ _-]?confidence)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Block:
    """One Python code block of a page.

    A line that ends in `# expect: CODE` must be reported. The first line may be `# known miss: CODE` or
    `# min confidence: LEVEL`; without the latter the block is scanned for findings of every confidence.
    """

    code: str
    heading: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.code}-{self.heading.replace(' ', '-')}-{self.number}"

    @property
    def expected(self) -> tuple[int, ...]:
        """The numbers of the lines that the page's own rule must report."""
        return marked_lines(self.text, self.code)

    @property
    def known_miss(self) -> tuple[str, ...]:
        """The rules that ought to report this block and do not."""
        match = _KNOWN_MISS.match(self._first_line)
        return tuple(match["codes"].split(", ")) if match else ()

    @property
    def min_confidence(self) -> Confidence:
        """The confidence from which on findings count."""
        match = _MIN_CONFIDENCE.match(self._first_line)
        if match is None:
            return "low"
        (level,) = (choice for choice in get_args(Confidence) if choice == match["level"])
        return level

    @property
    def marked_codes(self) -> frozenset[str]:
        """Every rule that a mark of this block names."""
        matches = [_EXPECT.search(line) or _KNOWN_MISS.match(line) for line in self.text.splitlines()]
        return frozenset(code for match in matches if match for code in match["codes"].split(", "))

    @property
    def broken_marks(self) -> tuple[str, ...]:
        """Lines that were meant to hold a mark and would be taken for plain code."""
        first, *rest = self.text.splitlines()
        whole = (_EXPECT.search(first), _KNOWN_MISS.match(first), _MIN_CONFIDENCE.match(first))
        broken = [first] if _LOOKS_LIKE_A_MARK.search(first) and not any(whole) else []
        broken += [line for line in rest if _LOOKS_LIKE_A_MARK.search(line) and not _EXPECT.search(line)]
        return tuple(broken)

    @property
    def _first_line(self) -> str:
        return self.text.partition("\n")[0]


def blocks() -> tuple[Block, ...]:
    """Every Python block of every page, in the order of codes and headings."""
    return tuple(_blocks())


def marked_lines(text: str, code: str) -> tuple[int, ...]:
    """The numbers of the lines that end in an `# expect:` mark for a rule."""
    matches = ((number, _EXPECT.search(line)) for number, line in enumerate(text.splitlines(), start=1))
    return tuple(number for number, match in matches if match and code in match["codes"].split(", "))


def findings(text: str, folder: Path, min_confidence: Confidence = "low") -> tuple[Finding, ...]:
    """What all rules together report in a text, written to a file of its own below `folder`."""
    path = folder / "example.py"
    path.write_text(text, "utf-8")
    return bufaudit.scan([path], select=_scan_codes(), min_confidence=min_confidence, cache=False).findings


def reported_lines(text: str, code: str, folder: Path, min_confidence: Confidence = "low") -> tuple[int, ...]:
    """The numbers of the lines at which a rule reports a text, one entry for each finding."""
    return tuple(f.line for f in findings(text, folder, min_confidence) if f.code == code)


def _scan_codes() -> tuple[str, ...]:
    # All of them at once, whatever the page: what an ignore comment silences depends on the other rules.
    return tuple(code for code in rules() if code.startswith("BUF"))


def _blocks() -> Iterator[Block]:
    for code, rule in rules().items():
        for heading in HEADINGS:
            for number, text in enumerate(rule.code_blocks(heading), start=1):
                yield Block(code, heading, number, text)
