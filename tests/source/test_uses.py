"""What `forward` does with a tensor that the constructor keeps."""

from __future__ import annotations

import textwrap

import pytest

from bufaudit.source.extract import extract


def uses(forward: str, value: str = "torch.ones(n)") -> tuple[object, ...]:
    """The use, and whether it is moved; nothing where there is no fact."""
    body = textwrap.indent(forward, " " * 8)
    init = f"class Net:\n    def __init__(self, n):\n        self.a = {value}\n"
    text = f"{init}    def forward(self, x, k: int = 0):\n{body}\n"
    return tuple((fact.use, fact.moved) for fact in extract(text).attributes)


@pytest.mark.parametrize(
    "forward",
    [
        "return x * self.a",
        "return x @ (2 * self.a.unsqueeze(0)).T",
        "return x > self.a[:, k]",
        "return torch.cat([x, self.a])",
        "return F.conv1d(input=x, weight=self.a)",
        "return x.view(-1).mul(self.a)",
        "return self.a[None].masked_fill(x, 0)",
        "a = self.a.repeat(2)\nb = self.net(x)\nreturn a + b",
        "x += self.a\nreturn x",
        "for y in x:\n    z = y - self.a\nreturn z",
        "return [y - self.a for y in x]",
        "if k:\n    y = self.a\nreturn x * y",
        "for y in x:\n    if k:\n        z = x * z\n    else:\n        z = self.a\n        z = z + y",
    ],
)
def test_operation_with_what_comes_from_the_inputs(forward: str) -> None:
    assert uses(forward) == (("operation", False),)


@pytest.mark.parametrize(
    "forward",
    [
        "return x[:, self.a]",
        "return x * self.a[k]",
        "return self.a * 2",
        "return self.a * k",
        "return self.a[: x.shape[1]]",
        "return self.a * x.shape[0]",
        "return helper(x, self.a)",
        "y = x.cpu()\nreturn y * self.a",
        "for i, y in enumerate(x):\n    z = i * self.a\nreturn z",
        "if k:\n    y = self.a\nelse:\n    y = x * y\nreturn y",
    ],
)
def test_what_goes_on_whatever_the_device(forward: str) -> None:
    assert uses(forward) == (("read", False),)


@pytest.mark.parametrize(
    "forward",
    [
        "return x * self.a.to(x.device)",
        "return x * self.a.type_as(x)",
        "return x.to(self.a.device) * self.a",
        "a = self.a\na = a.to(x)\nreturn a * x",
        "self.a = self.a.to(x.device)\nreturn x * self.a",
        "return x * torch.as_tensor(self.a, device=x.device)",
        "return (x.cpu() * self.a).cuda()",
    ],
)
def test_what_is_moved(forward: str) -> None:
    assert [moved for _, moved in uses(forward)] == [True]


@pytest.mark.parametrize("forward", ["return x", "return self.a.shape", "return x if self.a is None else 1"])
def test_what_needs_no_value(forward: str) -> None:
    assert uses(forward) == ()


@pytest.mark.parametrize(
    "update",
    [
        "self.a = 0.9 * self.a + 0.1 * x.mean(0)",
        "self.a += 0.1 * (x - self.a)",
        "self.a.lerp_(x, 0.1)",
        "self.a.mul_(0.9).add_(x)",
        "self.a.copy_(0.9 * self.a + 0.1 * x)",
    ],
)
def test_average(update: str) -> None:
    assert uses(f"{update}\nreturn x - self.a") == (("average", False),)
    assert uses(f"{update}\nreturn self.a") == (("read", False),), "told to somebody, not worked with"


@pytest.mark.parametrize(
    "update", ["self.a = x", "self.a += x", "self.a.copy_(x)", "self.a[0] = x", "self.a, b = x", "self.a.zero_()"]
)
def test_what_is_written_again_is_a_cache(update: str) -> None:
    assert uses(f"{update}\nreturn x * self.a") == ()


@pytest.mark.parametrize("forward", ["return x * self.a[k]", "for a in self.a:\n    x = x * a\nreturn x"])
def test_elements_of_a_list_are_tensors(forward: str) -> None:
    assert uses(forward, "[torch.ones(n) for _ in range(n)]") == (("operation", False),)
