"""`run_trader.py resume`: lift the emergency stop."""

from __future__ import annotations

import os

import click

from commands.common import print_json
from trader.domain.errors import RuleError
from trader.storage.stop_switch import StopSwitch

PATIENCE_S = 3.0


@click.command(name="resume", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(as_json: bool) -> None:
    """Allow trading again after `stop`; the limits on loss count from here.

    \b
    Example:
      python run_trader.py resume
    """
    from config import load_config

    folder = load_config().data_dir  # nothing is lifted with settings that have faults
    lifted = StopSwitch(folder).lift()
    if _always_stopped():
        raise RuleError(
            "emergency-stop",
            "EMERGENCY_STOP is set in the settings: nothing is bought while it stands there",
            "Take it out of .env or the environment and start again.",
        )
    detail = "trading is allowed again" if lifted else "trading was not stopped"
    if lifted and _loop_answers(folder):
        detail += "; the running bot has taken note"
    if as_json:
        print_json({"resumed": lifted, "detail": detail})
    else:
        click.echo(f"{_mode()}  {detail}")


def _always_stopped() -> bool:
    from config import load_config

    return load_config().emergency_stop


def _mode() -> str:
    from config import load_config

    return load_config().mode


def _loop_answers(folder: os.PathLike[str]) -> bool:
    from pathlib import Path

    from commands.running import Heartbeat, of_settings, wait_for
    from config import load_config

    path, ours = Path(folder), of_settings(load_config())
    if not Heartbeat.read(path, ours).running:
        return False
    free = wait_for(path, ours, lambda state: state.get("stopped") is None, PATIENCE_S)
    return free is not None
