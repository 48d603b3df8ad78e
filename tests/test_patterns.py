"""A pattern that is compiled late does what one does that is compiled at once."""

from __future__ import annotations

import re

import pytest

from bufaudit.patterns import lazy_pattern


def test_lazy_pattern_is_a_pattern_with_its_flags() -> None:
    found = lazy_pattern("A(b+)", re.IGNORECASE).search("xaBB")
    assert found is not None
    assert found[1] == "BB"
    assert lazy_pattern("a.").sub("-", "abcad") == "-c-"
    assert lazy_pattern(rb"\d").findall(b"1 2") == [b"1", b"2"]


def test_lazy_pattern_is_compiled_once_and_not_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    real = re.compile
    monkeypatch.setattr("bufaudit.patterns.re.compile", lambda text, flags: compiled.append(text) or real(text, flags))
    some = lazy_pattern("a")
    assert compiled == []
    assert some.search("ba")
    assert some.search("ab")
    assert compiled == ["a"]


def test_broken_pattern_says_so_when_it_is_used() -> None:
    broken = lazy_pattern("(")
    with pytest.raises(re.error):
        broken.search("")
