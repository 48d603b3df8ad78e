"""The facts of whole files: what they bind, define, are made from, and why there are none."""

from __future__ import annotations

import textwrap

import pytest

from bufaudit.source.extract import extract
from bufaudit.source.facts import FileFacts, Import

from .snippets import PADDING


def facts_of(text: str) -> FileFacts:
    text = textwrap.dedent(text)
    assert extract(text + PADDING) == extract(text + PADDING, gated=False)
    return extract(text)


def test_empty_file_has_no_facts() -> None:
    assert facts_of("") == FileFacts()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import a", [("a", "a")]),
        ("import a.b.c", [("a", "a")]),
        ("import a.b as c", [("c", "a.b")]),
        ("from a.b import c, d as e", [("c", "a.b.c"), ("e", "a.b.d")]),
        ("from . import a", [("a", ".a")]),
        ("from ..a import b", [("b", "..a.b")]),
        ("try:\n    import a\nexcept E:\n    import b\nelse:\n    import c", [("a", "a"), ("b", "b"), ("c", "c")]),
        ("if x:\n    import a\nelif y:\n    import b", [("a", "a"), ("b", "b")]),
        ("def f():\n    import a", []),
    ],
)
def test_imports(statement: str, expected: list[tuple[str, str]]) -> None:
    assert facts_of(statement).imports == tuple(Import(*pair) for pair in expected)


def test_stars_and_aliases() -> None:
    facts = facts_of("from .a import *\nfrom . import *\nA = b.C\nD = A\nE = f()\nG, H = I, J\n")
    assert facts.star_imports == (".a", ".")
    assert facts.aliases == (Import("A", "b.C"), Import("D", "A"))


def test_classes_with_bases_and_lines() -> None:
    facts = facts_of("""
        @decorated
        class A(b.C, Generic[T], make(), metaclass=M):
            class Inner(nn.Module):
                def __init__(self): self.register_buffer("a", 1)
            class Silent: pass
        if x:
            class A(D): pass
        def make():
            class Made(A):
                def __init__(self): self.register_buffer("a", 1)
    """)
    found = {(fact.name, fact.bases, fact.line) for fact in facts.classes}
    assert found == {
        ("A", ("b.C", "Generic"), 3),
        ("A.Inner", ("nn.Module",), 4),
        ("A", ("D",), 8),
        ("make.<locals>.Made", ("A",), 10),
    }


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_newlines_make_no_difference(newline: str) -> None:
    text = "class A:\n    def f(self):\n        for p in self.parameters():\n            p.copy_(x)\n"
    assert extract(text.replace("\n", newline)) == extract(text)


def test_source_of_a_generated_file() -> None:
    notice = "# 🚨\n#   This file was automatically generated from src/x/models/net/modular_net.py.\n"
    assert facts_of(notice + "x = 1\n").generated_from == "src/x/models/net/modular_net.py"
    assert facts_of("x = 1\n").generated_from is None
    assert facts_of("x = 1\n" * 1000 + notice).generated_from is None


@pytest.mark.parametrize("text", ["x = (", "def f(:\n  parameters()", "'''", "x = 'a\n", "\tif:\n  x"])
def test_text_that_does_not_parse_says_why_and_keeps_its_suppressions(text: str) -> None:
    facts = extract(text)
    assert facts.unreadable is not None
    assert facts.unreadable == extract(text, gated=False).unreadable
    assert facts.classes == ()


def test_error_in_a_block_that_matters_to_no_rule_does_not_hide_the_others() -> None:
    """What the gate costs, and gives: such a block is never parsed, so nobody hears that Python cannot read it."""
    facts = extract("def dull(:\n    return 1\n\ndef f(m):\n    return m.parameters()\n" + PADDING)
    assert [function.name for function in facts.functions] == ["f"]
    unreadable = extract("def f(m):\n    return m.parameters(\n").unreadable
    assert unreadable is not None
    assert unreadable.line in (2, 3)


@pytest.mark.parametrize("text", ["x = " + "(" * 5000, "x = " + "-" * 100_000 + "1", "x = " + "a." * 100_000 + "b"])
def test_nesting_that_overflows_is_no_crash(text: str) -> None:
    unreadable = extract(text).unreadable
    assert unreadable is not None
    assert unreadable.reason in ("nesting", "syntax")


def test_wrapper_of_a_pretrained_model_is_known() -> None:
    text = """
        class Net:
            def __init__(self, c):
                self.backbone = timm.create_model(c.name, pretrained={})
            def _init_weights(self, module):
                module.a = 1
    """
    assert [fact.wraps_pretrained for fact in facts_of(text.format("True")).classes] == [True]
    assert [fact.wraps_pretrained for fact in facts_of(text.format("False")).classes] == [False]


def test_words_of_the_file_are_asked_only_where_something_happens_to_state() -> None:
    assert facts_of("# running_mean\nx = 1\n").words == frozenset()
    found = facts_of("# running_mean\ndef f(m):\n    return DDP(m).parameters()\n").words
    assert {"running_mean", "DDP"} <= found


@pytest.mark.parametrize(
    ("body", "handles"),
    [
        ("def _load_from_state_dict(self, *args): pass", True),
        ("def state_dict(self): return {}", True),
        ("def on_load_checkpoint(self, checkpoint): pass", True),
        ("def set_extra_state(self, state): pass", True),
        ("def __init__(self): self._register_load_state_dict_pre_hook(f)", True),
        ("def save(self): return self.state_dict()", False),
        ("def forward(self, x): return x", False),
    ],
)
def test_class_that_has_a_say_in_its_state_dict(body: str, handles: bool) -> None:
    text = f"class Net(Base):\n    {body}\n{PADDING}"
    assert extract(text) == extract(text, gated=False)
    assert [found.handles_state_dict for found in extract(text).classes] == [handles]
