"""One run of `probe`: every target that a request stands for, traced one after the other."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bufaudit.outcomes import ModelReport, ProbeResult
from bufaudit.tracing.offline import offline
from bufaudit.tracing.targets import resolve
from bufaudit.tracing.trace import trace_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bufaudit.tracing.targets import Request

#: Above every level at which transformers logs.
_NOTHING = 100


def run(
    request: Request,
    paths: Sequence[str],
    world_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> ProbeResult:
    """Trace what a request stands for on each of the paths, in this process.

    `progress` is called with the number of models traced and the number to trace. Raises what `resolve` raises; a model
    that cannot be built is a report with an error.
    """
    reports: list[ModelReport] = []
    with _quiet(), offline():
        targets = resolve(request)
        for target in targets:
            if progress is not None:
                progress(len(reports), len(targets))
            reports.append(trace_model(target, paths, world_size))
    return ProbeResult(tuple(reports))


@contextmanager
def _quiet() -> Iterator[None]:
    """A context in which models keep their remarks on configs and devices to themselves."""
    try:
        from transformers.utils import logging
    except ImportError:
        yield
        return
    before = logging.get_verbosity()
    logging.set_verbosity(_NOTHING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
