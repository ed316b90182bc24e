"""Candles to trade on: imported history where there is some, else the simulated market."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError, UsageError
from trader.domain.markets import Pair
from trader.exchanges.feeds.simulated import SimulatedFeed
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt

HOUR = Timeframe(3600)
PAIRS = (Pair("BTC", "USD"), Pair("ETH", "USD"))
CANDLES_HELP = "OHLCVT file or folder with hourly candles; else the simulated market."
_SIMULATED_END = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Histories:
    """Candles of several pairs and where they come from."""

    label: str
    candles: Mapping[Pair, Candles]

    def stretch(self, chance: Random, candles: int) -> dict[Pair, Candles]:
        """So many candles from a random place that all pairs have in common.

        Raises:
            UsageError: if the histories are too short.
        """
        some = next(iter(self.candles.values())).timeframe
        first = max(c.first_opened_at for c in self.candles.values())
        last = min(c.closed_at for c in self.candles.values())
        room = int((last - first) / some.delta) - candles
        if room < 0:
            raise UsageError(
                f"the histories share {room + candles} candles, {candles} are needed",
                "Import longer ones, or leave --candles out for the simulated market.",
            )
        begin = first + chance.randint(0, room) * some.delta
        end = begin + candles * some.delta
        return {pair: c.between(begin, end) for pair, c in self.candles.items()}


def histories(
    source: Path | None, seed: int, timeframe: Timeframe = HOUR, days: int = 730
) -> Histories:
    """Real candles from OHLCVT files, or two years of the simulated market.

    Args:
        source: a CSV, CSV.gz, ZIP or folder in Kraken's form; None for the simulated market.
        seed: of the simulated market.
        timeframe: of the candles.
        days: how long the simulated market is.

    Raises:
        UsageError: if the files hold no pair that is wanted.
    """
    if source is None:
        feed = SimulatedFeed(seed, PAIRS, timeframe)
        begin = _SIMULATED_END - timedelta(days=days)
        made = {p: feed.history(p, timeframe, _SIMULATED_END).between(begin, None) for p in PAIRS}
        return Histories(f"simulated market, seed {seed}", made)
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        store = HistoryStore(Path(folder))
        import_ohlcvt(store, source, now=datetime.now(UTC))
        found = {}
        for pair in PAIRS:
            try:
                found[pair] = store.load(pair, timeframe)
            except HistoryError:
                continue
    if not found:
        raise UsageError(f"{source} has no {timeframe} candles of {' or '.join(map(str, PAIRS))}")
    return Histories(f"real candles, {', '.join(map(str, found))} {timeframe}", found)
