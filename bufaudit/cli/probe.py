"""`bufaudit probe`."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bufaudit.cli import options, output
from bufaudit.errors import printable
from bufaudit.outcomes import REFERENCE_PATH
from bufaudit.report import PROBE_FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bufaudit.outcomes import ProbeResult

_DEFAULT_PATHS = ("zero3", "from_pretrained")


@click.command("probe")
@click.argument("target")
@click.option("--class", "class_name", metavar="NAME", help="One class of a model type or folder, in place of all.")
@click.option("--config", type=click.Path(path_type=Path), help="A config.json in place of the default config.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option of the config, or an argument of a plain module; repeatable.",
)
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="PATH",
    help="A load path: zero3, from_pretrained, params-only or module:function; repeatable. By default the first two.",
)
@click.option("--world-size", type=click.IntRange(min=1), default=2, show_default=True, help="How many ranks load.")
@click.option("--trust-remote-code", is_flag=True, help="Run the modelling code that a folder brings.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="How long a folder's own code may run.",
)
@click.option(
    "--memory-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=16,
    show_default=True,
    metavar="GIB",
    help="How much memory a folder's own code may take.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 also where a tensor could not be followed.")
@click.option("--baseline", type=click.Path(path_type=Path), help="A file of known losses, which do not count.")
@click.option("--write-baseline", type=click.Path(path_type=Path), help="Write what is lost as such a file.")
@options.report_options(PROBE_FORMATS)
def command(
    target: str,
    class_name: str | None,
    config: Path | None,
    settings: tuple[str, ...],
    paths: tuple[str, ...],
    world_size: int,
    trust_remote_code: bool,
    timeout: float,
    memory_limit: float,
    strict: bool,
    baseline: Path | None,
    write_baseline: Path | None,
    output_format: str | None,
    output_file: Path | None,
) -> int:
    """Trace which tensors of a model a load would lose, without weights, GPU or DeepSpeed.

    TARGET is a model type (gemma4), a class of transformers (Gemma4ForCausalLM), package.module:Class, or a folder with
    a config.json. Exits with 0 where nothing is lost, 1 where something is, 2 where a model cannot be built.
    """
    from bufaudit.api import probe
    from bufaudit.baseline.losses import KnownLosses, apply_losses, read_losses
    from bufaudit.report import render_probe

    wanted = tuple(dict.fromkeys(paths)) or _DEFAULT_PATHS
    known = KnownLosses() if baseline is None or write_baseline is not None else read_losses(baseline)
    with _modules_here((target, *wanted)), output.progress("tracing {} of {} models") as progress:
        result = probe(
            target,
            class_name=class_name,
            config=config,
            settings=options.parsed_settings(settings),
            paths=wanted,
            world_size=world_size,
            trust_remote_code=trust_remote_code,
            timeout=timeout,
            memory_limit=memory_limit,
            progress=progress,
        )
    output.warn(result.warnings)
    untraced = _untraced(result)
    output.warn(untraced)
    if write_baseline is not None:
        return _write_baseline(result, write_baseline)
    applied = apply_losses(known, result)
    output.warn(applied.stale)
    report = render_probe(
        result,
        output_format or "text",
        known=applied.known,
        color=output.in_color(output_file),
        width=output.width(output_file),
    )
    output.write(report, output_file)
    if any(model.error is not None for model in result.models):
        return 2
    return 1 if applied.new or (strict and untraced) else 0


def _untraced(result: ProbeResult) -> list[str]:
    """A sentence for each path of a model on which something could not be followed."""
    sentences = []
    for model in result.models:
        for path in model.paths:
            count = sum(tensor.verdict == "untraced" for tensor in path.tensors)
            what = "the load" if path.untraced is not None else f"{count} of {len(path.tensors)} tensors"
            if path.path != REFERENCE_PATH and (count or path.untraced is not None):
                sentences.append(f"{model.class_name} on {path.path}: {what} could not be followed")
    return sentences


def _write_baseline(result: ProbeResult, path: Path) -> int:
    from bufaudit.baseline.losses import losses_of, write_losses

    errors = [model.error for model in result.models if model.error is not None]
    for error in errors:
        click.echo(f"bufaudit: {printable(error)}", err=True)
    if errors:
        return 2
    losses = losses_of(result)
    write_losses(path, losses)
    count = len(losses.losses)
    click.echo(f"{printable(path)}: {count} known loss{'' if count == 1 else 'es'}", err=True)
    return 0


@contextmanager
def _modules_here(names: Iterable[str]) -> Iterator[None]:
    """A context in which modules that are named may lie in the current folder, behind all that is installed."""
    here = os.getcwd()
    if here in sys.path or not any(":" in name for name in names):
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)
