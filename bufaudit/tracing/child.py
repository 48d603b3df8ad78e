"""`python -m bufaudit.tracing.child FOLDER`: answers `request.json` with `reply.json`, as `sandbox` asks it to."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bufaudit.tracing.sandbox import Reply

_REQUEST = "request.json"
_REPLY = "reply.json"


def main(folder: Path) -> int:
    """Take on the limits, then find out what was asked. Gives the exit status."""
    asked = json.loads((folder / _REQUEST).read_bytes())
    _limit(asked["memory"], asked["largest_file"])
    from bufaudit.codec import to_json
    from bufaudit.tracing.reasons import ran_out_of_memory
    from bufaudit.tracing.sandbox import OUT_OF_MEMORY

    try:
        reply = _answer(asked)
    except Exception as error:
        if ran_out_of_memory(error):
            return OUT_OF_MEMORY
        raise
    unfinished = folder / f"{_REPLY}.part"
    unfinished.write_bytes(to_json(reply))
    unfinished.rename(folder / _REPLY)
    return 0


def _answer(asked: dict[str, Any]) -> Reply:
    from dataclasses import replace

    from bufaudit.errors import BufauditError
    from bufaudit.tracing.run import run
    from bufaudit.tracing.sandbox import Reply
    from bufaudit.tracing.targets import Request

    request = Request(
        asked["text"], class_name=asked["class_name"], settings=asked["settings"], trust_remote_code=True
    )
    try:
        result = run(request, asked["paths"], asked["world_size"])
    except BufauditError as error:
        return Reply(mistake=str(error))
    models = tuple(replace(model, target=asked["named"]) for model in result.models)
    return Reply(replace(result, models=models))


def _limit(memory: int, largest_file: int) -> None:
    """Bound what this process can take, for good. Where a system has no such limits there are none."""
    try:
        import resource
    except ImportError:
        return
    # Address space says little: libraries for GPUs reserve far more of it than they ever write to.
    for which, value in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, largest_file),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(which)[1]
        lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (lowest, lowest))


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    # Threads and exit handlers of the model's code are not waited for.
    os._exit(status)
