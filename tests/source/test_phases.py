"""When a method runs decides whether what it registers is there before a checkpoint is loaded."""

from __future__ import annotations

import ast
import textwrap

import pytest

from bufaudit.source.phases import calls_on_self, phases
from bufaudit.source.syntax import Definition


def phases_of(body: str) -> dict[str, str]:
    tree = ast.parse(f"class A:\n{textwrap.indent(textwrap.dedent(body), '    ')}")
    assert isinstance(tree.body[0], ast.ClassDef)
    return phases(calls_on_self([child for child in tree.body[0].body if isinstance(child, Definition)]))


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("__init__", "construction"),
        ("__post_init__", "construction"),
        ("configure_model", "construction"),
        ("load", "load"),
        ("_load_from_state_dict", "load"),
        ("from_pretrained", "load"),
        ("__setstate__", "load"),
        ("forward", "forward"),
        ("forward_features", "forward"),
        ("__call__", "forward"),
        ("fit", "training"),
        ("partial_fit", "training"),
        ("on_train_start", "training"),
        ("calibrate", "training"),
        ("train", "later"),
        ("update_layer", "later"),
        ("register_stats", "later"),
        ("fitness", "later"),
    ],
)
def test_phase_of_a_method_by_its_name(name: str, phase: str) -> None:
    assert phases_of(f"def {name}(self): pass") == {name: phase}


def test_what_a_method_calls_runs_when_it_does() -> None:
    found = phases_of(
        """
        def forward(self): self._look()
        def _look(self): self._deep()
        def _deep(self): self._look()
        def unused(self): other._deep()
        """
    )
    assert found == {"forward": "forward", "_look": "forward", "_deep": "forward", "unused": "later"}


def test_construction_and_load_come_before_use() -> None:
    """A method that the constructor calls has run by the time of a load, whoever calls it again."""
    found = phases_of(
        """
        def __init__(self): self._a()
        def load(self): self._b()
        def forward(self): self._a(); self._b(); self._c()
        def fit(self): self._c()
        def _a(self): pass
        def _b(self): pass
        def _c(self): pass
        """
    )
    assert (found["_a"], found["_b"], found["_c"]) == ("construction", "load", "forward")
