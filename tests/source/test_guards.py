"""What a condition asks about, and on how many ranks it holds."""

from __future__ import annotations

import ast

import pytest

from bufaudit.source.guards import guards_of, one_rank


def parsed(test: str) -> ast.expr:
    return ast.parse(test, mode="eval").body


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("x", set()),
        ("p.requires_grad", {"requires_grad"}),
        ("p.grad is not None", {"requires_grad"}),
        ("not (a and p.requires_grad)", {"requires_grad"}),
        ("'lora_A' in name", {"adapter", "name"}),
        ("explorations > 0", set()),
        ("getattr(p, '_is_hf_initialized', False)", {"initialized"}),
        ("p.is_meta", {"initialized"}),
        ("hasattr(p, 'ds_id')", {"sharded"}),
        ("isinstance(p, DTensor)", {"sharded"}),
        ("isinstance(p, torch.nn.Parameter)", {"parameter"}),
        ("key in module._buffers", {"buffer", "membership"}),
        ("'running_mean' in name", {"buffer", "name"}),
        ("name in seen", {"membership"}),
        ("name not in seen", {"membership"}),
        ("name == 'head'", {"name"}),
        ("name.endswith('.weight') or x", {"name"}),
        ("name > 3", set()),
    ],
)
def test_guards(test: str, expected: set[str]) -> None:
    assert guards_of(parsed(test)) == expected


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("rank == 0", True),
        ("dist.get_rank() == 0", True),
        ("self.local_rank <= 0", True),
        ("rank in (-1, 0)", True),
        ("not rank", True),
        ("accelerator.is_main_process", True),
        ("is_rank_0()", True),
        ("x and rank == 0", True),
        ("not (rank != 0)", True),
        ("rank != 0", False),
        ("rank > 0", False),
        ("not is_main_process()", False),
        ("not (x and rank == 0)", False),
        ("rank == world_size - 1", None),
        ("x == 0", None),
        ("frank == 0", None),
        ("rank", None),
        ("tensor.rank_of(x)", None),
    ],
)
def test_one_rank(test: str, expected: bool | None) -> None:
    assert one_rank(parsed(test)) is expected
