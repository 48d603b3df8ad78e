"""What methods do about their own buffers, and where a file reads and writes them."""

from __future__ import annotations

import textwrap

import pytest

from bufaudit.source.extract import extract

from .snippets import PADDING


def written(statement: str) -> tuple[str, ...]:
    text = (
        "class Net:\n    def __init__(self):\n        self.register_buffer('a', x, persistent=False)\n"
        f"    def forward(self):\n{textwrap.indent(statement, '        ')}\n"
    )
    assert extract(text + PADDING) == extract(text + PADDING, gated=False)
    return next(fact.writes for fact in extract(text).methods if fact.name == "forward")


@pytest.mark.parametrize(
    "statement",
    [
        "self.a = x", "self.a.copy_(x)", "self.a.zero_()", "self.a.data = x", "self.a[:] = x", "init.ones_(self.a)",
        "self.register_buffer('a', x)", "self.register_buffer(name='a', tensor=x)", "setattr(self, 'a', x)",
        "self._buffers['a'] = x", "self.b, self.a = x", "self.a = f(device=self.a.device)",
    ],
)  # fmt: skip
def test_new_value_is_a_write(statement: str) -> None:
    assert "a" in written(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "self.a = self.a.to(x)", "self.a += x", "self.a.add_(x)", "self.a.mul_(x)", "self.a = cat([self.a, x])",
        "self.a.copy_(self.a * 2)", "self.a = self.old", "self.register_buffer('a', self.old)", "other.a = x",
    ],
)  # fmt: skip
def test_value_made_of_the_old_one_is_none(statement: str) -> None:
    """A buffer whose memory was lost stays lost when it is moved, scaled or added to."""
    assert "a" not in written(statement)


def uses(body: str) -> tuple[list[tuple[str, int]], frozenset[str]]:
    text = "class Net:\n    def __init__(self):\n        self.register_buffer('a', x, persistent=False)\n" + body
    facts = extract(text)
    return [(touch.name, touch.line) for touch in facts.touches], facts.buffers_read


@pytest.mark.parametrize("use", ["y = self.a[0]", "y = getattr(self, 'a')", "f(self.a)", "y = net.rope.a * 2"])
def test_value_that_is_read(use: str) -> None:
    assert uses(use) == ([], {"a"})


@pytest.mark.parametrize("use", ["y = self.a.device", "y = self.a.shape[0]", "self.a = x", "y = self.ab", "a = 1"])
def test_value_that_is_not_read(use: str) -> None:
    assert uses(use) == ([], frozenset())


@pytest.mark.parametrize("use", ["net.a = x", "net.rope.a.copy_(x)", "init.copy_(net.a, x)", "net.a.data[0] = x"])
def test_write_from_outside_is_a_touch(use: str) -> None:
    assert uses(f"\n{use}\n") == ([("a", 5)], frozenset())
