"""`run_trader.py stop`: no new orders from here on, whatever the loop is doing.

The switch is a file, set before anything else is imported or asked. The running loop obeys within
a second. A loop that does not answer is ended by force, which loses nothing (the journal is always
ahead of what is sent), and this process cancels and sells in its place.
"""

from __future__ import annotations

import getpass
import os
import signal
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.common import print_json, say
from trader.domain.errors import ExitStatus, TraderError
from trader.storage.stop_switch import StopRequest, StopSwitch

if TYPE_CHECKING:
    from commands.running import Heartbeat
    from config import Config
    from main import Trader

PATIENCE_S = 3.0
TRIES = 20


@click.command(name="stop", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--flatten", is_flag=True, help="Sell all positions too, at the market.")
@click.option("--reason", default="stopped by hand", show_default=True, help="For the journal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def command(context: click.Context, flatten: bool, reason: str, as_json: bool) -> None:
    """Emergency stop: cancel what waits to buy, buy nothing more; with --flatten, sell all.

    Without --flatten the protective stops of open positions stay at the exchange.

    \b
    Example:
      python run_trader.py stop --flatten --reason "leaving for a week"
    """
    folder = data_dir()
    switch = StopSwitch(folder)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    switch.press(StopRequest(reason, flatten, _who(), at))
    say(f"stop set: {switch.path}", quiet=as_json)
    outcome = _carry_out(folder, flatten)
    if as_json:
        print_json({"stopped": True, "flatten": flatten, "reason": reason, **asdict(outcome)})
    else:
        click.echo(f"{outcome.mode}  {outcome.detail}")
    context.exit(outcome.status)


def data_dir() -> Path:
    """The data folder, even where the settings are broken."""
    try:
        from config import load_config

        return load_config().data_dir
    except (TraderError, ImportError) as fault:
        say(f"the settings cannot be read ({fault}); DATA_DIR of the environment, or data")
        return Path(os.environ.get("DATA_DIR") or "data")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a stop.

    Attributes:
        by: who acted: the running `loop`, this process (`here`), or nobody yet (`switch`).
        done: nothing waits to buy and, if asked for, nothing is held.
    """

    mode: str
    by: str
    done: bool
    detail: str
    status: int = 0


def _carry_out(folder: Path, flatten: bool) -> Outcome:
    """See that it happens."""
    from commands.running import Heartbeat, wait_for

    beat = Heartbeat.read(folder)
    if beat.alive:
        answer = wait_for(folder, lambda state: _obeyed(state, flatten), PATIENCE_S)
        if answer is not None:
            left = _left(answer.state.get("holdings", ()), flatten)
            mode = str(answer.state.get("mode", ""))
            return Outcome(mode, "loop", True, f"the running bot has obeyed: {left}")
        _end_by_force(beat)
    return _act(beat, flatten)


def _end_by_force(beat: Heartbeat) -> None:
    """End a loop that hangs: what it left is in the journal and at the exchange."""
    pid = int(beat.state["pid"])
    say(f"the running bot (process {pid}) does not answer and is ended; start it again later")
    os.kill(pid, signal.SIGKILL)
    ends = time.monotonic() + PATIENCE_S
    while beat.alive and time.monotonic() < ends:
        time.sleep(0.02)


def _obeyed(state: dict[str, Any], flatten: bool) -> bool:
    request = state.get("stop_request") or {}
    return bool(state.get("stop_done")) and (bool(request.get("flatten")) or not flatten)


def _act(beat: Heartbeat, flatten: bool) -> Outcome:
    """Cancel and sell from here."""
    from commands.running import same_account
    from config import load_config
    from main import Wishes, assemble

    config = same_account(load_config(), beat)
    if config.sandbox and not _ever_ran(config):
        detail = "there is no account yet; nothing is bought until resume"
        return Outcome(config.mode, "switch", True, detail)
    try:
        parts = assemble(config, Wishes(standing=True, unlicensed=True))
        try:
            done, held = _stand_down(parts.trader)
        finally:
            parts.close()
    except TraderError as fault:
        detail = f"the stop is set, but {fault.message}"
        return Outcome(config.mode, "here", False, detail, int(fault.exit_status))
    if not done:
        detail = "the stop is set, but not all is cancelled and sold yet: run it again"
        return Outcome(config.mode, "here", False, detail, ExitStatus.UNREACHABLE)
    return Outcome(config.mode, "here", True, _left(held, flatten))


def _ever_ran(config: Config) -> bool:
    """Whether a paper account outlives its runs here: not that of a replay."""
    from trader.storage.journal import list_books

    books = list_books(config.data_dir / "trader.db")
    lasting = any(book.name.startswith("paper-") for book in books)
    return lasting and config.sandbox_feed != "replay"


def _stand_down(trader: Trader) -> tuple[bool, list[str]]:
    trader.recover()
    for _ in range(TRIES):
        trader.settle()
        if trader.stop_done:
            break
    return trader.stop_done, [str(pair) for pair in trader.portfolio.positions]


def _left(held: Any, flatten: bool) -> str:
    pairs = ", ".join(map(str, held))
    if flatten:
        return "all is sold and no order is open" if not pairs else f"too small to sell: {pairs}"
    if pairs:
        return f"nothing waits to buy; {pairs} held, the stops stay at the exchange"
    return "nothing waits to buy, nothing is held"
