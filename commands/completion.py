"""`run_trader.py completion`: the Tab key knows commands, options and pairs."""

from __future__ import annotations

import click

from trader.domain.errors import UsageError

PROGRAM = "kraken-ai-trader"
VARIABLE = "_KRAKEN_AI_TRADER_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command(name="completion", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that teaches a shell to complete `kraken-ai-trader` (see `pip install .`).

    \b
    Example:
      kraken-ai-trader completion bash >> ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"no completion for {shell}", f"Known: {', '.join(SHELLS)}.")
    click.echo(kind(context.find_root().command, {}, PROGRAM, VARIABLE).source())
