"""`run_trader.py completion`: the Tab key knows commands, options and pairs."""

from __future__ import annotations

import click

from trader.domain.errors import UsageError

PROGRAM = "kraken-ai-trader"
VARIABLE = "_KRAKEN_AI_TRADER_COMPLETE"
HOMES = {
    "bash": "~/.bashrc",
    "zsh": "~/.zshrc",
    "fish": "~/.config/fish/completions/kraken-ai-trader.fish",
}


@click.command(name="completion", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("shell", type=click.Choice(list(HOMES)))
def command(shell: str) -> None:
    """Print the script that teaches a shell to complete `kraken-ai-trader` (see `pip install .`).

    \b
    Example:
      kraken-ai-trader completion bash >> ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    from run_trader import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"no completion for {shell}", f"Known: {', '.join(HOMES)}.")
    click.echo(kind(cli, {}, PROGRAM, VARIABLE).source())
