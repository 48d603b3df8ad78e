"""`bufaudit verify`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bufaudit.cli import models, options, output
from bufaudit.trial import PATHS, TIMEOUT

if TYPE_CHECKING:
    from types import FrameType


@click.command("verify")
@models.model_options
@click.option("--no-shrink", "shrink", flag_value=False, default=True, help="Do not make the config smaller.")
@click.option(
    "--path", "paths", multiple=True, type=options.Choice(PATHS), help="A load path; repeatable. By default both."
)
@click.option(
    "--ranks", "world_size", type=click.IntRange(min=1), default=2, show_default=True, help="How many processes load."
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Load this folder in place of a checkpoint made for the trial.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="How long building a model may take, and each load.",
)
@models.loss_options
def command(
    target: str,
    paths: tuple[str, ...],
    settings: tuple[str, ...],
    baseline: Path | None,
    write_baseline: Path | None,
    output_format: str | None,
    output_file: Path | None,
    **request: Any,
) -> int:
    """Load small real models for real, on CPU processes, and compare every tensor on every rank.

    TARGET is a model type, a class of transformers, package.module:Class or a folder with a config.json. Exits with 0
    where nothing is lost, 1 where something is or a load fails, 2 where a model cannot be built.
    """
    from bufaudit.api import verify
    from bufaudit.report import render_verify

    # An end from outside leaves nothing behind either.
    signal.signal(signal.SIGTERM, _exit)
    known = models.known_losses(baseline, write_baseline)
    with models.modules_here((target,)), output.progress_line() as progress:
        result = verify(
            target,
            paths=tuple(dict.fromkeys(paths)) or PATHS,
            settings=options.parsed_settings(settings),
            progress=progress,
            **request,
        )
    return models.finish(
        result,
        render_verify,
        known,
        write_baseline=write_baseline,
        output_format=output_format,
        output_file=output_file,
    )


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
