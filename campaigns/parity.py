"""What you test is what you trade: three ways over the same candles, one digest.

`python -m campaigns.parity --candles FOLDER --json`

Each round trades a span as the backtest does, as the bot does in one process, and as the bot does
over HTTP, and compares every decision, order and fill. Rounds: stops and targets; takers that
walk the book and makers that fill in parts; an exchange that refuses orders; an emergency stop in
the middle that sells everything, lifted later.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from campaigns.output import Pace, progress, show
from config import load_config
from scripts.backtest_run import Incidents, RunSettings, Shown
from scripts.backtest_verify import verify
from trader.domain.candles import Timeframe
from trader.domain.errors import HistoryError, InsufficientFunds
from trader.domain.markets import Pair
from trader.exchanges.sandbox import SandboxExchange
from trader.simulation.backtest import Span
from trader.simulation.costs import Costs
from trader.simulation.orders import OrderRecord, OrderSpec
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt

EVERY = 7
"""The refusing exchange turns down every so many-th order."""


class Refusing(SandboxExchange):
    """An exchange that turns down one order in a few, whoever sends it and however."""

    sent = 0

    def submit(self, spec: OrderSpec, *, validate: bool = False) -> OrderRecord:
        """Refuse now and then, in Kraken's words.

        Raises:
            InsufficientFunds: for every seventh order.
        """
        self.sent += not validate
        if not validate and self.sent % EVERY == 0:
            raise InsufficientFunds("not now", "", "EOrder:Insufficient funds")
        return super().submit(spec, validate=validate)


@dataclass(frozen=True, slots=True)
class Round:
    """One comparison.

    Attributes:
        share: part of the span it trades.
    """

    name: str
    costs: Costs = field(default_factory=Costs)
    incidents: Incidents = field(default_factory=Incidents)
    cash: Decimal = Decimal(10_000)
    share: float = 1.0


def rounds(span: Span) -> Iterator[Round]:
    """What is compared over a span."""
    whole = span.end - span.start
    stop = (span.start + whole / 2, span.start + whole / 2 + timedelta(days=10))
    yield Round("stops, targets, a refusing exchange, a stop in the middle",
                incidents=Incidents(stop, flatten=True, box=Refusing))  # fmt: skip
    deep = Costs(walks_book=True, queue_share=Decimal("0.02"), volume_share=Decimal("0.01"))
    yield Round("walking the book, fills in parts", deep, cash=Decimal(20_000_000), share=0.25)


class Told:
    """Shows how far a round is, as a line now and then."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._title, self._total = "", 0

    def begin(self, title: str, total: int) -> None:
        """A way of trading begins."""
        self._title, self._total = title, total

    def at(self, count: int) -> None:
        """So many steps are done."""
        self._pace.tell(f"  {self._title}: {count:,} of {self._total:,}")

    def tell(self, what: str) -> None:
        """Nothing is trained here."""

    def end(self) -> None:
        """The result says so."""


def compare(
    store: HistoryStore,
    pairs: tuple[Pair, ...],
    timeframe: Timeframe,
    span: Span,
    shown: Shown,
) -> Iterator[dict[str, Any]]:
    """Every round over a span: what was compared and whether it was the same."""
    # Near stops and targets, so that both are met often; limits that do not end the trading.
    config = replace(
        load_config(None, {}), stop_atr_multiple=Decimal(1), risk_reward=Decimal(2),
        max_drawdown=Decimal("0.9"), max_consecutive_losses=50, max_daily_loss=Decimal("0.5"),
    )  # fmt: skip
    for each in rounds(span):
        length = (span.end - span.start) * each.share
        part = Span(span.start, timeframe.floor(span.start + length))
        settings = RunSettings(
            config, store, pairs, timeframe, part, "sma-cross", each.costs, each.cash
        )
        found = verify(settings, shown, each.incidents)
        yield {
            "round": each.name, "timeframe": str(timeframe), "days": (part.end - part.start).days,
            **{k: found[k] for k in ("equal", "orders", "fills", "rejected", "lines", "digest")},
            "first_difference": found["first_difference"],
        }  # fmt: skip


def summary(done: list[dict[str, Any]], pairs: tuple[Pair, ...]) -> dict[str, Any]:
    """All rounds in one."""
    return {
        "pairs": [str(pair) for pair in pairs],
        "equal": all(row["equal"] for row in done),
        "orders": sum(row["orders"] for row in done),
        "fills": sum(row["fills"] for row in done),
        "rejected": sum(row["rejected"] for row in done),
        "rounds": done,
    }


@click.command()
@click.option("--candles", type=click.Path(exists=True, path_type=Path), required=True,
              help="OHLCVT file or folder with hourly candles of the pairs.")  # fmt: skip
@click.option("--pairs", default="BTC/USDT,ETH/USDT,LTC/USDT", show_default=True)
@click.option("--start", default="2020-01-01", show_default=True, help="First day, UTC.")
@click.option("--days", default=366, show_default=True)
@click.option("--timeframes", default="4h,1h", show_default=True)
@click.option("--json", "as_json", is_flag=True)
def command(
    candles: Path, pairs: str, start: str, days: int, timeframes: str, as_json: bool
) -> None:
    """Compare backtest, bot and bot over HTTP on real candles."""
    wanted = tuple(Pair.parse(name) for name in pairs.split(","))
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    pace, done = Pace(15.0), []
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        store = HistoryStore(Path(folder))
        import_ohlcvt(store, candles, now=datetime.now(UTC))
        for name in timeframes.split(","):
            span = Span(begin, begin + timedelta(days=days))
            for row in compare(store, wanted, Timeframe.parse(name), span, Told(pace)):
                same = "the same" if row["equal"] else "DIFFERENT"
                progress(f"{pace.seconds:7.0f} s  {name} {row['round']}: {same}")
                done.append(row)
    document = summary(done, wanted)
    show(document, as_json=as_json)
    sys.exit(0 if document["equal"] else 1)


if __name__ == "__main__":
    try:
        command()
    except HistoryError as fault:
        sys.exit(f"{fault.message}. {fault.hint}")
