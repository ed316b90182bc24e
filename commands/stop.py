"""`run_trader.py stop`: no new orders from here on, whatever the loop is doing.

The switch is a file, set before anything else is imported or asked. The running loop obeys within
a second. A loop that does not answer is ended by force, which loses nothing (the journal is always
ahead of what is sent), and this process cancels and sells in its place.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.common import print_json, say
from trader.domain.errors import ExitStatus, TraderError
from trader.storage.stop_switch import StopRequest, StopSwitch

if TYPE_CHECKING:
    from commands.emergency import Deed
    from commands.running import Heartbeat
    from config import Config, Salvaged

PATIENCE_S = 1.5
GONE_WITHIN_S = 3.0
ROOM_BYTES = 1 << 16
UNKNOWN_MODE = "PAPER or LIVE (the settings do not say)"
_BOOK = ("SANDBOX", "SANDBOX_FEED", "SANDBOX_SEED", "KRAKEN_API_KEY")
"""Settings that say which account is meant."""
_ACCOUNT = (*_BOOK, "KRAKEN_API_SECRET", "KRAKEN_API_URL", "EXCHANGE", "PAIRS", "DATA_DIR")
"""Settings without which nothing may be sent from here; all others may be at fault."""


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
    settings = _settings()
    folder = _folder(settings)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    request = StopRequest(reason, flatten, _who(), at)
    lasting = _press(folder, request, quiet=as_json)
    outcome = _carry_out(folder, settings, request)
    deaf = _others(folder, settings, request)
    if deaf:
        outcome = _but(outcome, deaf, ExitStatus.UNREACHABLE)
    if not lasting:
        outcome = _but(outcome, "the switch could not be set", ExitStatus.FAILED)
    elif not _is_sure_of(settings, "DATA_DIR"):
        outcome = _but(outcome, _lost(folder), ExitStatus.MISUSED)
        lasting = False
    if as_json:
        print_json({"stopped": lasting, "flatten": flatten, "reason": reason, **asdict(outcome)})
    else:
        click.echo(f"{outcome.mode or UNKNOWN_MODE}  {outcome.detail}")
    context.exit(outcome.status)


def _but(outcome: Outcome, what: str, status: ExitStatus) -> Outcome:
    """The outcome with what is wrong all the same."""
    detail = f"{outcome.detail}; {what}"
    return replace(outcome, detail=detail, status=outcome.status or status)


def _lost(folder: Path) -> str:
    return (
        f"the switch is set in {folder}, and it is not known whether the bot looks there: give "
        "its folder as DATA_DIR=… before the command, or repair .env, and stop again"
    )


def _press(folder: Path, request: StopRequest, *, quiet: bool) -> bool:
    """Set the switch; whether it is set."""
    switch = StopSwitch(folder)
    try:
        switch.press(request)
        say(f"stop set: {switch.path}", quiet=quiet)
    except OSError as fault:
        # Not even an empty file: what can be done now is done all the same.
        say(f"the switch {switch.path} cannot be set ({fault.strerror}): do not start the bot")
        return False
    return True


def _settings() -> Salvaged | None:
    """What can be had of the settings, their faults told once; None where nothing can."""
    try:
        from config import salvage_config

        found = salvage_config()
    except ImportError as fault:
        say(f"the settings cannot be read ({fault}); DATA_DIR of the environment, or data")
        return None
    if found.fault is not None:
        say(f"going on in spite of this: {found.fault.message}")
    return found


def _folder(settings: Salvaged | None) -> Path:
    """The data folder, even where the settings are broken."""
    if settings is None:
        return Path(os.environ.get("DATA_DIR") or "data")
    return settings.config.data_dir


def _is_sure_of(settings: Salvaged | None, *names: str) -> bool:
    """Whether the settings say these as their owner means them."""
    if settings is None:
        return all(os.environ.get(name) for name in names)
    return not settings.unsure & set(names)


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


def _carry_out(folder: Path, settings: Salvaged | None, request: StopRequest) -> Outcome:
    """See that it happens."""
    from commands.running import Heartbeat, wait_for

    began = time.monotonic()
    ours = _ours(settings)
    beat = Heartbeat.read(folder, ours)
    if beat.alive:
        able = not beat.frozen and _can_write(folder)
        _prepare()
        patience_s = began + PATIENCE_S - time.monotonic() if able else 0.0
        answer = wait_for(folder, ours, lambda state: _obeyed(state, request.flatten), patience_s)
        if answer is not None:
            left = _left(answer.state.get("holdings", ()), request.flatten)
            mode = str(answer.state.get("mode", ""))
            return Outcome(mode, "loop", True, f"the running bot has obeyed: {left}")
        _end_by_force(beat)
    return _act(beat, settings, request)


def _ours(settings: Salvaged | None) -> Callable[[str], bool]:
    """Which books are meant: those of the settings, or all where these do not say."""
    from commands.running import of_settings

    if settings is None or not _is_sure_of(settings, *_BOOK):
        return lambda _: True
    return of_settings(settings.config)


def _others(folder: Path, settings: Salvaged | None, request: StopRequest) -> str:
    """What is to be said of other accounts' bots in the folder, which the switch stops as well."""
    from commands.running import Heartbeat

    ours, ends = _ours(settings), time.monotonic() + PATIENCE_S
    while True:
        deaf = [
            beat.book
            for beat in Heartbeat.all(folder)
            if beat.alive and not ours(beat.book) and not _obeyed(beat.state, request.flatten)
        ]
        if not deaf or time.monotonic() >= ends:
            break
        time.sleep(0.05)
    if not deaf:
        return ""
    return f"another bot in {folder} has not obeyed ({', '.join(deaf)}): stop with its settings"


