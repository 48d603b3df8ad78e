"""`bufaudit scan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bufaudit.cli import options, output
from bufaudit.errors import printable
from bufaudit.report import SCAN_FORMATS

if TYPE_CHECKING:
    from bufaudit.config import Settings
    from bufaudit.results import ScanResult


@click.command("scan")
@click.option(
    "--select", multiple=True, type=options.CommaSeparated(), help="Rules to look for: codes, names, prefixes."
)
@click.option("--ignore", multiple=True, type=options.CommaSeparated(), help="Rules not to look for.")
@click.option(
    "--min-confidence", type=options.Choice(("low", "medium", "high")), help="Show what is at least this sure."
)
@click.option("--baseline", type=click.Path(path_type=Path), help="A file of known findings, which do not count.")
@click.option("--write-baseline", type=click.Path(path_type=Path), help="Write what is found as such a file.")
@click.option("--changed-only", is_flag=True, help="Report only on files that git says have changed.")
@click.option("--base-ref", help="With --changed-only: since the merge base with this commit.")
@click.option("--stdin-filename", type=click.Path(), help="Read one file from standard input; this is its name.")
@options.report_options(SCAN_FORMATS)
@click.option("--statistics", is_flag=True, help="Count findings by rule.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 even where something is found.")
@options.run_options
def command(
    paths: tuple[str, ...],
    output_format: str | None,
    output_file: Path | None,
    write_baseline: Path | None,
    changed_only: bool,
    base_ref: str | None,
    stdin_filename: str | None,
    statistics: bool,
    exit_zero: bool,
    force_exclude: bool,
    config: Path | None,
    isolated: bool,
    select: tuple[tuple[str, ...], ...],
    ignore: tuple[tuple[str, ...], ...],
    exclude: tuple[tuple[str, ...], ...],
    **fields: Any,
) -> int:
    """Find code that drops model state in PATHS, by default the current folder.

    Nothing of it is imported or run. Exits with 0 where nothing is found, 1 where something is, 2 where the scan could
    not run.
    """
    from bufaudit.api import scan

    if base_ref is not None and not changed_only:
        raise click.UsageError("--base-ref goes with --changed-only.")
    if write_baseline is not None and changed_only:
        raise click.UsageError("--write-baseline with --changed-only would forget what is known of other files.")
    if "-" in paths and stdin_filename is None:
        raise click.UsageError("- reads standard input, which needs a name: add --stdin-filename PATH.")
    if stdin_filename is not None and paths not in ((), ("-",)):
        raise click.UsageError("--stdin-filename takes one file from standard input, and no other paths.")
    given: Any = fields | {
        "select": options.flattened(select),
        "ignore": options.flattened(ignore),
        "exclude": options.flattened(exclude),
        "output_format": output_format,
    }
    named = paths if stdin_filename is None else (stdin_filename,)
    settings = options.main_settings(named, config=config, isolated=isolated, given=given)
    if write_baseline is not None:
        settings = _without_baseline(settings)
    with output.progress() as progress:
        result = scan(
            paths or (".",),
            settings=settings if write_baseline is not None else None,
            config=config,
            isolated=isolated,
            stdin=(stdin_filename, output.read_standard_input()) if stdin_filename is not None else None,
            changed_only=changed_only,
            changed_since=base_ref,
            force_exclude=force_exclude,
            progress=progress,
            **({} if write_baseline is not None else given),
        )
    output.warn(result.warnings)
    if write_baseline is not None:
        return _write_baseline(result, settings, write_baseline)
    _report(result, settings, output_file, statistics=statistics)
    return 1 if result.findings and not exit_zero else 0


def _report(result: ScanResult, settings: Settings, path: Path | None, *, statistics: bool) -> None:
    from bufaudit.catalogue import rules
    from bufaudit.report import render_scan

    report = render_scan(
        result,
        settings.output_format,
        rules=rules(),
        statistics=statistics,
        color=output.in_color(path),
        width=output.width(path),
        base=Path.cwd(),
    )
    output.write(report, path)


def _without_baseline(settings: Settings) -> Settings:
    from dataclasses import replace

    return replace(settings, baseline=None)


def _write_baseline(result: ScanResult, settings: Settings, path: Path) -> int:
    from bufaudit.baseline import findings as baseline

    baseline.write_baseline(path, baseline.baseline_of(result.findings, settings.root))
    count = len(result.findings)
    click.echo(f"{printable(path)}: {count} known finding{'' if count == 1 else 's'}", err=True)
    return 0
