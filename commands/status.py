"""`run_trader.py status`: balances, positions, orders, limits, model, last decision, health."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from commands.common import print_json

if TYPE_CHECKING:
    from rich.console import Console

    from config import Config
    from trader.dashboard.reading import Reading

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(name="status", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--book", help="Account to show; the one that ran last if left out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(book: str | None, as_json: bool) -> None:
    """Balances, positions, open orders, limits, model, last decision, health.

    Reads the journal; works while the bot runs and while it does not.

    \b
    Example:
      python run_trader.py status
    """
    from config import load_config

    config = load_config()
    found = read_status(config, book)
    if as_json:
        print_json(found)
    else:
        _print(found)


def read_status(config: Config, book: str | None = None) -> dict[str, Any]:
    """Everything `status` shows.

    Raises:
        UsageError: if the named book does not exist.
        JournalError: if the journal cannot be read.
    """
    from commands.account import choose_book, now, open_book
    from trader.dashboard.reading import Reading
    from trader.domain.account import AccountView
    from trader.storage.state_file import heartbeat_of

    chosen = choose_book(config, book)
    view = AccountView()
    if chosen is not None:
        with open_book(config, chosen) as journal:
            view.read(journal.events())
    beat = heartbeat_of(config.data_dir, lambda found: found == chosen, now)
    reading = Reading(chosen or "", view)
    if beat is not None:
        reading = Reading(
            chosen or "", view, beat.read() or {}, beat.is_running(), beat.age_seconds()
        )
    return _document(config, reading)


def _document(config: Config, reading: Reading) -> dict[str, Any]:
    from trader.dashboard.documents import overview

    shown, view = overview(reading), reading.view
    session = view.session
    quote = view.quote or config.quote
    started = bool(reading.book)
    stopped = _stopped(config, reading)
    last = view.last_decision
    return {
        "mode": shown["mode"] or config.mode,
        "note": _other_account(config, reading, shown["mode"]),
        "book": reading.book or None,
        "running": reading.running,
        "seen_seconds_ago": reading.age_seconds,
        "feed": shown["feed"],
        "timeframe": shown["timeframe"] or str(config.timeframe),
        "strategy": shown["strategy"] or config.strategy,
        "pairs": shown["pairs"] or [str(pair) for pair in config.pairs],
        "quote": quote,
        "equity": view.equity if started else None,
        "profit": view.equity - view.portfolio.transfers_quote if started else None,
        "cash": {quote: view.portfolio.cash} if started else {},
        "balances": view.portfolio.holdings() if started else {},
        "fees_quote": view.portfolio.fees_quote,
        "positions": shown["positions"],
        "open_orders": shown["open_orders"],
        **_risk(config, reading, str(stopped["reason"]) if stopped else ""),
        "stopped": stopped,
        "model": {
            pair: {
                "id": model["model_id"] or None,
                "since": model["at"],
                "reason": model["reason"],
            }
            for pair, model in shown["models"].items()
        },
        "last_decision": _last_decision(reading) if last else None,
        "training": shown["training"],
        "health": shown["health"],
        "session": {"started_at": session.at, "version": session.version} if session else None,
    }


def _other_account(config: Config, reading: Reading, mode: str) -> str | None:
    """What a person must know who has changed from paper to live, or back, since the last run."""
    if not reading.book or not mode or mode == config.mode:
        return None
    return (
        f"the settings say {config.mode}, but this is the {mode} account that ran last "
        f"({reading.book}); nothing has run {config.mode} since"
    )


def _last_decision(reading: Reading) -> dict[str, Any] | None:
    from trader.dashboard.documents import decision_row

    last = reading.view.last_decision
    return decision_row(last) if last else None


def _risk(config: Config, reading: Reading, emergency: str) -> dict[str, Any]:
    """State and limits at the moment the account stands at."""
    from risk_manager import RiskLimits, RiskManager
    from trader.risk.told import decision_rules

    portfolio, moment = reading.view.portfolio, _moment(reading)
    manager = RiskManager(RiskLimits.of(config))
    rules = decision_rules(manager.limits)
    return {
        "rules": [{"rule": rule, "asks": words} for rule, words in rules],
        "risk_state": manager.state(portfolio, moment, emergency).value,
        "limits": manager.limits_status(portfolio, moment, emergency, reading.view.prices),
    }


def _moment(reading: Reading) -> datetime:
    """Now, by the account's clock: simulated time stands still while the bot is off."""
    view, session = reading.view, reading.view.session
    real = session is None or session.feed == "kraken"
    if real:
        return datetime.now(UTC)
    try:
        told = datetime.fromisoformat(str(reading.state.get("at", "")))
    except ValueError:
        told = None
    if told is not None and told.tzinfo is not None:
        return told
    return view.marks[-1].at if view.marks else datetime.now(UTC)


