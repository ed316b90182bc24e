"""Markets to learn from besides one's own: whatever else is stored, from whichever exchange.

What moves one market over the next hours moves the others too, so a model of few pairs gains
from the rows of many. They are only learned from: never predicted, judged or traded, and nothing
live depends on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import Pair
from trader.storage.history import HistoryStore

MOST = 12
"""Companions beyond these add rows that every fit thins out again."""
LEAST_CANDLES = 500
_MADE_UP = "simulated"


def companions_of(
    data_dir: Path, exchange: str, pairs: Iterable[Pair], timeframe: Timeframe, until: datetime
) -> dict[Pair, Candles]:
    """Stored candles of other assets than the pairs', one market an asset, longest first.

    Real markets learn from real ones of any exchange; a made-up market only from its own world.

    Args:
        data_dir: the data folder.
        exchange: whose candles the pairs have; its own markets are preferred.
        pairs: what is trained; their assets have no companions.
        timeframe: of the candles.
        until: nothing that closed later is taken.
    """
    found: dict[str, tuple[bool, Pair, Candles]] = {}
    taken = {pair.base for pair in pairs}
    for name in _exchanges(data_dir, exchange):
        store = HistoryStore(data_dir, name)
        for pair in dict.fromkeys(pair for pair, _ in store.pairs()):
            if pair.base in taken:
                continue
            candles = _load(store, pair, timeframe, until)
            rank = (name == exchange, pair, candles)
            best = found.get(pair.base)
            if len(candles) >= LEAST_CANDLES and (best is None or _order(rank) > _order(best)):
                found[pair.base] = rank
    longest = sorted(found.values(), key=lambda entry: (-len(entry[2]), entry[1]))
    return {pair: candles for _, pair, candles in longest[:MOST]}


def _order(entry: tuple[bool, Pair, Candles]) -> tuple[bool, int, str]:
    own, pair, candles = entry
    return own, len(candles), str(pair)


def _exchanges(data_dir: Path, exchange: str) -> list[str]:
    if exchange.startswith(_MADE_UP):
        return [exchange]
    folder = data_dir / "candles"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    return [name for name in names if not name.startswith(_MADE_UP)]


def _load(store: HistoryStore, pair: Pair, timeframe: Timeframe, until: datetime) -> Candles:
    try:
        return store.load(pair, timeframe).known_at(until)
    except HistoryError:
        return Candles.empty(timeframe)
