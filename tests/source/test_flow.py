"""What is read of a function: which state it walks, what becomes of it, and under which conditions."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from bufaudit.source.extract import extract

from .snippets import programs

if TYPE_CHECKING:
    from bufaudit.source.facts import Effect, Function

WALK = "for name, p in model.named_parameters():\n    "


def functions(text: str) -> dict[str, Function]:
    facts = extract(textwrap.dedent(text))
    assert facts.unreadable is None
    return {function.name: function for function in facts.functions}


def function(body: str, parameters: str = "model, other, state_dict, device, key") -> Function:
    """The facts of a function of that body."""
    text = f"def f({parameters}):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
    return functions(text)["f"]


def effects(body: str, kind: str) -> list[Effect]:
    return [effect for effect in function(body).effects if effect.kind == kind]


def kinds(read: Function, effect: Effect) -> set[str]:
    return {read.walks[index].kind for index in effect.walks}


# Walks


@pytest.mark.parametrize(
    ("expression", "kind", "receiver"),
    [
        ("model.parameters()", "parameters", "model"),
        ("model.named_parameters(recurse=False)", "parameters", "model"),
        ("model.layers[0].named_parameters(prefix='x')", "parameters", "model.layers[0]"),
        ("model._parameters", "parameters", "model"),
        ("model.named_buffers()", "buffers", "model"),
        ("model.buffers()", "buffers", "model"),
        ("model._buffers", "buffers", "model"),
        ("model.state_dict()", "state_dict", "model"),
        ("get_model_state_dict(model)", "state_dict", "model"),
        ("torch.load(key)", "saved", "torch.load"),
        ("state_dict[key]", "saved", "state_dict"),
        ("list(enumerate(model.parameters()))", "parameters", "model"),
        ("(yield from model.parameters())", "parameters", "model"),
        ("print(*model.parameters(), **dict(model.named_parameters()))", "parameters", "model"),
        ("x if (x := model.parameters()) else None", "parameters", "model"),
        ("f'{list(model.parameters())}'", "parameters", "model"),
        ("[p for m in model for p in m.parameters()]", "parameters", "m"),
    ],
)
def test_walk(expression: str, kind: str, receiver: str) -> None:
    found = {(walk.kind, walk.receiver) for walk in function(f"x = {expression}\nmodel.parameters()").walks}
    assert (kind, receiver) in found


@pytest.mark.parametrize(
    "expression", ["optimizer.state_dict()", "inspect.signature(f).parameters", "sig.parameters()"]
)
def test_what_is_no_module_is_not_walked(expression: str) -> None:
    assert functions(f"def f(optimizer, sig):\n    x = {expression}\n    y = [p for p in x]\n") == {} or (
        function(f"x = {expression}").walks == ()
    )


def test_walk_stands_where_it_is_written() -> None:
    read = function("for n, p in zip(model.parameters(), other.parameters()):\n    p.copy_(n)")
    assert [(walk.receiver, walk.place.line, walk.place.column) for walk in read.walks] == [
        ("model", 2, 21),
        ("other", 2, 41),
    ]


def test_class_of_a_walked_object_is_known_from_what_made_it() -> None:
    read = functions("""
        class Agent:
            def __init__(self):
                self.net = DDP(copy.deepcopy(Net(3)).to(device).eval())
                self.either = A() if x else B()
                self.twice = A()
                self.twice = B()
            def step(self):
                local = Net(4).cuda()
                for module in (self.net, self.either, self.twice, local, self):
                    pass
                return [self.net.parameters(), self.either.parameters(), self.twice.parameters(),
                        local.parameters(), self.parameters(), given.parameters(), Net().parameters()]
    """)["Agent.step"]
    assert {walk.receiver: walk.receiver_type for walk in read.walks} == {
        "self.net": "Net",
        "self.either": None,
        "self.twice": None,
        "local": "Net",
        "self": "Agent",
        "given": None,
        "Net()": "Net",
    }


# Effects


@pytest.mark.parametrize(
    ("body", "target"),
    [
        (WALK + "p.copy_(x)", "copy_"),
        (WALK + "p.data.copy_(x)", "copy_"),
        (WALK + "p.detach().view(-1).copy_(x)", "copy_"),
        (WALK + "p.data = x", "data"),
        (WALK + "setattr(p, 'data', x)", "data"),
        (WALK + "p[:] = x", "p"),
        (WALK + "p.data[0] = x", "p.data"),
        (WALK + "p *= 2", "augment"),
        (WALK + "p.data += x", "augment"),
        (WALK + "q = p.data\n    q.zero_()", "zero_"),
        (WALK + "async def g(): pass\n    p.mul_(x)", "mul_"),
        ("for p in model.parameters(): p.fill_(0)", "fill_"),
        ("for i, (n, p) in enumerate(model.named_parameters()): p.fill_(0)", "fill_"),
        ("for p, q in zip(model.parameters(), x): p.copy_(q)", "copy_"),
        ("dict(model.named_parameters())[key].copy_(x)", "copy_"),
        ("params = dict(model.named_parameters())\nparams[key].data.copy_(x)", "copy_"),
        ("params = {n: p for n, p in model.named_parameters()}\nparams.get(key).copy_(x)", "copy_"),
        ("for p in sorted(list(model.parameters())): p.copy_(x)", "copy_"),
        ("for p in chain(model.parameters(), x): p.copy_(x)", "copy_"),
        ("for n in params:\n    pass\nmodel._parameters[key].copy_(x)", "copy_"),
        ("with y:\n    try:\n        p = model.parameters()[i]\n    finally:\n        p.copy_(x)", "copy_"),
        ("match x:\n    case [a]:\n        for p in model.parameters(): p.copy_(a)", "copy_"),
        ("(q := model._parameters[key]).copy_(x)", "copy_"),
    ],
)  # fmt: skip
def test_write(body: str, target: str) -> None:
    read = function(body)
    found = [effect for effect in read.effects if effect.kind == "write"]
    assert [effect.target for effect in found] == [target]
    assert kinds(read, found[0]) == {"parameters"}


@pytest.mark.parametrize(
    "statement",
    ["x.copy_(p)", "p.clone().copy_(x)", "p.grad.zero_()", "p.requires_grad_(False)", "p.grad = None", "p.shape",
     "p.requires_grad = False", "(p + 1).mul_(2)", "p = x", "p.numel()", "f = lambda: p.zero_()"],
)  # fmt: skip
def test_what_writes_no_state(statement: str) -> None:
    assert effects(WALK + statement, "write") == []


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ("state = {}\n" + WALK + "state[name] = p.cpu()", "state"),
        ("out = []\n" + WALK + "out.append((name, p))", "out"),
        ("state = {n: p for n, p in model.named_parameters()}", "state"),
        ("state = {n: p for n, p in model.named_parameters() if n in key}", "state"),
        ("return {n: p for n, p in model.named_parameters()}", "return"),
        ("return [p.cpu() for p in model.parameters()]", "return"),
        (WALK + "yield name, p", "yield"),
        ("self.state = dict(a=1, **{n: p for n, p in model.named_parameters()})", None),
        ("x.update({n: p for n, p in model.named_parameters()})", "x"),
        ("out = []\nfor p in model.parameters():\n    out += [p]", "out"),
    ],
)
def test_store(body: str, target: str | None) -> None:
    targets = [effect.target for effect in effects(body, "store")]
    assert target is None or target in targets


def test_name_under_which_a_tensor_is_stored_is_its_own() -> None:
    (own,) = effects("state = {}\n" + WALK + "state[name] = p.cpu()", "store")
    (other,) = effects("state = {}\n" + WALK + "state[key] = p.cpu()", "store")
    assert "keyed" in own.origins
    assert "keyed" not in other.origins


@pytest.mark.parametrize(
    ("body", "kind", "target"),
    [
        (WALK + "dist.broadcast(p, src=0)", "pass", "dist.broadcast"),
        (WALK + "send(*[p], name=name)", "pass", "send"),
        (WALK + "p._is_hf_initialized = True", "mark", "_is_hf_initialized"),
        (WALK + "setattr(p, '_flag', True)", "mark", "_flag"),
        (WALK + "missing_keys.discard(name)", "settle", "missing_keys"),
        ("params = dict(model.named_parameters())\nfor k, v in state_dict.items():\n    params[k]", "lookup", "[]"),
        (WALK + "model._parameters[name] = p.cpu()", "assign", "model._parameters"),
        (WALK + "setattr(model, name, nn.Parameter(p))", "assign", "setattr"),
        ("for k, v in model.state_dict().items():\n    v.device_mesh", "attribute", "device_mesh"),
    ],
)
def test_other_effect(body: str, kind: str, target: str) -> None:
    assert target in [effect.target for effect in effects(body, kind)]


@pytest.mark.parametrize(
    "body",
    [
        "missing = set(n for n, _ in model.named_parameters()) - set(state_dict)",
        WALK + "if name not in state_dict: missing.append(name)",
    ],
)
def test_names_that_a_checkpoint_lacks(body: str) -> None:
    assert effects(body, "missing")


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("state_dict[name]", "checkpoint"),
        ("torch.load(key)[name]", "checkpoint"),
        ("other.state_dict()[name]", "state"),
        ("p.to(device)", "moved"),
        ("p.cpu()", "moved"),
        ("p.half()", "cast"),
        ("p.to(dtype=other.dtype)", "cast"),
        ("p.clone()", "copied"),
        ("p * 2", "arithmetic"),
        ("p.grad", "gradient"),
        ("unknown", "other"),
        ("nn.Parameter(state_dict[name])", "parameter"),
        ("p.to('meta')", "meta"),
    ],
)
def test_origin_of_a_written_value(value: str, origin: str) -> None:
    (found,) = effects(WALK + f"p.data = {value}", "write")
    assert origin in found.origins


def test_sources_of_a_mix_are_both_models() -> None:
    read = function(
        "for a, b in zip(model.parameters(), other.parameters()):\n    a.data.mul_(0.9).add_(b.data, alpha=1)"
    )
    last = [effect for effect in read.effects if effect.kind == "write"][-1]
    assert [read.walks[index].receiver for index in last.walks] == ["model"]
    assert "other" in [read.walks[index].receiver for index in last.sources]


# Guards


@pytest.mark.parametrize(
    ("test", "guard"),
    [
        ("p.requires_grad", "requires_grad"),
        ("not p.requires_grad", "requires_grad"),
        ("'lora_' in name", "adapter"),
        ("p._is_hf_initialized", "initialized"),
        ("name in buffer_names", "buffer"),
        ("isinstance(p, nn.Parameter)", "parameter"),
        ("isinstance(p, DTensor)", "sharded"),
        ("name.startswith('x')", "name"),
        ("name in state_dict", "membership"),
        ("x and (name in state_dict or y)", "membership"),
        ("dist.get_rank() == 0", "rank"),
        ("rank == 0 and x", "rank"),
        ("not rank", "rank"),
        ("is_main_process()", "rank"),
    ],
)
def test_condition_guards_its_body_an_early_exit_what_follows_and_a_filter_what_it_lets_through(
    test: str, guard: str
) -> None:
    (inside,) = effects(WALK + f"if {test}:\n        p.copy_(x)", "write")
    assert guard in inside.guards
    (after,) = effects(WALK + f"if not ({test}):\n        continue\n    p.copy_(x)", "write")
    assert guard in after.guards
    (chosen,) = effects(WALK + f"p.copy_(x) if {test} else None", "write")
    assert guard in chosen.guards
    (free,) = effects(WALK + f"if {test}:\n        pass\n    p.copy_(x)", "write")
    assert free.guards == frozenset()
    if guard != "rank":
        filtered = effects(f"return [p for name, p in model.named_parameters() if {test}]", "store")
        assert any(guard in effect.guards for effect in filtered)


@pytest.mark.parametrize(
    "test", ["rank == 0", "local_rank in [-1, 0]", "is_main_process()", "self.is_global_zero", "not rank"]
)
def test_one_rank_is_told_from_the_others(test: str) -> None:
    here, there = effects(WALK + f"if {test}:\n        p.copy_(x)\n    else:\n        p.zero_()", "write")
    assert "rank" in here.guards
    assert "rank" not in there.guards
    (after,) = effects(WALK + f"if {test}:\n        return\n    p.copy_(x)", "write")
    assert "rank" not in after.guards


@pytest.mark.parametrize("test", ["rank != 0", "rank > 0", "not is_main_process()"])
def test_all_ranks_but_one_are_no_one_rank(test: str) -> None:
    here, there = effects(WALK + f"if {test}:\n        p.copy_(x)\n    else:\n        p.zero_()", "write")
    assert "rank" not in here.guards
    assert "rank" in there.guards


def test_guard_ends_with_its_block() -> None:
    first, second = effects(
        "for p in model.parameters():\n    if p.requires_grad:\n        continue\n    p.copy_(x)\n"
        "for p in model.parameters():\n    p.zero_()",
        "write",
    )
    assert "requires_grad" in first.guards
    assert second.guards == frozenset()


# Functions and calls


def test_nested_function_stores_into_the_container_around_it() -> None:
    read = functions("""
        def snapshot(model):
            state_dict = {}
            def take(module, prefix):
                for name, p in module.named_parameters(recurse=False):
                    state_dict[prefix + name] = p.cpu()
            take(model, '')
            return state_dict
    """)["snapshot.take"]
    assert [walk.kind for walk in read.walks] == ["parameters"], "a dict that is built here is no checkpoint"
    assert [(effect.kind, effect.target) for effect in read.effects] == [("store", "state_dict")]


def test_methods_nested_and_module_code_have_their_names() -> None:
    found = functions("""
        class A:
            class B:
                def m(self, x): return list(x.parameters())
            async def n(self, x, *rest, key=None, **more):
                '''It copies state.'''
                def inner(): return x.state_dict()
                return x.parameters()
        for p in model.parameters(): print(p)
    """)
    assert set(found) == {"A.B.m", "A.n", "A.n.inner", "<module>"}
    assert (found["A.B.m"].class_name, found["A.n.inner"].class_name, found["<module>"].class_name) == (
        "A.B",
        "A",
        None,
    )
    assert found["A.n"].doc == "It copies state."
    assert found["A.n"].parameters == ("self", "x", "key")


def test_load_is_recorded_with_what_becomes_of_its_result() -> None:
    read = function("""
        checkpoint = torch.load(key)
        model.load_state_dict(checkpoint, strict=False)
        result = other.load_state_dict(checkpoint, False)
        if rank == 0:
            model.load_state_dict(checkpoint)
    """)
    thrown, kept, alone = read.calls
    assert (thrown.callee, thrown.used, thrown.origin) == ("model.load_state_dict", False, "torch.load(key)")
    assert thrown.keywords == (("strict", "False"),)
    assert kept.used
    assert kept.arguments == ("checkpoint", "False")
    assert ("rank" in alone.guards, "rank" in thrown.guards) == (True, False)


def test_words_tell_what_else_a_function_does_about_buffers() -> None:
    read = function("for p in model.parameters(): p.copy_(x)\nsync_all_buffers(model)\nx.running_mean = 1")
    assert {"sync_all_buffers", "running_mean"} <= read.words


def test_function_that_does_nothing_to_state_is_left_out() -> None:
    assert functions("def f(x):\n    return x.parameters\ndef g(x):\n    return x + 1\n") == {}


def test_branches_are_merged() -> None:
    found = effects("if x:\n    q = model.parameters()\nelse:\n    q = None\nfor p in q: p.copy_(x)", "write")
    assert len(found) == 1


# Robustness


@given(programs)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_parses_is_read(text: str) -> None:
    facts = extract(text)
    assert facts.unreadable is None
    lines = text.count("\n") + 1
    for read in facts.functions:
        for effect in read.effects:
            assert all(index < len(read.walks) for index in (*effect.walks, *effect.sources))
            assert 1 <= effect.place.first_line <= effect.place.line <= effect.place.end_line <= lines
        for call in read.calls:
            assert all(index < len(read.walks) for indexes in call.walks for index in indexes)


@pytest.mark.parametrize(
    "text",
    ["x = " + "a." * 150 + "parameters()", "x = a" + ".to(b)" * 60 + ".parameters()", "x = a" + ".parameters()" * 60,
     "x = r.running_mean" + ".parameters()" * 24, "x = " + "(" * 90 + "a.parameters()" + ")" * 90,
     "\n".join(f"{' ' * n}if p.parameters():" for n in range(90)) + "\n" + " " * 90 + "pass"],
)  # fmt: skip
def test_deep_nesting_takes_no_longer_than_it_is_deep(text: str) -> None:
    assert extract(text).unreadable is None


def test_chain_of_calls_is_read_once() -> None:
    """Read twice at each call, a chain of sixty would never end; and each effect is noted once."""
    written = effects(
        "for p in model.parameters():\n    p.copy_(key).state_dict(key)" + ".state_dict(key)" * 60, "write"
    )
    assert len(written) == 1


def test_a_function_with_very_much_in_it_is_read_as_far_as_a_person_would_write_it() -> None:
    body = "x = list(model.parameters())\n" * 2000
    found = functions(f"def f(model):\n{textwrap.indent(body, '    ')}\ndef g(model):\n    model.parameters()\n")
    assert len(found["f"].walks) == 500
    assert len(found["g"].walks) == 1
