"""What `probe` and `verify` share: which models are meant, and how a result ends the run."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from bufaudit.cli import options, output
from bufaudit.errors import printable
from bufaudit.report import PROBE_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bufaudit.baseline.losses import KnownLosses
    from bufaudit.outcomes import ProbeResult, VerifyResult

    Result = TypeVar("Result", ProbeResult, VerifyResult)


def model_options(function: options.Command) -> options.Command:
    """Which models are meant, with which config."""
    decorators = (
        click.argument("target"),
        click.option("--class", "class_name", metavar="NAME", help="One class of a model type or folder, in place of "
                     "all."),
        click.option("--config", type=click.Path(path_type=Path), help="A config.json in place of the default "
                     "config."),
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
                     help="Set an option of the config, or an argument of a plain module; repeatable."),
        click.option("--trust-remote-code", is_flag=True, help="Run the modelling code that a folder brings."),
    )  # fmt: skip
    return options.decorated(function, decorators)


def loss_options(function: options.Command) -> options.Command:
    """What counts as a loss, and how the result is shown."""
    decorators = (
        click.option("--baseline", type=click.Path(path_type=Path), help="A file of known losses, which do not "
                     "count."),
        click.option("--write-baseline", type=click.Path(path_type=Path), help="Write what is lost as such a file."),
        options.report_options(PROBE_FORMATS),
    )  # fmt: skip
    return options.decorated(function, decorators)


@contextmanager
def modules_here(names: Iterable[str]) -> Iterator[None]:
    """A context in which modules that are named are looked for in the current folder first, as `python -m` does.

    Where no name is `module:…`, nothing changes: a file that happens to lie there is never imported.
    """
    here = os.getcwd()
    if here in sys.path or not any(":" in name for name in names):
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def known_losses(baseline: Path | None, write_baseline: Path | None) -> KnownLosses:
    """What does not count. A baseline that is about to be written starts afresh."""
    from bufaudit.baseline.losses import KnownLosses, read_losses

    return KnownLosses() if baseline is None or write_baseline is not None else read_losses(baseline)


def finish(
    result: Result,
    render: Callable[..., bytes],
    known: KnownLosses,
    *,
    write_baseline: Path | None,
    output_format: str | None,
    output_file: Path | None,
) -> int:
    """Show a result with one of `report`'s functions, or write its baseline, and give the exit status."""
    from bufaudit.baseline.losses import apply_losses

    output.warn(result.warnings)
    if write_baseline is not None:
        return _write_baseline(result, write_baseline)
    applied = apply_losses(known, result)
    output.warn(applied.stale)
    report = render(
        result,
        output_format or "text",
        known=applied.known,
        color=output.in_color(output_file),
        width=output.width(output_file),
    )
    output.write(report, output_file)
    if any(model.error is not None for model in result.models):
        return 2
    return 1 if applied.new else 0


def _write_baseline(result: ProbeResult | VerifyResult, path: Path) -> int:
    from bufaudit.baseline.losses import losses_of, write_losses

    errors = [model.error for model in result.models if model.error is not None]
    for error in errors:
        click.echo(f"bufaudit: {printable(error)}", err=True)
    if errors:
        return 2
    losses = losses_of(result)
    write_losses(path, losses)
    count = sum(loss.pattern.size for loss in losses.losses)
    click.echo(f"{printable(path)}: {count} known loss{'' if count == 1 else 'es'}", err=True)
    return 0
