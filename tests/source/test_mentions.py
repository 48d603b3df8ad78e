"""Which names the definitions of a file make things of."""

from __future__ import annotations

import pytest

from bufaudit.source.mentions import mentions_of


def used(text: str) -> dict[str, frozenset[str]]:
    return {mention.name: mention.used for mention in mentions_of(text).definitions}


def test_classes_functions_and_tables_are_told_apart_by_what_they_use() -> None:
    text = (
        "TABLE = {\n    'a': Eager,\n}\n\ndef build(kind):\n    return TABLE[kind]()\n\n"
        "class Net(Base):\n    config_class = Settings\n    def __init__(self):\n"
        "        self.a = build('a')\n        self.b = Part(norm=Norm)\n        # Comment()\n"
    )
    found = used(text)
    assert "Eager" in found["TABLE"]
    assert "TABLE" in found["build"]
    assert {"Base", "build", "Part", "Norm"} <= found["Net"]
    assert found["Net"].isdisjoint({"Settings", "Comment"})


def test_class_with_a_loader_of_its_own() -> None:
    own = "class A(B):\n    def from_pretrained(cls, path):\n        return cls(path)\n"
    adds = "class A(B):\n    def from_pretrained(cls, path):\n        return super().from_pretrained(path)\n"
    assert [mentions_of(text).definitions[0].loads_itself for text in (own, adds)] == [True, False]


@pytest.mark.parametrize(
    ("text", "old"),
    [
        ("self.get_head_mask(a)", True),
        ("def get_head_mask(self): 0\nself.get_head_mask(a)", False),
        ("f = ROPE_INIT_FUNCTIONS[kind]", True),
        ("f = ROPE_INIT_FUNCTIONS[kind]\ndef compute_default_rope_parameters(): 0", False),
    ],
)
def test_code_that_needs_a_transformers_before_release_5(text: str, old: bool) -> None:
    assert mentions_of(text).needs_old_transformers is old
