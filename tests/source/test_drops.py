"""What is let go of, and which steps stand on the same path before and after it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from bufaudit.source.extract import extract

from .snippets import PADDING

if TYPE_CHECKING:
    from bufaudit.source.facts import DropFact


def drops(text: str) -> tuple[DropFact, ...]:
    text = textwrap.dedent(text)
    assert extract(text + PADDING) == extract(text + PADDING, gated=False)
    return extract(text).drops


def drop(body: str) -> DropFact:
    (fact,) = drops(f"def work(model):\n{textwrap.indent(textwrap.dedent(body), '    ')}")
    return fact


def callees(fact: DropFact) -> list[str]:
    return [step.callee for step in fact.after]


@pytest.mark.parametrize(
    ("body", "how", "module"),
    [
        ("model.to_empty(device=d)", "to_empty", "model"),
        ("self.net = self.net.to_empty(device=d)", "to_empty", "self.net"),
        ("f = lambda m: m.to_empty(device=d, recurse=False)", "to_empty", "m"),
        ("for n, b in model.named_buffers():\n    setattr(model, n, torch.empty_like(b))", "empty_like", "model"),
        ("for n, b in m._buffers.items():\n    m._buffers[n] = empty_like(b, device=d)", "empty_like", "m"),
        ("with init_empty_weights(include_buffers=True):\n    net = Net(c)", "meta", "net"),
        ("with accelerate.init_empty_weights(include_buffers=True):\n    net = model_cls(c)", "meta", "net"),
        ("allocator.sleep(offload_tags=())", "pool", "allocator"),
        ("allocator.sleep(offload_tags=('weights',) if level == 1 else tuple())", "pool", "allocator"),
        ("self.memory_saver.pause(WEIGHTS)", "pool", "self.memory_saver"),
        (
            "for name, buffer in self.named_non_persistent_buffers(): setattr(self, name, torch.empty_like(buffer))",
            "unsaved",
            "self",
        ),
        (
            "materialize_layer(m)\nfor n, b in buffers.items():\n    b.data.copy_(getattr(m, n))",
            "reload",
            "buffers.items()",
        ),
    ],
)
def test_what_is_let_go_of(body: str, how: str, module: str) -> None:
    fact = drop(body)
    assert (fact.how, fact.module) == (how, module)


@pytest.mark.parametrize(
    "body",
    [
        "parts = [torch.empty_like(b) for b in model.buffers()]",
        "for n, b in model.named_buffers():\n    x = torch.empty_like(y)",
        "for n, p in model.named_parameters():\n    p.data = torch.empty_like(p)",
        "with init_empty_weights(include_buffers=False):\n    net = Net(c)",
        "with init_empty_weights(include_buffers=True):\n    n = sum(sizes)",
        "allocator.sleep(offload_tags=('weights',))",
        "thread.sleep(offload_tags=())",
        "memory_saver.pause('kv_cache')",
        "timer.pause('weights')",
        "materialize_layer(m)\nfor n, b in buffers.items():\n    if n in persistent:\n        b.copy_(getattr(m, n))",
        "for n, b in buffers.items():\n    b.data.copy_(getattr(m, n))\nmaterialize_layer(m)",
    ],
)
def test_what_is_kept(body: str) -> None:
    assert drops(f"def work(model):\n{textwrap.indent(body, '    ')}") == ()


def test_steps_stand_before_or_after() -> None:
    fact = drop("first(model)\nmodel.to_empty(device=d)\nmodel.part = last(model, flag=True)")
    assert [step.callee for step in fact.before] == ["first"]
    assert [(step.callee, step.text) for step in fact.after] == [("last", "model, flag=True"), ("=", "model.part")]


@pytest.mark.parametrize(
    ("body", "after"),
    [
        ("if a:\n    model.to_empty(device=d)\nelse:\n    other()\nlast()", ["last"]),
        ("if a:\n    model.to_empty(device=d)\nelif b:\n    other()\nelse:\n    third()\nlast()", ["last"]),
        ("if a:\n    model.to_empty(device=d)\nif b:\n    maybe()", ["maybe"]),
        ("match a:\n    case 1:\n        model.to_empty(device=d)\n    case _:\n        other()\nlast()", ["last"]),
        ("try:\n    model.to_empty(device=d)\nexcept E:\n    other()\nfinally:\n    last()", ["last"]),
        ("with a():\n    model.to_empty(device=d)\n    inside()\nlast()", ["inside", "last"]),
        ("for x in y:\n    model.to_empty(device=d)\nlast()", ["last"]),
    ],
)
def test_branch_that_is_not_taken_is_no_step(body: str, after: list[str]) -> None:
    assert callees(drop(body)) == after


def test_nothing_follows_a_return_on_the_path() -> None:
    assert callees(drop("if a:\n    model.to_empty(device=d)\n    return model\nlast()")) == ["return"]
    assert callees(drop("model.to_empty(device=d)\nif a:\n    return model\nlast()")) == ["return", "last"]


def test_callers_and_called_methods_of_the_class_are_followed() -> None:
    (fact,) = drops("""
        class Engine:
            def outer(self, model):
                self.save(model)
                self.fill(model)
                self.restore(model)
            def fill(self, model):
                model.to_empty(device="cpu")
                self.load(model)
            def load(self, model):
                model.load_state_dict(read())
            def unrelated(self, other):
                other.fill(model)
                never()
    """)
    assert {"save"} == {step.callee.rpartition(".")[2] for step in fact.before}
    assert {"self.load", "self.restore", "model.load_state_dict", "read"} == set(callees(fact))


def test_nested_function_knows_what_its_function_does_after_calling_it() -> None:
    (fact,) = drops("""
        def load(model):
            def fill(module):
                module.to_empty(device="cpu")
            fill(model)
            model.init_weights()
    """)
    assert (fact.function, callees(fact)) == ("load.fill", ["model.init_weights"])


def test_type_of_the_module_is_that_of_its_last_assignment() -> None:
    (one,) = drops("def f():\n    with torch.device('meta'):\n        net = Net(3)\n    net.to_empty(device='cpu')\n")
    assert (one.module_type, one.given) == ("Net", False)
    (two,) = drops("def f(net):\n    net = wrap(net)\n    net.to_empty(device='cpu')\n")
    assert (two.module_type, two.given) == (None, True)
    (three,) = drops("""
        class A:
            def __init__(self):
                self.net = Net()
            def f(self):
                self.net.to_empty(device=d)
    """)
    assert (three.module, three.module_type) == ("self.net", "Net")


def test_pool_says_where_it_wakes() -> None:
    (fact,) = drops("""
        class Worker:
            def sleep(self):
                allocator.sleep(offload_tags=())
            def wake_up(self):
                allocator.wake_up()
    """)
    assert fact.wakes == 6


def test_loop_over_buffers_that_binds_nothing_empties_nothing() -> None:
    assert drops("def work(model):\n    for () in model.buffers():\n        x = torch.empty_like(x)\n") == ()


@pytest.mark.parametrize(
    ("body", "built"),
    [
        ("with torch.device('meta'):\n    net = Net(c)", "Net"),
        ("with a(), torch.device(type='meta'), b():\n    net = Net(c)", None),
        ("with a(), device('meta'), b():\n    net = lib.Net(c)", "lib.Net"),
        ("net = Net(c, device='meta')", "Net"),
        ("net = Net(c, device=torch.device('meta'))", "Net"),
        ("net = Net(c, device='cpu')", None),
        ("with init_empty_weights():\n    net = Net(c)", None),
        ("with torch.device('meta'):\n    net = Net(c)\nnet = shard(net, mesh)", "Net"),
        ("with torch.device('meta'):\n    net = Net(c)\nnet = net.half()", "Net"),
        ("with torch.device('meta'):\n    net = Net(c)\nnet = Other(c)", None),
        ("if a:\n    with torch.device('meta'):\n        net = Net(c)\nelse:\n    net = Net(c)", "Net"),
        ("with torch.device('meta'):\n    net = Net(c)\nif a:\n    net = Other(c)", "Net"),
        ("with torch.device('meta'):\n    other = Net(c)", None),
    ],
)
def test_what_was_built_on_the_meta_device(body: str, built: str | None) -> None:
    fact = next(
        fact
        for fact in drops(f"def f():\n{textwrap.indent(body, '    ')}\n    net.to_empty()")
        if fact.how == "to_empty"
    )
    assert (fact.built and fact.built.callee) == built


def test_attribute_is_built_by_another_method() -> None:
    (fact,) = drops("""
        class Runner:
            def __init__(self):
                with torch.device("meta"):
                    self.net = Net()
            def start(self):
                self.net.to_empty(device="cpu")
    """)
    assert fact.built is not None
    assert (fact.built.callee, fact.built.line) == ("Net", 5)


def test_function_given_to_apply_is_followed() -> None:
    fact = drop("def reset(m):\n    m.reset_parameters()\nmodel.to_empty(device=d)\nmodel.apply(reset)")
    assert callees(fact) == ["model.apply", "m.reset_parameters"]
