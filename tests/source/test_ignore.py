"""Patterns mean what git means by them; git itself is the judge."""

from __future__ import annotations

import re
import subprocess
import warnings
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bufaudit.source.ignore import IgnorePatterns

if TYPE_CHECKING:
    from pathlib import Path

KNOWN_PATTERNS = (
    *("*", "!*/", "!*.py", "foo/", "/foo", "!a/b/", "a/**", "**/b", "a/**/x.py", "/**/foo", "b/**/", "a//b", "!"),
    *("#c", r"\#c", r"\!a", "x.py ", r"x.py\ ", "[[:alpha:]]", "[]]", "[!a]", "[a-c].py", "[z-a]", "***", "/", "\\"),
    *("[a", "[[:alph]*", "[[:nope:]]", "**foo/x.py", "/*/*/x.py", "*a*a*", "a/*/b/**", "**/a/**/x.py", "a?/b[/x"),
)


def _is_taken_as_in_git(pattern: str) -> bool:
    """Whether the pattern is none of those of which the module says that it takes them otherwise."""
    slash_in_brackets = "[" in pattern and "/" in pattern
    return not (slash_in_brackets or "\\/" in pattern or re.search(r"[^/*!]\*\*", pattern))


PATTERN = st.one_of(
    st.sampled_from(KNOWN_PATTERNS),
    st.text(st.sampled_from("ab*?/![]-^\\#. x"), min_size=1, max_size=8).filter(_is_taken_as_in_git),
)
ENTRIES = ["a", "b", "foo", "x.py", "a.py", "#c", "!a", "]", "x.py "]
PATH = st.lists(st.sampled_from(ENTRIES), min_size=1, max_size=4).map("/".join)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    return folder


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(PATTERN, min_size=1, max_size=5), paths=st.lists(PATH, min_size=5, max_size=20, unique=True))
def test_verdicts_are_gits(repository: Path, lines: list[str], paths: list[str]) -> None:
    """`check-ignore` needs no files, and says for each path whether it or a folder above it is ignored."""
    (repository / ".gitignore").write_text("\n".join(lines) + "\n")
    asked = "\0".join([*paths, ""])
    done = subprocess.run(
        ["git", "-C", repository, "check-ignore", "-z", "--stdin", "--no-index"],
        input=asked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    patterns = IgnorePatterns(lines)
    ours = {path for path in paths if _ignored_on_the_way(patterns, path)}
    assert ours == set(done.stdout.split("\0")) - {""}


def _ignored_on_the_way(patterns: IgnorePatterns, path: str) -> bool:
    prefix = ""
    *folders, last = path.split("/")
    for folder in folders:
        if patterns.verdict(prefix, folder, is_folder=True):
            return True
        prefix += folder + "/"
    return patterns.verdict(prefix, last, is_folder=False) is True


def test_last_pattern_that_speaks_of_an_entry_decides() -> None:
    patterns = IgnorePatterns(["*.py", "!keep.py", "/sub/keep.py"])
    assert patterns.verdict("", "other.py", is_folder=False) is True
    assert patterns.verdict("", "keep.py", is_folder=False) is False
    assert patterns.verdict("sub/", "keep.py", is_folder=False) is True
    assert patterns.verdict("", "keep.txt", is_folder=False) is None


def test_what_lies_below_a_named_folder_does_not_match_by_its_parents() -> None:
    patterns = IgnorePatterns(["site-packages/", "!a/b/"])
    assert patterns.verdict("lib/site-packages/", "torch", is_folder=True) is None
    assert patterns.verdict("a/b/", "c", is_folder=True) is None


def test_stars_within_a_name_stay_there() -> None:
    """As the manual says; git itself lets `a**/x` reach further down."""
    patterns = IgnorePatterns(["a**/x"])
    assert patterns.verdict("ab/", "x", is_folder=False) is True
    assert patterns.verdict("a/a/", "x", is_folder=False) is None


def test_comments_and_carriage_returns() -> None:
    patterns = IgnorePatterns(["# a", "", "a\r", "   "])
    assert patterns.verdict("", "a", is_folder=False) is True
    assert patterns.verdict("", "# a", is_folder=False) is None
    assert not IgnorePatterns(["# only a comment", ""])


def test_names_with_newlines_and_undecodable_bytes() -> None:
    patterns = IgnorePatterns(["a*b", "**/x/?"])
    assert patterns.verdict("", "a\n\udcffb", is_folder=False) is True
    assert patterns.verdict("\n/x/", "\udcff", is_folder=False) is True


@pytest.mark.parametrize(
    ("pattern", "prefix", "name"),
    [
        ("*a" * 60 + "b", "", "a" * 250),
        ("/" + "*a" * 60 + "b", "", "a" * 250),
        ("**/a/" * 40 + "b", "a/" * 900, "c"),
        ("**/*a*a*a/" * 10 + "b", ("a" * 60 + "/") * 60, "c"),
    ],
)
def test_patterns_made_to_explode_do_not(pattern: str, prefix: str, name: str) -> None:
    """With plain backtracking each of these would take longer than the age of the universe."""
    assert IgnorePatterns([pattern]).verdict(prefix, name, is_folder=False) is None


def test_brackets_bring_no_warnings_of_the_regex_compiler() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        patterns = IgnorePatterns(["[[a]", "[a--b]", "[a&&b]", "[a||b]", "[a~~b]", "[[:punct:]]", "[[:alpha:]_]"])
    assert patterns.verdict("", "&", is_folder=False) is True
