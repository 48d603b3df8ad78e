"""The case that started bufaudit: a ZeRO-3 loader that lost every buffer, and the fixes that followed.

Each stage is told apart from its neighbours, so a rule that grows vague enough to blur them fails here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .pages import findings, marked_lines

if TYPE_CHECKING:
    from pathlib import Path

LOAD_RULES = ("BUF101", "BUF102", "BUF103")

START = """\
import torch
import torch.distributed as dist
from torch import nn


def load_into_partitioned_model(model, state_dict):
    missing_keys = set(model.state_dict().keys())
    errors = []

    def load(module: nn.Module, prefix=""):
        import deepspeed

        arguments = (state_dict, prefix, {}, True, [], [], errors)
"""

END = """
        for name, child in module._modules.items():
            if child is not None:
                load(child, prefix + name + ".")

    load(model)
    return errors, missing_keys
"""

PARAMETERS = """\
        own_parameters = dict(module.named_parameters(prefix=prefix[:-1], recurse=False))
        to_gather = []
        for key in own_parameters:
            if key in state_dict:
                parameter = own_parameters[key]
                parameter._is_hf_initialized = True
                to_gather.append(parameter)
                missing_keys.discard(key)

        if len(to_gather) > 0:
            with deepspeed.zero.GatheredParameters(to_gather, modifier_rank=0):
                if dist.get_rank() == 0:
                    module._load_from_state_dict(*arguments)
"""

PARAMETERS_ALONE = PARAMETERS.replace("recurse=False))", "recurse=False))  # expect: BUF101", 1)

COPIED_ON_RANK_0 = """
        own_buffers = dict(module.named_buffers(prefix=prefix[:-1], recurse=False))
        for key, buffer in own_buffers.items():
            if key in state_dict and buffer is not None:
                missing_keys.discard(key)
                if dist.get_rank() == 0:
                    with torch.no_grad():
                        buffer.copy_(state_dict[key])  # expect: BUF102
                buffer._is_hf_initialized = True
"""

COPIED_ON_RANK_0_UNMARKED = """
        own_buffers = dict(module.named_buffers(prefix=prefix[:-1], recurse=False))
        for key, buffer in own_buffers.items():
            if key in state_dict and buffer is not None:
                missing_keys.discard(key)
                if dist.get_rank() == 0:
                    with torch.no_grad():
                        buffer.copy_(state_dict[key])  # expect: BUF102, BUF103
"""

COPIED_UNMARKED = """
        own_buffers = dict(module.named_buffers(prefix=prefix[:-1], recurse=False))
        for key, buffer in own_buffers.items():
            if key in state_dict and buffer is not None:
                missing_keys.discard(key)
                with torch.no_grad():
                    buffer.copy_(state_dict[key])  # expect: BUF103
"""

COPIED_AND_MARKED = """
        own_buffers = dict(module.named_buffers(prefix=prefix[:-1], recurse=False))
        for key, buffer in own_buffers.items():
            if key in state_dict and buffer is not None:
                missing_keys.discard(key)
                with torch.no_grad():
                    buffer.copy_(state_dict[key])
                buffer._is_hf_initialized = True
"""

READ_ON_RANK_0_AND_BROADCAST = """
        own_buffers = dict(module.named_buffers(prefix=prefix[:-1], recurse=False))
        for key, buffer in own_buffers.items():
            if key in state_dict and buffer is not None:
                missing_keys.discard(key)
                entry = state_dict[key]
                if dist.get_rank() == 0:
                    entry = entry.to(buffer.device).contiguous()
                else:
                    entry = torch.empty(entry.shape, dtype=entry.dtype, device=buffer.device)
                dist.broadcast(entry, src=0)
                with torch.no_grad():
                    buffer.copy_(entry)
                buffer._is_hf_initialized = True
"""

STAGES = {
    "as it was": START + PARAMETERS_ALONE + END,
    "first fix, rank 0 alone": START + PARAMETERS + COPIED_ON_RANK_0 + END,
    "first fix, wrong twice": START + PARAMETERS + COPIED_ON_RANK_0_UNMARKED + END,
    "second fix, no flag": START + PARAMETERS + COPIED_UNMARKED + END,
    "merged": START + PARAMETERS + COPIED_AND_MARKED + END,
    "today, read once and broadcast": START + PARAMETERS + READ_ON_RANK_0_AND_BROADCAST + END,
}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_its_own_findings(stage: str, tmp_path: Path) -> None:
    text = STAGES[stage]
    reported = {(found.code, found.line) for found in findings(text, tmp_path, "medium")}
    assert reported == {(code, line) for code in LOAD_RULES for line in marked_lines(text, code)}
