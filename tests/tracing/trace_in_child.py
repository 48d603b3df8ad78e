"""Traces what it is asked for with whichever release of transformers it finds: `trace_in_child.py REQUESTS`, in JSON.

A request is `{"target", "settings", "paths", "change"}`; `change`, an old and a new text, is made in the source of the
ZeRO-3 loader first. The last line printed has, for each request, `[version, [path as JSON]]`.
"""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import asdict
from typing import Any
from unittest import mock

import transformers
from transformers import modeling_utils
from transformers.integrations import deepspeed

from bufaudit.tracing.targets import Request, resolve
from bufaudit.tracing.trace import trace_model

LOADER = "_load_state_dict_into_zero3_model"


def changed_loader(old: str, new: str) -> Any:
    """Transformers' ZeRO-3 loader with a part of its source changed."""
    source = inspect.getsource(getattr(deepspeed, LOADER))
    assert old in source, f"{old!r} is not in the loader"
    scope = vars(deepspeed).copy()
    exec(compile(source.replace(old, new), deepspeed.__file__, "exec"), scope)
    return scope[LOADER]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The paths of a request by name."""
    (target,) = resolve(Request(request["target"], settings=request.get("settings", {})))
    loader = changed_loader(*request["change"]) if "change" in request else getattr(modeling_utils, LOADER)
    with mock.patch.object(modeling_utils, LOADER, loader):
        report = trace_model(target, request["paths"])
    assert report.error is None, report.error
    return {path.path: {**asdict(path), "verdicts": path.verdicts} for path in report.paths}


if __name__ == "__main__":
    answers = [answer(request) for request in json.loads(sys.argv[1])]
    print(json.dumps({"transformers": transformers.__version__, "answers": answers}))
