"""`bufaudit inventory`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bufaudit.cli import options, output
from bufaudit.report import INVENTORY_FORMATS

if TYPE_CHECKING:
    from pathlib import Path


@click.command("inventory")
@options.report_options(INVENTORY_FORMATS)
@options.run_options
def command(
    paths: tuple[str, ...],
    output_format: str | None,
    output_file: Path | None,
    force_exclude: bool,
    config: Path | None,
    isolated: bool,
    exclude: tuple[tuple[str, ...], ...],
    **fields: Any,
) -> int:
    """List every buffer that classes below PATHS register or inherit, by default below the current folder."""
    from bufaudit.api import inventory
    from bufaudit.report import render_inventory

    with output.progress() as progress:
        result = inventory(
            paths or (".",),
            config=config,
            isolated=isolated,
            force_exclude=force_exclude,
            progress=progress,
            exclude=options.flattened(exclude),
            **fields,
        )
    output.warn(result.warnings)
    report = render_inventory(
        result, output_format or "table", color=output.in_color(output_file), width=output.width(output_file)
    )
    output.write(report, output_file)
    return 0