def _stopped(config: Config, reading: Reading) -> dict[str, Any] | None:
    from trader.storage.stop_switch import StopSwitch

    request = StopSwitch(config.data_dir).read()
    if request is not None:
        return {"since": request.at or None, "reason": request.reason, "flatten": request.flatten}
    if config.emergency_stop:
        return {"since": None, "reason": "EMERGENCY_STOP is set", "flatten": False}
    event = reading.view.stopped
    if event is not None and reading.running:
        return {"since": event.at, "reason": event.reason, "flatten": event.flatten}
    return None


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console

    # A narrow terminal gets whole words; who reads it through a pipe gets whole lines.
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(f"[bold]{found['mode']}[/]  {_headline(found)}", markup=True)
    if found["note"]:
        console.print(f"[bold yellow]NOTE[/]  {_safe(found['note'])}")
    if found["book"] is None:
        from commands.account import FIRST_STEP

        console.print(FIRST_STEP)
    if found["stopped"]:
        console.print(f"[bold red]STOPPED[/]  {_safe(found['stopped']['reason'])}")
    if found["book"] is not None:
        _print_account(console, found)
    _print_limits(console, found)
    for row in found["health"]:
        colour = _COLOURS.get(row["state"], "white")
        console.print(f"[{colour}]{row['state']:<5}[/] {row['check']:<12} {_safe(row['detail'])}")


def _headline(found: dict[str, Any]) -> str:
    if found["running"]:
        state = "running"
    elif found["seen_seconds_ago"] is not None:
        state = f"not running, last seen {_ago(found['seen_seconds_ago'])} ago"
    else:
        state = "not running"
    feed = f", prices: {found['feed']}" if found["feed"] else ""
    return _safe(f"{' '.join(found['pairs'])} {found['timeframe']} {found['strategy']}{feed}; "
                 f"{state}")  # fmt: skip


def _print_account(console: Console, found: dict[str, Any]) -> None:
    quote = found["quote"]
    console.print(
        f"equity    {_money(found['equity'])} {quote}   profit {_money(found['profit'], '+')}   "
        f"fees {_money(found['fees_quote'])}   risk: {found['risk_state']}"
    )
    told = ", ".join(f"{amount:f} {asset}" for asset, amount in found["balances"].items())
    console.print(f"balances  {told or 'nothing'}")
    for row in found["positions"]:
        stop = f"stop {Decimal(row['stop']):,}" if row["stop"] else "[red]NO STOP[/]"
        bought, now = _price(row["entry_price"]), _price(row["price"])
        open_profit = _money(Decimal(row["unrealised"]), "+")
        console.print(
            f"position  {row['quantity']} {row['pair']} bought at {bought}, now {now}, "
            f"{open_profit} {quote}, {stop}"
        )
    for row in found["open_orders"]:
        price = f" at {row['price']}" if row["price"] else ""
        console.print(
            f"order     {row['purpose']}: {row['side']} {row['quantity']} {row['pair']} "
            f"{row['type']}{price}, {row['state']}, {row['filled']} filled"
        )
    for pair, model in found["model"].items():
        console.print(
            f"model     {pair}: {_safe(model['id'] or 'none')} ({_safe(model['reason'])})"
        )
    _print_decision(console, found["last_decision"])


def _print_decision(console: Console, row: dict[str, Any] | None) -> None:
    if row is None:
        console.print("decision  none yet")
        return
    because = row["refusals"][0]["reason"] if row["refusals"] else "; ".join(row["reasons"][:1])
    console.print(
        f"decision  {row['pair']} {row['closed_at']} {row['action'].upper()} "
        f"{row['confidence']:.2f}, {row['verdict']}: {_safe(because)}"
    )


def _print_limits(console: Console, found: dict[str, Any]) -> None:
    for row in found["limits"]:
        used, limit = row["used"], row["limit"]
        fraction = isinstance(limit, float)
        told = f"{used:.2%} of {limit:.2%}" if fraction else f"{used} of {limit}"
        mark = "[red]tripped[/]" if row["tripped"] else ""
        console.print(f"limit     {row['rule']:<20} {told} {mark}".rstrip())
    for row in found["rules"]:
        console.print(f"rule      {row['rule']:<24} {row['asks']}")


def _money(amount: Decimal | None, sign: str = "") -> str:
    return "-" if amount is None else f"{amount:{sign},.2f}"


def _price(text: str) -> str:
    return f"{float(text):,.8g}"


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _safe(text: object) -> str:
    """Text from elsewhere, not to be read as colours."""
    from rich.markup import escape

    return escape(str(text))
