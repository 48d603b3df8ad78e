"""`bufaudit probe`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from bufaudit.cli import models, options, output
from bufaudit.outcomes import REFERENCE_PATH

if TYPE_CHECKING:
    from pathlib import Path

    from bufaudit.outcomes import ProbeResult

_DEFAULT_PATHS = ("zero3", "from_pretrained")


@click.command("probe")
@models.model_options
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="PATH",
    help="A load path: zero3, from_pretrained, params-only or module:function; repeatable. By default the first two.",
)
@click.option("--world-size", type=click.IntRange(min=1), default=2, show_default=True, help="How many ranks load.")
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
@models.loss_options
def command(
    target: str,
    paths: tuple[str, ...],
    settings: tuple[str, ...],
    strict: bool,
    baseline: Path | None,
    write_baseline: Path | None,
    output_format: str | None,
    output_file: Path | None,
    **request: Any,
) -> int:
    """Trace which tensors of a model a load would lose, without weights, GPU or DeepSpeed.

    TARGET is a model type (gemma4), a class of transformers (Gemma4ForCausalLM), package.module:Class, or a folder with
    a config.json. Exits with 0 where nothing is lost, 1 where something is, 2 where a model cannot be built.
    """
    from bufaudit.api import probe
    from bufaudit.report import render_probe

    # DeepSpeed, where it is installed, would look for an accelerator and say that there is none.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    wanted = tuple(dict.fromkeys(paths)) or _DEFAULT_PATHS
    known = models.known_losses(baseline, write_baseline)
    with (
        models.modules_here((target, *wanted)),
        output.for_the_report_alone(),
        output.progress("tracing {} of {} models") as progress,
    ):
        result = probe(target, paths=wanted, settings=options.parsed_settings(settings), progress=progress, **request)
    untraced = _untraced(result)
    output.warn(untraced)
    status = models.finish(
        result,
        render_probe,
        known,
        write_baseline=write_baseline,
        output_format=output_format,
        output_file=output_file,
    )
    return status or int(strict and bool(untraced) and write_baseline is None)


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
