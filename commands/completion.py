"""`run_trader.py completion`: the Tab key knows commands, options and pairs."""

from __future__ import annotations

import shutil

import click

from commands.common import print_json, say
from trader.domain.errors import UsageError

PROGRAM = "kraken-ai-trader"
VARIABLE = "_KRAKEN_AI_TRADER_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command(name="completion", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def command(context: click.Context, shell: str, as_json: bool) -> None:
    """Print the script that teaches a shell to complete `kraken-ai-trader`.

    That is the program that `pip install .` makes. Calls of `python run_trader.py` and
    `./scripts/install.sh` are not completed.

    \b
    Example:
      kraken-ai-trader completion bash >> ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"no completion for {shell}", f"Known: {', '.join(SHELLS)}.")
    script = kind(context.find_root().command, {}, PROGRAM, VARIABLE).source()
    if as_json:
        print_json({"shell": shell, "program": PROGRAM, "script": script})
        return
    if shutil.which(PROGRAM) is None:
        say(
            f"note: this completes {PROGRAM}, which is not installed here; in the activated "
            "environment `pip install .` makes it. python run_trader.py and "
            "./scripts/install.sh are not completed."
        )
    click.echo(script)
