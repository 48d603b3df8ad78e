"""The command line: one module per command, imported when its command is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from bufaudit.collector import collector_paused
from bufaudit.errors import BufauditError
from bufaudit.version import __version__

_COMMANDS = {
    "scan": "Find code that drops model state.",
    "inventory": "List every buffer that classes register or inherit.",
    "probe": "Trace which tensors of a model a load would lose.",
    "verify": "Load real models on real ranks and compare every tensor.",
    "rule": "Explain a rule, or list them all.",
}


class _Commands(click.Group):
    """The commands of `_COMMANDS`, each in a module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"bufaudit.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from bufaudit.selection import closest

            # Newer versions of click suggest something themselves, in words that differ between them.
            close = closest(args[0], _COMMANDS)
            hint = "`bufaudit --help` lists them all" if close is None else f"did you mean {close!r}?"
            raise click.UsageError(f"There is no command {args[0]!r}; {hint}", ctx) from error


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bufaudit")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Find model state, registered buffers above all, that PyTorch code silently drops."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit(2)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 clean, 1 found something, 2 could not run."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run a command and give its exit status."""
    try:
        with collector_paused():
            status: Any = group.main(arguments, prog_name="bufaudit", standalone_mode=False)
    except BufauditError as error:
        click.echo(f"bufaudit: {error}", err=True)
        return 2
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("bufaudit: interrupted", err=True)
        return 130
    except Exception:
        import traceback

        # Python's own status for it would read as findings.
        traceback.print_exc()
        click.echo("bufaudit: this is a mistake in bufaudit itself; please report it", err=True)
        return 2
    return status if isinstance(status, int) else 0
