"""One run of `probe`: every target that a request stands for, traced one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufaudit.outcomes import ModelReport, ProbeResult
from bufaudit.tracing.offline import offline
from bufaudit.tracing.paths import check_name
from bufaudit.tracing.quiet import quiet
from bufaudit.tracing.targets import resolve
from bufaudit.tracing.trace import trace_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bufaudit.tracing.targets import Request


def run(
    request: Request,
    paths: Sequence[str],
    world_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> ProbeResult:
    """Trace what a request stands for on each of the paths, in this process.

    `progress` is called with the number of models traced and the number to trace. Raises what `check_name` and
    `resolve` raise; a model that cannot be built is a report with an error.
    """
    reports: list[ModelReport] = []
    with offline(), quiet():
        for path in paths:
            check_name(path)
        targets = resolve(request)
        for target in targets:
            if progress is not None:
                progress(len(reports), len(targets))
            reports.append(trace_model(target, paths, world_size))
    return ProbeResult(tuple(reports))
