"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bufaudit.config import Overrides, Settings

    _TextChoice = click.Choice[str]
    _ListType = click.ParamType[tuple[str, ...]]
else:
    # Not generic at run time in every version of click.
    _TextChoice = click.Choice
    _ListType = click.ParamType

Command = TypeVar("Command", bound="Callable[..., Any]")


class Choice(_TextChoice):
    """One of a few words; a mistyped one gets a suggestion."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            from bufaudit.selection import closest

            close = closest(str(value), self.choices)
            hint = "" if close is None else f" Did you mean {close!r}?"
            raise click.BadParameter(error.message + hint, ctx, param) from None


class CommaSeparated(_ListType):
    """`A,B` as a tuple; an option that may be repeated adds up."""

    name = "LIST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


def flattened(lists: tuple[tuple[str, ...], ...]) -> tuple[str, ...] | None:
    """The values of a repeated list option, None where it was not given."""
    return tuple(value for values in lists for value in values) if lists else None


def parsed_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """`KEY=VALUE` options as a mapping; values are JSON, and what is no JSON is text."""
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


def run_options(function: Command) -> Command:
    """Which files are read, and how."""
    decorators = (
        click.argument("paths", nargs=-1, type=click.Path()),
        click.option("--exclude", "exclude", multiple=True, type=CommaSeparated(),
                     help="Leave out what matches these patterns, written as in .gitignore."),
        click.option("--force-exclude", is_flag=True, help="Apply excludes to files given by name too."),
        click.option("--no-respect-gitignore", "respect_gitignore", flag_value=False, default=None,
                     help="Read files that .gitignore leaves out."),
        click.option("-j", "--jobs", type=click.IntRange(min=1), help="Worker processes; by default one a core."),
        click.option("--no-cache", "cache", flag_value=False, default=None, help="Neither read nor write the cache."),
        click.option("--cache-dir", type=click.Path(path_type=Path), help="Where the cache lies."),
        click.option("--config", type=click.Path(path_type=Path),
                     help="The pyproject.toml to take settings from, in place of the nearest one."),
        click.option("--isolated", is_flag=True, help="Take no settings from any file."),
    )  # fmt: skip
    return decorated(function, decorators)


def report_options(formats: tuple[str, ...]) -> Callable[[Command], Command]:
    """How the result is shown, and where."""

    decorators = (
        click.option("--output-format", type=Choice(formats), help="How to show the result."),
        click.option("-o", "--output-file", type=click.Path(path_type=Path), callback=_standard_output_is_none,
                     help="Where to write it; - for standard output."),
    )  # fmt: skip
    return lambda function: decorated(function, decorators)


def decorated(function: Command, decorators: Sequence[Callable[[Command], Command]]) -> Command:
    """The function with options that help lists in the order of `decorators`."""
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def _standard_output_is_none(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    return None if path == Path("-") else path


def main_settings(paths: tuple[str, ...], *, config: Path | None, isolated: bool, given: Overrides) -> Settings:
    """The settings of the first path, with what the command line gives on top: they say how the result is shown."""
    from bufaudit.config import override, settings_by_path

    first = next(iter(settings_by_path(paths[:1] or (".",), config=config, isolated=isolated)))
    return override(first, **given)
