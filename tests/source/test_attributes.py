"""Which tensors a constructor keeps as plain attributes, and what is said of them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from bufaudit.source.extract import extract

from .snippets import PADDING

if TYPE_CHECKING:
    from bufaudit.source.facts import TensorAttribute


def attributes(init: str, forward: str, more: str = "", arguments: str = "") -> tuple[TensorAttribute, ...]:
    lines = [
        "class Net(nn.Module):",
        f"    def __init__(self, n{arguments}):",
        textwrap.indent(init, " " * 8),
        "    def forward(self, x):",
        textwrap.indent(forward, " " * 8),
        textwrap.indent(more, " " * 4),
    ]
    text = "\n".join(lines) + "\n"
    assert extract(text + PADDING) == extract(text + PADDING, gated=False)
    return extract(text).attributes


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ("torch.randn(n)", "random"),
        ("F.normalize(torch.rand(n, n), dim=0)", "random"),
        ("torch.empty(n).uniform_(-1, 1)", "random"),
        ("[torch.randperm(n) for _ in range(n)]", "random"),
        ("torch.randn(n) if n else None", "random"),
        ("1.0 / 10000 ** (torch.arange(0, n, 2) / n)", "table"),
        ("torch.tensor([1.0, 2.0])", "table"),
        ("torch.tensor(n).view(-1, 1)", "table"),
        ("torch.stack([torch.zeros(n), torch.ones(n)])", "table"),
    ],
)
def test_what_a_tensor_is_made_from(value: str, made: str) -> None:
    assert [fact.made for fact in attributes(f"self.a = {value}", "return x, self.a")] == [made]


@pytest.mark.parametrize(
    "value",
    [
        "torch.tensor(0.5)",
        "torch.zeros(())",
        "torch.ones(n).sum()",
        "torch.zeros(0)",
        "torch.empty(n)",
        "torch.ones(n).tolist()",
        "nn.Parameter(torch.randn(n))",
        "nn.Buffer(torch.ones(n))",
        "helper(torch.ones(n))",
        "(torch.ones(n), None)",
    ],
)
def test_what_is_no_tensor_with_dimensions(value: str) -> None:
    assert attributes(f"self.a = {value}\nself.b = torch.ones(n)", "return x * self.a") == ()


def test_local_variable_is_what_it_was_assigned() -> None:
    init = "a = torch.ones(n)\nself.a = 1 - a\nself.b = torch.ones(n)"
    assert [fact.name for fact in attributes(init, "return x * self.a")] == ["a"]


@pytest.mark.parametrize("annotation", ["Tensor", "torch.Tensor | None", "Optional[Tensor]", "Union[Tensor, Callable]"])
def test_argument_that_is_a_tensor(annotation: str) -> None:
    (fact,) = attributes("self.a = a", "return x * self.a", arguments=f", a: {annotation}")
    assert (fact.made, fact.use) == ("argument", "operation")


@pytest.mark.parametrize("annotation", ["list[Tensor]", "Union[float, Tensor]", "Callable[[int], Tensor]"])
def test_argument_that_may_be_something_else(annotation: str) -> None:
    assert attributes("self.a = a", "return x * self.a", arguments=f", a: {annotation}") == ()


def test_seeded_random_numbers_are_a_table() -> None:
    (fact,) = attributes("torch.manual_seed(0)\nself.a = torch.randn(n)", "return x * self.a")
    assert fact.made == "table"


@pytest.mark.parametrize("value", ["torch.ones(n, device=d)", "torch.ones(n).cuda()", "torch.ones(n).to(d) * 2"])
def test_device_that_the_author_chose(value: str) -> None:
    (fact,) = attributes(f"self.a = {value}", "return x * self.a")
    assert fact.placed


@pytest.mark.parametrize("more", ["def _apply(self, fn): pass", "def cuda(self): pass"])
def test_class_that_moves_its_tensors(more: str) -> None:
    (fact,) = attributes("self.a = torch.ones(n)", "return x * self.a", more)
    assert fact.moved


@pytest.mark.parametrize(
    ("init", "more"),
    [
        ("if n:\n    self.register_buffer('a', n)\nelse:\n    self.a = torch.ones(n)", ""),
        ("self.a = torch.ones(n)\nself.a = nn.Parameter(self.a)", ""),
        ("self.a = torch.ones(n)\nself.register_buffer(f'{n}', self.a)", ""),
        ("self.a = torch.ones(n)", "def reset(self):\n    self.a = torch.ones(3)"),
        ("self.a = torch.ones(n)", "def fill(self):\n    self.a[0] = 2"),
        ("self.a = torch.ones(n)", "def drop(self):\n    del self.a"),
    ],
)
def test_what_is_registered_rewritten_or_deleted(init: str, more: str) -> None:
    assert attributes(init, "return x * self.a", more) == ()


def test_what_forward_does_not_reach() -> None:
    assert attributes("self.a = torch.ones(n)", "return x", "def plot(self, y):\n    return y * self.a") == ()


def test_method_that_forward_calls() -> None:
    found = attributes("self.a = torch.ones(n)", "return self.scale(x)", "def scale(self, y):\n    return y * self.a")
    assert [(fact.use, fact.use_line) for fact in found] == [("operation", 7)]
