"""`python -m bufaudit.tracing.child FOLDER`: answers the request in a folder, as `sandbox` asks it to."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bufaudit.outcomes import PathReport, ProbeResult
    from bufaudit.tracing.sandbox import Reply

#: Where transformers copies the modules of a directory to, in a folder named after their content.
_COPY = re.compile(r"^.*\btransformers_modules/[^/]+/(?:[0-9a-f]+/)?")


def main(folder: Path) -> int:
    """Take on the limits, find out what was asked and write it down. Gives the exit status."""
    from bufaudit.codec import to_json
    from bufaudit.tracing.reasons import ran_out_of_memory
    from bufaudit.tracing.sandbox import OUT_OF_MEMORY, REPLY, REQUEST

    asked = json.loads((folder / REQUEST).read_bytes())
    _limit(asked["limits"])
    sys.path.extend(path for path in asked["search"] if path not in sys.path)
    try:
        reply = _answer(asked)
    except Exception as error:
        if ran_out_of_memory(error):
            return OUT_OF_MEMORY
        raise
    unfinished = folder / f"{REPLY}.part"
    unfinished.write_bytes(to_json(reply))
    unfinished.rename(folder / REPLY)
    return 0


def _answer(asked: Mapping[str, Any]) -> Reply:
    from bufaudit.errors import BufauditError
    from bufaudit.tracing.run import run
    from bufaudit.tracing.sandbox import Reply
    from bufaudit.tracing.targets import Request

    request = Request(asked["text"], asked["class_name"], settings=asked["settings"], trust_remote_code=True)
    try:
        result = run(request, asked["paths"], asked["world_size"])
    except BufauditError as error:
        return Reply(mistake=str(error))
    return Reply(_at_home(result, Path(request.text).resolve().name))


def _at_home(result: ProbeResult, folder: str) -> ProbeResult:
    """The result with places in the directory itself, where they are in the copy that transformers makes of it."""

    def home(place: str | None) -> str | None:
        return place and _COPY.sub(lambda _: f"{folder}/", place)

    def of_path(path: PathReport) -> PathReport:
        tensors = tuple(replace(tensor, declared_at=home(tensor.declared_at)) for tensor in path.tensors)
        error = path.error and replace(path.error, at=home(path.error.at))
        return replace(path, tensors=tensors, error=error, loader=home(path.loader))

    models = (replace(model, paths=tuple(map(of_path, model.paths))) for model in result.models)
    return replace(result, models=tuple(models))


def _limit(limits: Mapping[str, Any]) -> None:
    """Bound what this process can take, for good. A system without such limits has none."""
    try:
        import resource
    except ImportError:
        return
    # Address space says little: libraries for GPUs reserve far more of it than they ever write to.
    wanted = {
        resource.RLIMIT_DATA: limits["memory"],
        resource.RLIMIT_FSIZE: limits["file"],
        resource.RLIMIT_CORE: 0,
    }
    for which, value in wanted.items():
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))
    # Ends this process where the one that waits for it is gone.
    signal.setitimer(signal.ITIMER_REAL, limits["seconds"] + 1)


if __name__ == "__main__":
    try:
        status = main(Path(sys.argv[1]))
    except Exception:
        sys.excepthook(*sys.exc_info())
        status = 1
    # Threads and exit handlers of the model's code are not waited for.
    os._exit(status)
