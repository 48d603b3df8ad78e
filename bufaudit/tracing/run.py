"""One run of `probe`: every target that a request stands for, traced one after the other."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from bufaudit.outcomes import ModelReport, ProbeResult
from bufaudit.tracing.build import BuildError
from bufaudit.tracing.targets import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bufaudit.tracing.targets import Request, Target


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
    reports = []
    with _quiet():
        targets = resolve(request)
        for target in targets:
            if progress is not None:
                progress(len(reports), len(targets))
            reports.append(_report(target, paths, world_size))
    return ProbeResult(tuple(reports))


def _report(target: Target, paths: Sequence[str], world_size: int) -> ModelReport:
    from bufaudit.tracing.trace import trace_model

    try:
        return trace_model(target, paths, world_size)
    except BuildError as error:
        return failed(target.text, target.model_class, world_size, str(error))


def failed(text: str, class_name: str | None, world_size: int, error: str) -> ModelReport:
    """The report on a model that could not be built."""
    return ModelReport(
        target=text,
        class_name=class_name,
        transformers=_transformers_version(),
        torch=torch.__version__,
        world_size=world_size,
        error=error,
    )


def _transformers_version() -> str | None:
    try:
        from transformers import __version__
    except ImportError:
        return None
    return __version__


@contextmanager
def _quiet() -> Iterator[None]:
    """A context in which models keep their remarks on configs and devices to themselves."""
    try:
        from transformers.utils import logging
    except ImportError:
        yield
        return
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
