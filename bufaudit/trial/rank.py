"""One rank of a trial: `python -m bufaudit.trial.rank REPLIES PATH RENDEZVOUS TIMEOUT`.

Its place among the ranks is in `RANK` and `WORLD_SIZE`, as launchers give it. Ranks meet at a file, not at a port.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bufaudit.failures import path_error
from bufaudit.trial.channel import Channel
from bufaudit.trial.comparing import ExpectedValues, judge
from bufaudit.trial.expectations import read_expectations
from bufaudit.trial.loading import gathered, is_sharded, load, own_shard, prepare, shard_of
from bufaudit.trial.messages import (
    CompareReply,
    CompareRequest,
    Judgement,
    LoadReply,
    LoadRequest,
    Versions,
)
from bufaudit.trial.models import model_class_of, quiet
from bufaudit.trial.poison import poisoned_memory
from bufaudit.trial.state import named_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bufaudit.trial.messages import ExpectedTensor

_BY_SHARD = "judged by the shard of this rank: not all ranks have a model to gather it from"


class Rank:
    """What a rank holds between a request to load and one to compare."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._request: LoadRequest | None = None
        self._model: torch.nn.Module | None = None

    def load(self, request: LoadRequest) -> LoadReply:
        """Run the load path; the model stays until it is compared."""
        self._request, self._model = request, None
        try:
            self._model = load(request.path, model_class_of(request.model_class), request.checkpoint)
        except Exception as error:
            return LoadReply(path_error(error, self._number, request.model_class))
        return LoadReply(None)

    def compare(self, request: CompareRequest) -> CompareReply:
        """Compare every tensor with what is expected, parameters after gathering them where that can be done."""
        assert self._request is not None and self._model is not None
        model, self._model = self._model, None
        folder = Path(self._request.folder)
        try:
            return CompareReply(_compared(model, folder, self._number, gather=request.gather))
        except Exception as error:
            return CompareReply((), path_error(error, self._number, self._request.model_class))


def _compared(model: torch.nn.Module, folder: Path, rank: int, *, gather: bool) -> tuple[Judgement, ...]:
    expected = read_expectations(folder)
    found = {each.name: each.tensor for each in named_state(model)}
    judgements = []
    for tensor in expected.tensors:
        value = found.get(tensor.name)
        if value is None or gather or not is_sharded(value):
            judgements.append(judge(tensor, expected.values, value if value is None else gathered(value)))
        else:
            judgements.append(_judge_shard(tensor, expected.values, value, rank))
    return tuple(judgements)


def _judge_shard(expected: ExpectedTensor, values: ExpectedValues, found: torch.Tensor, rank: int) -> Judgement:
    """The outcome of a parameter that cannot be gathered, by what this rank has of it."""
    shard = own_shard(found, rank)
    checkpoint = {expected.name: shard_of(values.checkpoint[expected.name], found, rank)} if expected.persisted else {}
    judgement = judge(
        replace(expected, shape=tuple(shard.shape)), ExpectedValues(checkpoint, values.constructed), shard
    )
    return replace(judgement, reason=_BY_SHARD)


def main(arguments: Sequence[str]) -> None:
    """Meet the other ranks, say so, then load and compare what is asked for."""
    replies, path, rendezvous, timeout = arguments
    channel = Channel(requests=0, replies=int(replies))
    torch.set_num_threads(1)
    number, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    import transformers

    with quiet(), poisoned_memory():
        torch.distributed.init_process_group(
            "gloo",
            init_method=Path(rendezvous).as_uri(),
            rank=number,
            world_size=world_size,
            timeout=timedelta(seconds=float(timeout)),
        )
        prepare(path)
        channel.send(Versions(torch.__version__, transformers.__version__))
        rank = Rank(number)
        channel.serve({LoadRequest: rank.load, CompareRequest: rank.compare})


if __name__ == "__main__":
    main(sys.argv[1:])
