"""`bufaudit verify`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bufaudit.cli import options, output
from bufaudit.report import PROBE_FORMATS
from bufaudit.trial import PATHS, TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@click.command("verify")
@click.argument("target")
@click.option("--class", "class_name", help="One class of a model type or folder, in place of all.")
@click.option("--config", type=click.Path(path_type=Path), help="A config.json to take in place of the default.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set an option of the config.")
@click.option("--no-shrink", "shrink", flag_value=False, default=True, help="Do not make the config smaller.")
@click.option("--path", "paths", multiple=True, type=options.Choice(PATHS), help="A load path; by default both.")
@click.option("--ranks", type=click.IntRange(min=1), default=2, show_default=True, help="How many processes load.")
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
    help="Seconds that building a model may take, and each load.",
)
@click.option("--trust-remote-code", is_flag=True, help="Run the code that a model folder brings.")
@options.report_options(PROBE_FORMATS)
def command(
    target: str,
    class_name: str | None,
    config: Path | None,
    settings: tuple[str, ...],
    shrink: bool,
    paths: tuple[str, ...],
    ranks: int,
    checkpoint: Path | None,
    timeout: float,
    trust_remote_code: bool,
    output_format: str | None,
    output_file: Path | None,
) -> int:
    """Load small real models for real, on CPU processes, and compare every tensor on every rank.

    TARGET is a model type, a class, package.module:Class or a folder with a config.json. Exits with 0 where nothing is
    lost, 1 where something is or a load fails, 2 where the trial could not run.
    """
    from bufaudit.report import render_verify
    from bufaudit.tracing.targets import Request
    from bufaudit.trial import Trial, verify

    # An end from outside leaves nothing behind either.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with output.progress_line() as progress:
        result = verify(
            Request(target, class_name, config, _values(settings), trust_remote_code),
            Trial(
                paths=tuple(dict.fromkeys(paths)) or PATHS,
                world_size=ranks,
                shrink=shrink,
                checkpoint=checkpoint,
                timeout=timeout,
                progress=progress,
            ),
        )
    output.warn(result.warnings)
    report = render_verify(
        result, output_format or "text", color=output.in_color(output_file), width=output.width(output_file)
    )
    output.write(report, output_file)
    if any(model.lossy for model in result.models):
        return 1
    return 2 if any(model.error is not None for model in result.models) else 0


def _values(settings: tuple[str, ...]) -> Mapping[str, Any]:
    """`KEY=VALUE` with JSON values; what is no JSON is text."""
    import json

    values: dict[str, Any] = {}
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign or not key:
            raise click.UsageError(f"--set takes KEY=VALUE, not {setting!r}.")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values
