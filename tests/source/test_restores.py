"""Which initialiser writes which buffer again, of which class, and how."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from bufaudit.source.extract import extract

from .snippets import PADDING

if TYPE_CHECKING:
    from bufaudit.source.facts import RestoreFact


def restores(body: str, name: str = "_init_weights") -> tuple[RestoreFact, ...]:
    code = textwrap.indent(textwrap.dedent(body), "        ")
    text = f"class Net:\n    def {name}(self, module):\n{code}\n"
    assert extract(text + PADDING) == extract(text + PADDING, gated=False)
    return extract(text).restores


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("init.zeros_(module.a)", ("*", "a", "function")),
        ("init.copy_(module.a, x)", ("*", "a", "function")),
        ("module.a.zero_()", ("*", "a", "in-place")),
        ("module.a.data.fill_(0)", ("*", "a", "in-place")),
        ("module.a.data = x", ("*", "a", "in-place")),
        ("module.a[0] = x", ("*", "a", "in-place")),
        ("module.a *= 2", ("*", "a", "in-place")),
        ("module.a = x", ("*", "a", "assignment")),
        ("module.norm.a = x", ("*", "norm.a", "assignment")),
        ("module.register_buffer('a', x)", ("*", "a", "assignment")),
        ("setattr(module, f'{k}_a', x)", ("*", "{}_a", "assignment")),
        ("init.zeros_(getattr(module, f'{k}_a'))", ("*", "{}_a", "function")),
        ("self.a.zero_()", (None, "a", "in-place")),
        ("self.a = x", (None, "a", "assignment")),
        ("if isinstance(module, nn.A):\n    module.a = x", ("nn.A", "a", "assignment")),
        ("if isinstance(module, A) and module.b is not None:\n    module.a = x", ("A", "a", "assignment")),
        ("if 'Rotary' in module.__class__.__name__:\n    module.a = x", ("*Rotary*", "a", "assignment")),
        ("if hasattr(module, 'a'):\n    module.a = x", ("*", "a", "assignment")),
        ("for k in y:\n    with z:\n        module.a = x", ("*", "a", "assignment")),
        ("match y:\n    case 1:\n        module.a = x", ("*", "a", "assignment")),
        ("if y:\n    pass\nelif isinstance(module, A):\n    module.a = x", ("A", "a", "assignment")),
        ("if isinstance(module, (C,) + D):\n    module.a = x", ("*", "a", "assignment")),
    ],
)  # fmt: skip
def test_write(body: str, expected: tuple[object, ...]) -> None:
    assert [(r.target, r.attribute, r.how) for r in restores(body)] == [expected]


@pytest.mark.parametrize("classes", ["(A, nn.B)", "A | nn.B"])
def test_each_class_that_is_asked_for_is_a_target(classes: str) -> None:
    found = restores(f"if isinstance(module, {classes}):\n    module.a.zero_()")
    assert [(r.target, r.attribute) for r in found] == [("A", "a"), ("nn.B", "a")]


@pytest.mark.parametrize(
    "body", ["x.a = 1", "a.zero_()", "module.weight.requires_grad_()", "y = module.a", "f(module.a)"]
)
def test_what_writes_nothing_of_the_module(body: str) -> None:
    assert restores(body) == ()


@pytest.mark.parametrize("name", ["_init_weights", "init_weights", "reset_parameters", "_reset_tables", "post_init"])
def test_initialiser_is_known_by_its_name(name: str) -> None:
    assert [r.initialiser for r in restores("self.a = x", name)] == [f"Net.{name}"]


def test_other_methods_are_no_initialisers() -> None:
    assert restores("self.a = x", "forward") == ()


def test_guard_against_writing_what_was_loaded() -> None:
    (guarded,) = restores("if not getattr(module.a, '_is_hf_initialized', False):\n    module.a.zero_()")
    (returned,) = restores("if module._is_hf_initialized:\n    return\nmodule.a.zero_()")
    (unguarded,) = restores("if other:\n    module.a.zero_()")
    assert "initialized" in guarded.guards
    assert "initialized" in returned.guards
    assert "initialized" not in unguarded.guards


def test_mark_that_is_read_is_told_from_one_that_is_not() -> None:
    (unread,) = restores("module.a._is_ready = True")
    assert (unread.how, unread.attribute, unread.guards) == ("mark", "a._is_ready", frozenset())
    found = restores("if not getattr(module.a, '_is_ready', False):\n    module.a._is_ready = True")
    assert ["initialized" in r.guards for r in found if r.how == "mark"] == [True]


@pytest.mark.parametrize(
    ("body", "partial"),
    [
        ("module.a[0] = x", True),
        ("module.a.data[k].zero_()", True),
        ("module.a[:] = x", False),
        ("module.a[...] = x", False),
        ("module.a.zero_()", False),
    ],
)
def test_write_by_an_index_is_told_from_one_of_the_whole(body: str, partial: bool) -> None:
    assert [fact.partial for fact in restores(body)] == [partial]


def test_flag_that_was_read_into_a_variable_guards_what_asks_for_it() -> None:
    (fact,) = restores("was = getattr(module.a, '_is_hf_initialized', False)\nif not was:\n    module.a.mul_(2)")
    assert "initialized" in fact.guards


def test_a_guard_that_holds_under_an_option_only() -> None:
    code = (
        "class Base:\n"
        "    def _initialize_weights(self, module, remote=False):\n"
        "        if {condition}all(p._is_hf_initialized for p in module.parameters()):\n"
        "            return\n"
        "        self._init_weights(module)\n"
    )
    (fact,) = extract(code.format(condition="remote and ")).sparings
    assert (fact.initialiser, fact.option, fact.place.line) == ("Base._initialize_weights", "remote", 3)
    assert extract(code.format(condition="")).sparings == ()
    assert extract(code.format(condition="self.remote and ")).sparings == ()
