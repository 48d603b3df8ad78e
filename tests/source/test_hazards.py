"""What the meta device does to the calls that make a buffer's value, against what torch itself does."""

from __future__ import annotations

import ast

import pytest

from bufaudit.source.hazards import hazards_of


def hazards(value: str, **assigned: str) -> list[tuple[str, str]]:
    locals_ = {name: ast.parse(text, mode="eval").body for name, text in assigned.items()}
    return [(found.effect, found.text) for found in hazards_of(ast.parse(value, mode="eval").body, locals_)]


#: Expressions that need nothing but torch and numpy, so that they can be tried, and what is said of them.
TRIED = {
    "torch.Tensor([True])": "sizes",
    "torch.Tensor([1.5, 2]).view(2, 1)": "sizes",
    "torch.Tensor(np.ones(3))": "sizes",
    "torch.Tensor([x for x in range(3)])": "sizes",
    "torch.LongTensor([1, 2])": "escapes",
    "torch.FloatTensor(2, 3)": "escapes",
    "torch.from_numpy(np.ones(3)).float()": "escapes",
    "torch.arange(torch.tensor([2, 3]).prod().item())": "raises",
    "torch.tensor(torch.ones(3).tolist())": "raises",
    "torch.tensor(torch.eye(3).numpy())": "raises",
    "torch.ones(3).cpu()": "raises",
    "torch.zeros(int(torch.tensor(3)))": "raises",
    "torch.ones(3).nonzero()": "raises",
    "torch.unique(torch.arange(3))": "raises",
    "torch.combinations(torch.arange(3))": "raises",
    "torch.repeat_interleave(torch.arange(3), torch.arange(3) + 1)": "raises",
    "torch.ones(3) * torch.from_numpy(np.ones(3))": "raises",
    "torch.tensor([1.0])": None,
    "torch.tensor(np.ones(3))": None,
    "torch.as_tensor(np.ones(3))": None,
    "torch.arange(3).repeat_interleave(2, dim=0)": None,
    "torch.tensor(np.ones(3).tolist())": None,
    "torch.ones(3) * float(len('abc'))": None,
    "torch.zeros(torch.tensor(3, device='cpu').item())": None,
    "torch.ones(3) * torch.tensor(2.0)": None,
}


@pytest.mark.parametrize(("value", "effect"), TRIED.items())
def test_what_is_said_of_a_call(value: str, effect: str | None) -> None:
    found = [each for each, _ in hazards(value)]
    assert effect in (found or [None])


@pytest.mark.parametrize(("value", "effect"), TRIED.items())
def test_torch_does_what_is_said(value: str, effect: str | None) -> None:
    torch = pytest.importorskip("torch")
    numpy = pytest.importorskip("numpy")
    with torch.device("meta"):
        try:
            device = eval(value, {"torch": torch, "np": numpy}).device.type
        except (RuntimeError, NotImplementedError, TypeError):
            device = "none"
    assert device == {"sizes": "cpu", "escapes": "cpu", "raises": "none", None: "meta"}[effect]


@pytest.mark.parametrize("value", ["torch.Tensor(3, 4)", "torch.Tensor(n)", "torch.Tensor(c.size)", "torch.Tensor([])"])
def test_sizes_given_to_torch_tensor_are_no_values(value: str) -> None:
    assert hazards(value) == []


def test_local_variables_are_followed() -> None:
    table = {"levels": "torch.tensor(c.levels)", "size": "levels.prod().item()"}
    assert hazards("torch.arange(size)", **table) == [("raises", "levels.prod().item()")]
    assert hazards("torch.Tensor(mean)", mean="[0.5, 0.5]") == [("sizes", "torch.Tensor(mean)")]


@pytest.mark.parametrize(
    "value", ["n.item()", "x.numpy()", "torch.tensor(x.tolist())", "n.to(d).item()", "self.t.cpu()"]
)
def test_of_what_came_in_nothing_is_known(value: str) -> None:
    assert hazards(value) == []


def test_variable_assigned_from_itself_ends() -> None:
    assert hazards("torch.Tensor(x)", x="x") == []
    assert hazards("x.item()", x="x + y", y="x") == []
    assert hazards("x", x="torch.Tensor([1]) + x") == [("sizes", "torch.Tensor([1])")]


def test_linspace_is_on_the_cpu_while_transformers_builds() -> None:
    assert hazards("torch.tensor(torch.linspace(0, 1, 3).tolist())") == []
