"""Every form in which code registers a buffer, and what is known of each."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from bufaudit.source.extract import extract

from .snippets import PADDING

if TYPE_CHECKING:
    from bufaudit.source.facts import RegistrationFact


def registrations(text: str) -> tuple[RegistrationFact, ...]:
    facts = extract(textwrap.dedent(text))
    assert facts.unreadable is None
    long = textwrap.dedent(text) + PADDING
    assert facts.registrations == extract(long).registrations
    assert extract(long) == extract(long, gated=False)
    return facts.registrations


def in_init(body: str, imports: str = "import torch\nfrom torch import nn") -> tuple[RegistrationFact, ...]:
    code = textwrap.indent(textwrap.dedent(body), "        ")
    return registrations(f"{imports}\n\nclass Net(nn.Module):\n    def __init__(self, c):\n{code}\n")


def summary(body: str) -> list[tuple[str, str, bool | str, str, str, str | None]]:
    return [(r.receiver, r.name, r.persistent, r.value, r.how, r.condition) for r in in_init(body)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("self.register_buffer('a', x)", ("self", "a", True, "x", "register_buffer", None)),
        ("self.register_buffer('a', x, False)", ("self", "a", False, "x", "register_buffer", None)),
        ("self.register_buffer('a', x, persistent=c.keep)", ("self", "a", "c.keep", "x", "register_buffer", None)),
        ("self.register_buffer(name='a', tensor=None)", ("self", "a", True, "None", "register_buffer", None)),
        ("self.norm.register_buffer('a', x)", ("self.norm", "a", True, "x", "register_buffer", None)),
        ("c[0].register_buffer('a', x)", ("c[0]", "a", True, "x", "register_buffer", None)),
        ("super().register_buffer('a', x)", ("self", "a", True, "x", "register_buffer", None)),
        ("self.register_buffer('a' 'b', x)", ("self", "ab", True, "x", "register_buffer", None)),
        ("self.register_buffer(*c)", ("self", "{}", True, "", "register_buffer", None)),
        ("n = 'a'\nself.register_buffer(n, x)", ("self", "a", True, "x", "register_buffer", None)),
        ("self.a = nn.Buffer(x)", ("self", "a", True, "x", "nn.Buffer", None)),
        ("self.a = nn.Buffer(data=x, persistent=False)", ("self", "a", False, "x", "nn.Buffer", None)),
        ("self.a: torch.Tensor = nn.Buffer(x)", ("self", "a", True, "x", "nn.Buffer", None)),
        ("self.a = (t := nn.Buffer(x))", ("self", "a", True, "x", "nn.Buffer", None)),
        ("t = nn.Buffer(x)\nself.a = t", ("self", "a", True, "x", "nn.Buffer", None)),
        ("self.a = nn.Buffer(x) if c else None", ("self", "a", True, "x", "nn.Buffer", "c")),
        ("self.b.a = torch.nn.Buffer(x)", ("self.b", "a", True, "x", "nn.Buffer", None)),
        ("setattr(self, 'a', nn.Buffer(x))", ("self", "a", True, "x", "setattr", None)),
        ("setattr(self, f'{c}_inv', nn.Buffer(x))", ("self", "{}_inv", True, "x", "setattr", None)),
        ("setattr(self, c + '_inv', nn.Buffer(x))", ("self", "{}_inv", True, "x", "setattr", None)),
        ("setattr(self, '%s_%02d' % c, nn.Buffer(x))", ("self", "{}_{}", True, "x", "setattr", None)),
        ("setattr(self, '%(n)s_inv' % c, nn.Buffer(x))", ("self", "{}_inv", True, "x", "setattr", None)),
        ("setattr(self, '{0}_{k:d}'.format(c, k=c), nn.Buffer(x))", ("self", "{}_{}", True, "x", "setattr", None)),
        ("self._buffers['a'] = x", ("self", "a", True, "x", "_buffers", None)),
        ("self._buffers[f'a{c}'] = x", ("self", "a{}", True, "x", "_buffers", None)),
        ("if c:\n    self.register_buffer('a', x)", ("self", "a", True, "x", "register_buffer", "c")),
        ("if c:\n    return\nself.register_buffer('a', x)", ("self", "a", True, "x", "register_buffer", "not c")),
        ("if c:\n    raise E\nself.register_buffer('a', x)", ("self", "a", True, "x", "register_buffer", None)),
        ("self.register_buffer('a', x) if c else None", ("self", "a", True, "x", "register_buffer", "c")),
        ("c and self.register_buffer('a', x)", ("self", "a", True, "x", "register_buffer", "c")),
        ("with c:\n    self.register_buffer('a', x)", ("self", "a", True, "x", "register_buffer", None)),
        ("while c:\n    self.register_buffer('a', x)", ("self", "a", True, "x", "register_buffer", None)),
        ("for i in c:\n    self.register_buffer(f'a{i}', x)", ("self", "a{}", True, "x", "register_buffer", None)),
        ("[self.register_buffer(f'a{i}', x) for i in c]", ("self", "a{}", True, "x", "register_buffer", None)),
        (
            "if c or d:\n    if e:\n        self.register_buffer('a', x)",
            ("self", "a", True, "x", "register_buffer", "(c or d) and e"),
        ),
        (
            "def later():\n    self.register_buffer('a', x)",
            ("self", "a", True, "x", "register_buffer", "later() is called"),
        ),
    ],
)  # fmt: skip
def test_form(body: str, expected: tuple[object, ...]) -> None:
    assert summary(body) == [expected]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("self.a = self.b = nn.Buffer(x)", {"a": "x", "b": "x"}),
        ("self.a, self.b = nn.Buffer(x), nn.Buffer(y)", {"a": "x", "b": "y"}),
        ("[self.a, (self.b, c)] = nn.Buffer(x), (nn.Buffer(y), 1)", {"a": "x", "b": "y"}),
        ("for n in ('a', 'b'):\n    self.register_buffer(n, x)", {"a": "x", "b": "x"}),
        ("for n, v in (('a', 1), ('b', 2)):\n    setattr(self, f'{n}_t', nn.Buffer(v))", {"a_t": "v", "b_t": "v"}),
        ("for n, v in {'a': 1, 'b': 2}.items():\n    self.register_buffer(f'{n}_t', v)", {"a_t": "v", "b_t": "v"}),
        ("for n in {'a': 1, 'b': 2}:\n    self._buffers[n] = x", {"a": "x", "b": "x"}),
        ("for i, n in enumerate(['a', 'b']):\n    self.register_buffer(n, x)", {"a": "x", "b": "x"}),
    ],
)
def test_statement_that_registers_two(body: str, expected: dict[str, str]) -> None:
    assert {r.name: r.value for r in in_init(body)} == expected
    assert len(in_init(body)) == 2


def test_loop_over_more_than_literals_gives_a_pattern() -> None:
    assert [r.name for r in in_init("for n in ('a', *c):\n    self.register_buffer(f'{n}_t', x)")] == ["{}_t"]


def test_each_branch_has_its_condition() -> None:
    body = """
        if c == 1:
            self.register_buffer('a', one)
        elif c == 2:
            self.register_buffer('a', two)
        else:
            self.a = nn.Buffer(three) if c else nn.Buffer(four, persistent=False)
        try:
            self.register_buffer('b', x)
        except KeyError:
            self.register_buffer('b', y)
        match c:
            case 1:
                self.register_buffer('d', x)
    """
    assert [(r.value, r.persistent, r.condition) for r in in_init(body)] == [
        ("one", True, "c == 1"),
        ("two", True, "not c == 1 and c == 2"),
        ("three", True, "not c == 1 and not c == 2 and c"),
        ("four", False, "not c == 1 and not c == 2 and not c"),
        ("x", True, None),
        ("y", True, "except KeyError"),
        ("x", True, "c is 1"),
    ]


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("from torch import nn", "nn.Buffer"),
        ("import torch", "torch.nn.Buffer"),
        ("import torch as t", "t.nn.Buffer"),
        ("import torch.nn as tn", "tn.Buffer"),
        ("import torch.nn.parameter as p", "p.Buffer"),
        ("from torch.nn import Buffer", "Buffer"),
        ("from torch.nn import Buffer as B", "B"),
        ("from torch.nn import (\n    Parameter,\n    Buffer as B,\n)", "B"),
        ("from torch.nn.parameter import Buffer", "Buffer"),
        ("from torch.nn.modules.module import Buffer", "Buffer"),
        ("from torch.nn import parameter", "parameter.Buffer"),
        ("from torch.nn import *", "Buffer"),
        ("from torch import nn\nB = nn.Buffer", "B"),
        ("from torch import nn\nB = nn.Buffer  # why\nC = B", "C"),
        ("import torch.nn as tn\nB = tn.Buffer; x = 1", "B"),
        ("try:\n    from torch.nn import Buffer\nexcept ImportError:\n    Buffer = None", "Buffer"),
        ("if x:\n    from torch.nn import Buffer as B", "B"),
    ],
)
def test_buffer_is_known_by_every_name(imports: str, call: str) -> None:
    text = f"{imports}\n\nclass Net:\n    def __init__(self):\n        self.a = {call}(x)\n"
    assert [(r.name, r.how) for r in registrations(text)] == [("a", "nn.Buffer")]


@pytest.mark.parametrize(
    ("imports", "call"),
    [("from mylib import Buffer", "Buffer"), ("import collections.abc as nn_", "nn_.Buffer"), ("", "Buffer")],
)
def test_other_buffers_are_none(imports: str, call: str) -> None:
    text = f"{imports}\n\nclass Net:\n    def __init__(self):\n        self.a = {call}(x)\n"
    assert registrations(text) == ()


@pytest.mark.parametrize(
    "body",
    [
        "a = nn.Buffer(x)",
        "self.a = nn.Parameter(x)",
        "self.register_parameter('a', x)",
        "s = 'self.register_buffer(1, 2)'",
        "self._buffers[key] = x",
        "self._buffers.pop('a')",
        "setattr(self, 'a', x)",
        "# self.register_buffer('a', x)\nself.register_buffer",
    ],
)
def test_what_looks_like_a_registration_is_none(body: str) -> None:
    assert in_init(body) == ()


def test_methods_that_init_runs_are_no_condition_and_others_are() -> None:
    found = registrations("""
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                self._first()
            def _first(self):
                self._second()
            def _second(self):
                self.register_buffer('a', x)
            def enable(self, c):
                if c:
                    self.register_buffer('b', x)
            def forward(self):
                self.c = nn.Buffer(x)
    """)
    assert {r.name: r.condition for r in found} == {
        "a": None,
        "b": "enable() is called and c",
        "c": "forward() is called",
    }


def test_helper_method_gets_its_names_from_its_callers() -> None:
    found = registrations("""
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                self._add('a', 'float32')
                self._add(dtype='float16', name='b')
            def _add(self, name, dtype):
                self.register_buffer(name, torch.zeros(1, dtype=dtype))
    """)
    assert [(r.name, r.condition) for r in found] == [("a", None), ("b", None)]


def test_helper_method_without_known_callers_leaves_the_name_open() -> None:
    found = registrations("""
        from torch import nn
        class Net(nn.Module):
            def add(self, name):
                setattr(self, name, nn.Buffer(x))
    """)
    assert [(r.name, r.condition) for r in found] == [("{}", "add() is called")]


def test_class_around_a_registration_is_the_innermost() -> None:
    found = registrations("""
        from torch import nn
        class Outer(nn.Module):
            class Inner(nn.Module):
                def __init__(self):
                    self.register_buffer('a', x)
            def __init__(self):
                class Local(nn.Module):
                    def __init__(self):
                        self.b = nn.Buffer(x)
                self.register_buffer('c', x)
        def make():
            class Made(nn.Module):
                def __init__(self):
                    self.register_buffer('d', x)
            return Made
        def patch(module):
            module.register_buffer('e', x)
        if c:
            class Either(nn.Module):
                def __init__(self):
                    self.register_buffer('f', x)
        else:
            class Either(nn.Module):
                def __init__(self):
                    self.register_buffer('g', x)
    """)
    assert {r.name: r.class_name for r in found} == {
        "a": "Outer.Inner",
        "b": "Outer.__init__.<locals>.Local",
        "c": "Outer",
        "d": "make.<locals>.Made",
        "e": None,
        "f": "Either",
        "g": "Either",
    }


def test_place_is_the_call_or_the_target_in_characters() -> None:
    call = "self.register_buffer(\n            'a',\n            x,\n        )"
    text = f"class N:\n    def __init__(self):\n        'ß'; {call}\n"
    (found,) = registrations(text)
    place = found.place
    assert (place.line, place.column, place.end_line, place.end_column) == (3, 14, 6, 10)
    assert (place.first_line, place.last_line) == (3, 6)


def test_when_a_registration_runs_and_what_its_value_is_made_from() -> None:
    facts = registrations(
        """
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                self._make()
            def _make(self):
                value = torch.Tensor([1.0])
                self.register_buffer("a", value)
            def forward(self, x):
                with torch.device("cpu"):
                    self.register_buffer("b", torch.Tensor([1.0]))
            def fit(self, x):
                name = f"c_{len(x)}"
                self.register_buffer(name, x)
        """
    )
    assert [(fact.name, fact.method, fact.when, len(fact.hazards)) for fact in facts] == [
        ("a", "_make", "construction", 1),
        ("b", "forward", "forward", 0),
        ("c_{}", "fit", "training", 0),
    ]


def test_assignments_to_what_is_registered_as_none() -> None:
    text = """
        class Net(nn.Module):
            def __init__(self):
                self.register_buffer("a", None)
                self.register_buffer("b", torch.zeros(1))
            def forward(self, x):
                self.a: Tensor = x.mean()
                self.a, self.b = None, x
                self.a = None
                self.b = other.a = x
            def load(self, x):
                if x:
                    self.b = self.a = x
        """
    fills = extract(textwrap.dedent(text)).fills
    assert [(fill.name, fill.made_from, fill.method, fill.when) for fill in fills] == [
        ("a", "x.mean()", "forward", "forward"),
        ("a", "(None, x)", "forward", "forward"),
        ("a", "x", "load", "load"),
    ]
