"""`run_trader.py init`: a few questions, and the settings are written."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import click

from commands.common import print_json, say
from trader.domain.errors import UsageError

ENV_FILE = Path(".env")


@dataclass(frozen=True, slots=True)
class Temper:
    """How much may be lost, as a multiple of the defaults; None leaves these in force."""

    words: str
    size: Decimal | None = None
    pause: Decimal | None = None

    def values(self) -> dict[str, str]:
        """The settings it stands for; an empty value is the default."""
        return {name: _scaled(name, self.size) for name in SIZES} | {
            name: _scaled(name, self.pause) for name in PAUSES
        }


SIZES = ("VOLATILITY_TARGET", "RISK_PER_TRADE", "MAX_POSITION_FRACTION")
PAUSES = ("MAX_DAILY_LOSS", "MAX_DRAWDOWN")
TEMPERS = {
    "careful": Temper("half the usual size, and a pause after two thirds of the usual loss",
                      Decimal("0.5"), Decimal("0.67")),
    "usual": Temper("the defaults, which are those of the published results"),
    "bold": Temper("half as much again, and a pause only after half as much again",
                   Decimal("1.5"), Decimal("1.5")),
}  # fmt: skip


def _scaled(name: str, factor: Decimal | None) -> str:
    from config import KNOWN

    if factor is None:
        return ""
    return format((Decimal(KNOWN[name].default) * factor).normalize(), "f")


@click.command(name="init", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--pairs", help="What is traded: BTC/USD,ETH/USD.")
@click.option("--risk", type=click.Choice(list(TEMPERS)), help="How much may be lost.")
@click.option(
    "--alerts", help="Where alerts go: https://…, ntfy://topic, discord://…; - for none."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(pairs: str | None, risk: str | None, alerts: str | None, as_json: bool) -> None:
    """Ask the few questions that matter and write `.env`; paper trading stays on.

    What is there already is kept but for the answers. Without a terminal nothing is asked: what
    no option answers keeps its value.

    \b
    Example:
      python run_trader.py init --pairs BTC/USD,ETH/USD --risk careful
    """
    from config import example, load_config, with_values

    asks = sys.stdin.isatty() and not as_json
    before = load_config()
    chosen = _pairs(pairs, ",".join(map(str, before.pairs)), asks)
    values = {} if chosen is None else {"PAIRS": chosen}
    values |= _risk(risk, asks)
    values |= _alerts(alerts, asks, known=bool(before.webhook_url))
    text = ENV_FILE.read_text(encoding="utf-8") if ENV_FILE.exists() else example()
    _write(with_values(text, values))
    if as_json:
        print_json({"file": str(ENV_FILE.absolute()), "set": sorted(values)})
        return
    click.echo(f"{load_config().mode}  wrote {', '.join(sorted(values)) or 'nothing new'}"
               f" to {ENV_FILE}")  # fmt: skip
    click.echo("Next: python run_trader.py doctor, then: python run_trader.py start")


def _pairs(given: str | None, now: str, asks: bool) -> str | None:
    from config import parse_pairs

    if given is not None:
        return ",".join(map(str, parse_pairs(given)))
    while asks:
        answer = click.prompt("Which pairs, priced in one currency", default=now, err=True)
        try:
            return ",".join(map(str, parse_pairs(answer)))
        except UsageError as fault:
            say(f"  {fault.message}. {fault.hint}")
    return None


def _risk(given: str | None, asks: bool) -> dict[str, str]:
    if given is None and asks:
        say("How much may be lost?")
        for name, temper in TEMPERS.items():
            say(f"  {name:<8} {temper.words}")
        given = click.prompt(
            "Your choice", default="usual", type=click.Choice(list(TEMPERS)), err=True
        )
    if given is None:
        return {}
    return TEMPERS[given].values()


def _alerts(given: str | None, asks: bool, *, known: bool) -> dict[str, str]:
    if given is None and asks:
        kept = "Enter keeps the present one, - takes it away" if known else "Enter for none"
        say("Where should alerts go? A phone: ntfy://a-secret-word (free app ntfy). "
            "A service: https://…, discord://…, slack://…, tgram://…")  # fmt: skip
        given = click.prompt(f"Address ({kept})", default="", show_default=False, err=True) or None
    if given is None:
        return {}
    return {"WEBHOOK_URL": "" if given == "-" else given}


def _write(text: str) -> None:
    """Replace the file whole, for its owner alone, once the settings in it can be read.

    Raises:
        UsageError: if they cannot; the file is left as it was.
    """
    from config import load_config

    draft = ENV_FILE.with_name(".env.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        load_config(draft)
    except UsageError as fault:
        draft.unlink()
        raise UsageError(fault.message.replace(draft.name, ENV_FILE.name), fault.hint) from None
    draft.chmod(0o600)
    draft.replace(ENV_FILE)
