"""What a class's objects are made of, whatever its comments and strings say."""

from __future__ import annotations

import pytest

from bufaudit.source.parts import Parts, parts_of_classes


def parts(body: str) -> Parts:
    text = f"class Net(nn.Module):\n    def __init__(self, given):\n{body}\n\n\nOther()\n"
    return parts_of_classes(text)["Net"]


def line(code: str) -> Parts:
    return parts(f"        {code}")


def test_children_are_the_capitalised_calls_of_the_class_alone() -> None:
    found = parts_of_classes("A()\nclass B(C):\n    x = [D(), nn.E(), f(), G]\nH()\n")
    assert found == {"B": Parts(("D", "nn.E"))}


@pytest.mark.parametrize(
    "code",
    [
        "self.x = f(2)  # was BatchNorm1d(2)",
        'self.x = "BatchNorm1d(2)"',
        'self.x = """\n        BatchNorm1d(2)\n        """',
    ],
)
def test_comments_and_strings_construct_nothing(code: str) -> None:
    assert line(code).children == ()


def test_norm_that_keeps_no_statistics_is_no_child() -> None:
    assert line("self.x = nn.BatchNorm1d(2, track_running_stats=False)").children == ()
    assert line("self.x = nn.BatchNorm1d(2)").children == ("nn.BatchNorm1d",)
    both = "self.x = nn.BatchNorm1d(2); self.y = nn.BatchNorm1d(2, track_running_stats=False)"
    assert line(both).children == ("nn.BatchNorm1d",)


@pytest.mark.parametrize(
    "code",
    [
        "self.encoder = encoder",
        "self.encoder=encoder",
        "self.encoder = encoder  # pretrained",
        "self.encoder: nn.Module = encoder",
        "self.body = make_body(given)",
        "self.body = timm.create_model(given)",
        "self.f = given\n\n    def forward(self, x):\n        return self.f(x)",
    ],
)
def test_class_with_a_module_that_it_is_given_or_has_made_is_open(code: str) -> None:
    assert line(code).open


@pytest.mark.parametrize(
    "code",
    [
        "self.width = given",
        "self.act = given\n\n    def forward(self, x):\n        return self.act(x)",
        "self.layers = make_layers(given, lambda: nn.Linear(1, 1))",
        "self.x = nn.Linear(1, 1)",
        "# self.encoder = encoder",
    ],
)
def test_class_that_builds_its_modules_itself_is_not_open(code: str) -> None:
    assert not line(code).open
