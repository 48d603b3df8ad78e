"""Why a model cannot be built, in words that help."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from bufaudit.tracing.reasons import ran_out_of_memory, reason

_TIMM = """
TimmBackbone requires the timm library but it was not found in your environment. You can install it with pip:
`pip install timm`. Please note that you may need to restart your runtime after installation.
"""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ImportError(_TIMM), "it needs a package that is not installed: timm"),
        (
            ModuleNotFoundError("No module named 'natten'", name="natten"),
            "it needs a package that is not installed: natten",
        ),
        (ImportError("cannot do that"), "ImportError: cannot do that"),
        (ValueError("first\n\n  second\x1b[31m"), "ValueError: first second\\x1b[31m"),
        (AssertionError(), "AssertionError"),
        (MemoryError(), "it ran out of memory (MemoryError)"),
    ],
)
def test_a_reason_is_one_line(error: Exception, text: str) -> None:
    assert reason(error, None) == text


def test_a_long_text_is_cut() -> None:
    assert len(reason(ValueError("x" * 10_000), None)) < 400


def test_torch_says_in_words_that_memory_is_gone() -> None:
    assert ran_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    assert not ran_out_of_memory(RuntimeError("shape mismatch"))
