"""Every way in which code gives a module a parameter, on the line that does it."""

from __future__ import annotations

import textwrap

import pytest

from bufaudit.source.parameters import ParameterPlace, parameters_of


def read(text: str) -> list[tuple[str | None, str, str, int, bool]]:
    """Class, receiver, name, line and whether empty, of each place."""
    places: tuple[ParameterPlace, ...] = parameters_of(textwrap.dedent(text))
    return [(each.class_name, each.receiver, each.name, each.line, each.empty) for each in places]


def in_class(statement: str) -> list[tuple[str, str, bool]]:
    """Receiver, name and whether empty, of what one statement in a constructor registers."""
    body = textwrap.indent(textwrap.dedent(statement), " " * 8)
    found = read(f"class Layer(nn.Module):\n    def __init__(self, size):\n{body}\n")
    assert all(name == "Layer" for name, *_ in found)
    return [(receiver, name, empty) for _, receiver, name, _, empty in found]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("self.weight = nn.Parameter(torch.ones(size))", [("self", "weight", False)]),
        ("self.weight = Parameter(torch.ones(size))", [("self", "weight", False)]),
        ("self.weight: nn.Parameter = torch.nn.Parameter(torch.ones(size))", [("self", "weight", False)]),
        ("self.weight = nn.Parameter(a) if size else None", [("self", "weight", False)]),
        ("self.a, self.b = nn.Parameter(x), nn.Parameter(y)", [("self", "a", False), ("self", "b", False)]),
        ("self.a = self.b = nn.Parameter(x)", [("self", "a", False), ("self", "b", False)]),
        ("self.scales = nn.ParameterList([nn.Parameter(x)])", [("self", "scales", False)]),
        ("self.proj.bias = nn.Parameter(x)", [("self.proj", "bias", False)]),
        ("self.register_parameter('bias', None)", [("self", "bias", True)]),
        ("self.register_parameter(name='bias', param=p)", [("self", "bias", False)]),
        ("super().register_parameter('bias', p)", [("self", "bias", False)]),
        ("self.register_parameter(f'w_{i}', p)", [("self", "w_{}", False)]),
        ("self._parameters['bias'] = p", [("self", "bias", False)]),
        ("setattr(self, 'w_' + name, p)", [("self", "w_{}", False)]),
        ("for i in range(2):\n    setattr(self, name, p)", [("self", "{}", False)]),
        ("self.count = sum(isinstance(p, nn.Parameter) for p in q)", []),
        ("self.weight = torch.ones(size)", []),
    ],
)
def test_forms(statement: str, expected: list[tuple[str, str, bool]]) -> None:
    assert in_class(statement) == expected


def test_lines_and_classes_are_those_of_the_file() -> None:
    assert read(
        """\
        class Outer:
            class Inner(nn.Module):
                def __init__(self):
                    self.scale = nn.Parameter(
                        x)

        def make():
            class Local(nn.Module):
                def __init__(self):
                    self.weight = nn.Parameter(x)
            def inner(module):
                module.register_parameter("g", x)
        """
    ) == [
        ("Outer.Inner", "self", "scale", 4, False),
        ("make.<locals>.Local", "self", "weight", 10, False),
        (None, "module", "g", 12, False),
    ]


def test_lines_stay_where_dull_code_was_left_out() -> None:
    dull = "def dull():\n" + "    x = 1\n" * 2000
    text = dull + "\r\n" + "class Layer:\n    def f(self):\n        pass\n\n    def __init__(self):\n"
    assert read(text + "        self.w = nn.Parameter(x)\n") == [("Layer", "self", "w", 2008, False)]


@pytest.mark.parametrize("text", ["", "x = 1", "self.w = nn.Parameter(", "class A:\n  Parameter(\n"])
def test_nothing_to_find(text: str) -> None:
    assert read(text) == []