def _can_write(folder: Path) -> bool:
    """Whether the loop can: without its journal it does nothing, so it is not waited for."""
    try:
        disk = os.statvfs(folder)
        if disk.f_bavail * disk.f_frsize < ROOM_BYTES:
            return False
        uri = f"{(folder / 'trader.db').absolute().as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=0.3)) as journal:
            journal.execute("BEGIN IMMEDIATE")
            journal.execute("ROLLBACK")
    except (OSError, sqlite3.Error):
        return False
    return True


def _prepare() -> None:
    """Load what acting here would need while the loop has its time to obey."""
    with contextlib.suppress(ImportError):
        importlib.import_module("commands.emergency")


def _end_by_force(beat: Heartbeat) -> None:
    """End a loop that hangs: what it left is in the journal and at the exchange."""
    pid = int(beat.state["pid"])
    say(f"the running bot (process {pid}) does not answer and is ended; start it again later")
    os.kill(pid, signal.SIGKILL)
    ends = time.monotonic() + GONE_WITHIN_S
    while beat.alive and time.monotonic() < ends:
        time.sleep(0.02)


def _obeyed(state: dict[str, Any], flatten: bool) -> bool:
    request = state.get("stop_request") or {}
    return bool(state.get("stop_done")) and (bool(request.get("flatten")) or not flatten)


def _act(beat: Heartbeat, settings: Salvaged | None, request: StopRequest) -> Outcome:
    """Cancel and sell from here."""
    from commands.running import same_account

    mode = str(beat.state.get("mode", ""))
    if settings is not None and _is_sure_of(settings, "SANDBOX"):
        mode = settings.config.mode
    if settings is None or not _is_sure_of(settings, *_ACCOUNT):
        detail = (
            "nothing can be cancelled or sold from here with these settings: repair them and "
            "stop again, or look at the exchange yourself"
        )
        return Outcome(mode, "switch", False, detail, ExitStatus.MISUSED)
    try:
        config = same_account(settings.config, beat)
        if config.sandbox and not _ever_ran(config):
            detail = "there is no account yet; nothing is bought until resume"
            return Outcome(mode, "switch", True, detail)
        from commands.emergency import stand_down

        deed = stand_down(config, request, beat.state)
    except TraderError as fault:
        detail = f"the stop is set, but {fault.message}"
        return Outcome(mode, "here", False, detail, int(fault.exit_status))
    notes = "".join(f"; {note}" for note in deed.notes)
    if not deed.done:
        detail = f"the stop is set, but not all is cancelled and sold yet: run it again{notes}"
        return Outcome(mode, "here", False, detail, ExitStatus.UNREACHABLE)
    if deed.unknown:
        detail = f"the stop is set; {_unknown(deed, request.flatten)}{notes}"
        return Outcome(mode, "here", False, detail, ExitStatus.FAILED)
    return Outcome(mode, "here", True, _left(deed.held, request.flatten) + notes)


def _ever_ran(config: Config) -> bool:
    """Whether a paper account outlives its runs here: not that of a replay."""
    from trader.domain.errors import JournalError
    from trader.storage.journal import list_books

    try:
        books = list_books(config.data_dir / "trader.db")
    except JournalError:
        return config.sandbox_feed != "replay"  # locked or damaged: there was something
    lasting = any(book.name.startswith("paper-") for book in books)
    return lasting and config.sandbox_feed != "replay"


def _unknown(deed: Deed, flatten: bool) -> str:
    """What was done where nothing tells for certain what is held."""
    last = f" (last said: {', '.join(deed.likely)})" if deed.likely else ""
    if not flatten:
        return (
            f"nothing of the bot waits to buy; not known what is held{last}, all that sells stays "
            "at the exchange"
        )
    sold = f"what was there of {', '.join(deed.sold)} is sold" if deed.sold else "nothing was sold"
    return f"{sold}; not known what else is held{last}: look at the exchange yourself"


def _left(held: Any, flatten: bool) -> str:
    pairs = ", ".join(map(str, held))
    if flatten:
        return "all is sold and no order is open" if not pairs else f"too small to sell: {pairs}"
    if pairs:
        return f"nothing waits to buy; {pairs} held, the stops stay at the exchange"
    return "nothing waits to buy, nothing is held"
