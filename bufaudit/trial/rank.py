"""One rank of a trial: `python -m bufaudit.trial.rank REPLIES PATH RENDEZVOUS TIMEOUT`.

Its place among the ranks is in `RANK` and `WORLD_SIZE`, as launchers give it. Ranks meet at a file, not at a port.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bufaudit.trial.channel import Channel
from bufaudit.trial.comparing import judge
from bufaudit.trial.expectations import read_expectations
from bufaudit.trial.failures import path_error
from bufaudit.trial.loading import gathered, load, prepare
from bufaudit.trial.messages import (
    CompareReply,
    CompareRequest,
    Judgement,
    LoadReply,
    LoadRequest,
    Versions,
)
from bufaudit.trial.models import import_class, quiet
from bufaudit.trial.poison import poisoned_memory
from bufaudit.trial.state import named_state

if TYPE_CHECKING:
    from collections.abc import Sequence


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
            self._model = load(request.path, import_class(request.model_class), request.checkpoint)
        except Exception as error:
            return LoadReply(path_error(error, self._number, request.model_class))
        return LoadReply(None)

    def compare(self, request: CompareRequest) -> CompareReply:
        """Compare every tensor with what is expected, parameters after gathering them where that can be done."""
        assert self._request is not None and self._model is not None
        model, self._model = self._model, None
        folder = Path(self._request.folder)
        try:
            return CompareReply(_compared(model, folder, gather=request.gather))
        except Exception as error:
            return CompareReply((), path_error(error, self._number, self._request.model_class))


def _compared(model: torch.nn.Module, folder: Path, *, gather: bool) -> tuple[Judgement, ...]:
    expected = read_expectations(folder)
    found = {each.name: each for each in named_state(model)}
    judgements = []
    for tensor in expected.tensors:
        if tensor.name in found and found[tensor.name].kind == "parameter" and not gather:
            judgements.append(Judgement("raised", reason="not all ranks have a model to gather it from"))
        else:
            value = gathered(found[tensor.name].tensor) if tensor.name in found else None
            judgements.append(judge(tensor, expected.values, value))
    return tuple(judgements)


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
