"""Which statements cast a module to half precision, and what a class makes of the dtype of its buffers."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from bufaudit.source.extract import extract

from .snippets import PADDING

if TYPE_CHECKING:
    from bufaudit.source.facts import Cast, FileFacts


def facts(text: str) -> FileFacts:
    found = extract(text + PADDING)
    assert found == extract(text + PADDING, gated=False), "the gate must let every cast through"
    return found


def casts(body: str) -> list[Cast]:
    code = textwrap.indent(textwrap.dedent(body), "        ")
    text = f"class Net:\n    def __init__(self, model, dtype, x, saved):\n{code}\n"
    return [cast for function in facts(text).functions for cast in function.casts]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("model.half()", ("model", "torch.float16")),
        ("model.bfloat16()", ("model", "torch.bfloat16")),
        ("self.to(dtype=torch.bfloat16)", ("self", "torch.bfloat16")),
        ("model.to(x.device, dtype)", ("model", "dtype")),
        ("model.to(device=x.device, dtype=dtype)", ("model", "dtype")),
        ("model.to(\n    device=x.device,\n    dtype=dtype,\n)", ("model", "dtype")),
        ("model.to(dtype=getattr(torch, dtype)).eval()", ("model", "getattr(torch, dtype)")),
        ("model.to(torch.float16 if x else torch.float32)", ("model", "torch.float16 if x else torch.float32")),
        ("model = model.to(dtype)", ("model", "dtype")),
        ("self.model = model.half().cuda()", ("model", "torch.float16")),
    ],
)
def test_cast_of_a_module(body: str, expected: tuple[str, str]) -> None:
    assert [(cast.receiver, cast.dtype) for cast in casts(body)] == [expected]


@pytest.mark.parametrize(
    "body",
    [
        "model.float()",
        "model.to(torch.float32)",
        "model.to(dtype=torch.float64)",
        "model.to(x.device)",
        "model.to(saved.original_dtype)",
        "model.to(memory_format=torch.channels_last)",
        "x = x.to(model.dtype)",
        "y = model.to(dtype=dtype)",
        "mask = x.half()",
        "return model(x.to(dtype))",
    ],
)
def test_no_cast_of_a_module_to_half_precision(body: str) -> None:
    assert casts(body) == []


def test_cast_for_another_call_is_handed_on() -> None:
    assert [cast.handed_on for cast in casts("self.add_module('module', model.half())")] == [True]


@pytest.mark.parametrize("walk", ["model.modules()", "list(model.children())", "enumerate(model.children())"])
def test_module_of_a_walk_is_one_of_many(walk: str) -> None:
    target = "i, part" if "enumerate" in walk else "part"
    assert [cast.one_of_many for cast in casts(f"for {target} in {walk}:\n    part.half()")] == [True]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ("Llama(x)", "Llama"),
        ("Llama.from_pretrained(x)", "Llama"),
        ("cls(x)", "Net"),
        ("loader.from_pretrained(x)", None),
    ],
)
def test_class_of_a_module(made: str, expected: str | None) -> None:
    assert [cast.receiver_type for cast in casts(f"model = {made}\nmodel.half()")] == [expected]


def uses(method: str) -> set[tuple[str, str]]:
    text = (
        "class Rotary(nn.Module):\n"
        "    def __init__(self):\n"
        "        self.register_buffer('inv_freq', 1.0 / base)\n"
        "        self.other = self.inv_freq.cos()\n"
        "        self.early()\n"
        "    def early(self):\n"
        "        return self.inv_freq.float()\n" + textwrap.indent(textwrap.dedent(method), "    ") + "\n"
    )
    return {(use.how, use.method.rpartition(".")[2]) for use in facts(text).dtype_uses}


@pytest.mark.parametrize(
    ("line", "how"),
    [
        ("y = self.inv_freq.to(x.dtype)", "rounded"),
        ("y = self.inv_freq[None, :].to(device=x.device, dtype=x.dtype)", "rounded"),
        ("y = self.inv_freq.half()", "rounded"),
        ("d, dtype = 1, x.dtype\n    y = self.inv_freq.to(dtype)", "rounded"),
        ("y = self.inv_freq.to(x.device).float()", "raised"),
        ("y = self.inv_freq.to(dtype=torch.float32)", "raised"),
        ("y = z.type_as(self.inv_freq)", "positions"),
        ("y = torch.arange(9, dtype=self.inv_freq.dtype)", "positions"),
        ("if self.inv_freq.dtype != y: pass", "asked"),
        ("self.inv_freq = y", "renewed"),
    ],
)
def test_what_a_method_makes_of_a_dtype(line: str, how: str) -> None:
    assert {use[0] for use in uses(f"def forward(self, x):\n    {line}")} - {"read"} == {how}


@pytest.mark.parametrize(
    "line", ["y = self.inv_freq.to(positions.dtype)", "y = self.inv_freq.to(x.device)", "y = self.inv_freq * 2"]
)
def test_value_that_keeps_its_precision_is_only_read(line: str) -> None:
    assert uses(f"def forward(self, x, positions):\n    {line}") == {("read", "forward")}


def test_method_that_only_the_constructor_calls_does_not_run_later() -> None:
    assert uses("def late(self):\n    return self.early()") == {("raised", "early")}
    assert uses("def late(self):\n    return 1") == set()


def test_buffer_of_integers_is_of_no_concern() -> None:
    text = "class A(nn.Module):\n    def __init__(self):\n        self.register_buffer('table', torch.arange(9))\n"
    text += "    def forward(self, x):\n        return self.table.to(x.dtype)\n"
    assert facts(text).dtype_uses == ()


def test_decorator_that_names_a_buffer_is_no_use_of_it() -> None:
    """It runs while the class is built, and stands in no statement of the method."""
    text = """
    class Net:
        def __init__(self, x):
            self.register_buffer("inv_freq", 1.0 / x)

        @cached(self.inv_freq.float())
        def forward(self, inv_freq):
            return inv_freq
    """
    assert facts(textwrap.dedent(text)).dtype_uses == ()
