"""Each page's examples do what the page says, so that no page can promise what its rule does not keep."""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import bufaudit
from bufaudit.catalogue import Rule, rules

from .pages import Block, blocks, findings, reported_lines

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = blocks()
PAGES = tuple(rules().values())
FENCE = re.compile(r"^[ \t]*```(?P<language>.*)$", re.MULTILINE)
LIBRARIES = frozenset({"copy", "deepspeed", "dist", "init", "math", "nn", "ray", "torch"})
LINK = re.compile(r"\]\(https://[^)\s]+\)")

#: Users write codes into configuration and comments, so a published one keeps its name for ever.
PUBLISHED = {
    "BUF000": "unreadable-file",
    "BUF001": "unused-suppression",
    "BUF101": "params-only-load",
    "BUF102": "one-rank-load",
    "BUF103": "reinit-after-load",
    "BUF104": "discarded-load-result",
    "BUF105": "buffer-becomes-parameter",
    "BUF201": "params-only-save",
    "BUF301": "params-only-sync",
    "BUF302": "params-only-average",
    "BUF401": "params-only-move",
    "BUF402": "blanket-dtype-cast",
    "BUF403": "to-empty-without-restore",
    "BUF404": "sleep-without-buffers",
    "BUF501": "non-persistent-not-restored",
    "BUF502": "unregistered-tensor",
    "BUF503": "late-persistent-buffer",
    "BUF504": "meta-unsafe-init",
}

each_block = pytest.mark.parametrize("block", BLOCKS, ids=str)
each_page = pytest.mark.parametrize("page", PAGES, ids=[page.code for page in PAGES])


def under(heading: str) -> list[Block]:
    return [block for block in BLOCKS if block.heading == heading]


@each_block
def test_block_reports_what_it_marks_and_nothing_else(block: Block, tmp_path: Path) -> None:
    reported = reported_lines(block.text, block.code, tmp_path, block.min_confidence)
    if block.known_miss:
        assert not reported, "found now: move this block to Example and mark its lines with `# expect:`"
    assert reported == block.expected


@pytest.mark.parametrize("block", under("Use instead"), ids=str)
def test_advice_breaks_no_other_rule(block: Block, tmp_path: Path) -> None:
    found = findings(block.text, tmp_path, "medium")
    assert [(finding.code, finding.line) for finding in found] == []


def test_unreadable_example_is_reported(tmp_path: Path) -> None:
    """The one example that cannot be a Python block, since it does not parse."""
    example = re.search(r"^```text\n(.*?)^```$", rules()["BUF000"].sections["Example"], re.M | re.S)
    assert example is not None
    path = tmp_path / "example.py"
    path.write_text(example[1], "utf-8")
    found = bufaudit.scan([path], select=["BUF000"], cache=False).findings
    last = len(example[1].splitlines())
    assert [(finding.code, finding.line, finding.severity) for finding in found] == [("BUF000", last, "error")]


@each_block
def test_block_is_valid_python(block: Block) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compile(block.text, str(block), "exec")


@each_block
def test_block_imports_what_it_uses(block: Block) -> None:
    """A reader pastes an example, and a rule resolves its names through the imports."""
    tree = ast.parse(block.text)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert LIBRARIES & names <= imported
    assert imported <= names


@each_block
def test_marks_are_well_formed(block: Block) -> None:
    assert block.broken_marks == ()
    assert block.marked_codes <= rules().keys()
    assert not (block.known_miss and block.expected)
    assert block.min_confidence in ("low", "medium", "high")


@each_block
def test_marks_stand_where_a_reader_expects_them(block: Block) -> None:
    assert bool(block.expected) == (block.heading == "Example")
    assert not block.known_miss or (block.heading == "When it is fine" and block.known_miss == (block.code,))


@each_page
def test_page_is_complete(page: Rule) -> None:
    assert all(page.sections.values())
    assert page.code_blocks("Use instead")
    assert page.code_blocks("When it is fine")
    assert page.code_blocks("Example") or page.code == "BUF000"
    assert LINK.search(page.sections["References"])


@each_page
def test_every_fence_is_of_a_kind_that_the_runner_knows(page: Rule) -> None:
    """A block spelt ```py would be shown to readers and never executed."""
    languages = [match["language"] for match in FENCE.finditer(page.markdown)]
    assert set(languages[0::2]) <= {"python", "text", "toml"}
    assert set(languages[1::2]) <= {""}
    assert languages[0::2].count("python") == sum(block.code == page.code for block in BLOCKS)


@each_page
def test_fix_section_agrees_with_the_front_matter(page: Rule) -> None:
    assert page.sections["Fix"].startswith("None") == (page.fix == "none")


@each_page
def test_summary_is_one_sentence_that_fits_a_table(page: Rule) -> None:
    assert len(page.summary) <= 160
    assert page.summary.endswith(".")
    assert page.summary.count(". ") == 0


def test_published_codes_keep_their_page_and_name() -> None:
    assert {code: rule.name for code, rule in rules().items() if code in PUBLISHED} == PUBLISHED


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(page.name for page in PAGES).items() if count > 1] == []
