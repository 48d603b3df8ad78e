"""What calls give to functions that walk a parameter: the classes that a helper is ever given."""

from __future__ import annotations

import textwrap

from bufaudit.source.extract import extract

HELPER = """
    import copy
    def soft(net, target):
        for p, t in zip(net.parameters(), target.parameters()):
            t.lerp_(p, 0.1)
"""


def given(calls: str) -> set[tuple[str, str, str | None]]:
    facts = extract(textwrap.dedent(HELPER) + textwrap.dedent(calls))
    return {(argument.parameter, argument.text, argument.type_name) for argument in facts.arguments}


def test_attributes_give_the_classes_that_they_are_made_from_whatever_the_order() -> None:
    calls = """
        class Agent:
            def step(self):
                soft(self.net, target=self.slow)
            def __init__(self, n):
                self.net = Net(n).to("cuda")
                self.slow = copy.deepcopy(self.net)
            def load(self):
                return self.net.state_dict()
    """
    assert given(calls) == {("net", "self.net", "Net"), ("target", "self.slow", "Net")}


def test_variables_and_annotated_parameters_have_their_classes_and_nothing_else_has_one() -> None:
    calls = """
        def one(a: models.Net, b: nn.Module):
            soft(a, b)
            return a.state_dict()
        def two(c):
            d = Net(3)
            soft(c, d)
            return d.state_dict()
    """
    assert given(calls) == {
        ("net", "a", "models.Net"), ("target", "b", None), ("net", "c", None), ("target", "d", "Net"),
    }  # fmt: skip


def test_method_of_the_same_name_is_another_function() -> None:
    assert given("def f(m):\n    m.soft(m.a, m.b)\n    return m.state_dict()\n") == set()


def test_self_is_the_class_around_the_call() -> None:
    calls = """
        class Net:
            def follow(self, other):
                soft(other, self)
                return self.state_dict()
    """
    assert ("target", "self", "Net") in given(calls)
