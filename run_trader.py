"""The commands of the AI crypto trader; `python run_trader.py --help` lists them.

Each command lives in its own file under `commands/` and is imported only when it is called, so
that help is instant.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

if __name__ == "__main__":
    from commands.interrupts import listen_early

    listen_early()  # what is imported below takes long enough to be interrupted

try:
    import click
except ModuleNotFoundError as fault:
    from commands.packages import end_without

    end_without(fault)

from trader import __version__

COMMANDS = {
    "init": "a few questions, and the settings are written",
    "start": "run the bot: paper trading by default, no keys needed",
    "analyze": "one analysis: indicators, patterns, sentiment, signal, plan",
    "trade": "one manual order through the same risk rules",
    "train": "train, validate, promote or keep a model",
    "models": "models with their lineage; back to an earlier one",
    "status": "balances, positions, orders, limits, model, health",
    "why": "what was decided for a candle and why",
    "report": "what was earned, by day, week and month, after fees",
    "stop": "emergency stop, from another process",
    "resume": "lift the emergency stop",
    "history": "import, download and check candles",
    "features": "indicators and patterns: list them, check that none sees the future",
    "sandbox": "serve the Kraken-compatible exchange over HTTP",
    "ledger": "every fill, fee and transfer, exact decimals",
    "doctor": "check the set-up, with remedies",
    "completion": "teach a shell to complete the commands",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one command that was asked for."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that was named; a misspelt one is told with the nearest known one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete the names of commands without importing them."""
        from click.shell_completion import CompletionItem

        found = [n for n in COMMANDS if n.startswith(incomplete)]
        items: list[Any] = [CompletionItem(n, help=COMMANDS[n]) for n in found]
        # What is left are the group's own options.
        return items or click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="run_trader")
def cli() -> None:
    """AI crypto trader for the Kraken spot exchange.

    \b
    Example:
      python run_trader.py start
    """


def run() -> None:
    """Entry point of the console command."""
    from commands.common import guarded

    sys.exit(guarded(cli))


if __name__ == "__main__":
    run()
