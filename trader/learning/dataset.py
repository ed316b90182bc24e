"""What is learned from: feature rows and outcomes of all pairs, side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import ModelError
from trader.domain.markets import Pair
from trader.learning.features import (
    LEADER,
    FeatureTable,
    analysis_for_features,
    schema_hash,
    table_of,
)
from trader.learning.labels import BoolArray, Labels, labels_of

HORIZON_HOURS = (1.0, 6.0, 24.0)
WARM_ROWS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Feature tables and labels of several pairs with one timeframe.

    Attributes:
        labels: horizon in hours → one `Labels` per table.
        warm: one mask per table: rows with features good enough to learn from.
        data_hash: fingerprint of the candles and the feature schema.
        pairs: what the tables are of, in their order.
        own: how many of them, from the first on, are predicted and judged; the others are
            companions, which are only learned from.
        traded: the pairs the model is for; all of its own if empty.
    """

    timeframe: Timeframe
    tables: tuple[FeatureTable, ...]
    labels: Mapping[float, tuple[Labels, ...]]
    warm: tuple[BoolArray, ...]
    data_hash: str
    pairs: tuple[Pair, ...] = field(default=())
    own: int = 0
    traded: tuple[Pair, ...] = field(default=())

    @property
    def horizons(self) -> tuple[float, ...]:
        """Hours, shortest first."""
        return tuple(sorted(self.labels))

    @property
    def first_known(self) -> int:
        """The first moment (Unix seconds) with a warm row of a pair of its own; 0 without one."""
        firsts = [int(table.closed_at[warm][0]) for table, warm in self._judged() if warm.any()]
        return min(firsts, default=0)

    @property
    def last_known(self) -> int:
        """The close of the newest candle, Unix seconds; 0 without candles."""
        tables = [table for table, _ in self._judged()]
        return max((int(t.closed_at[-1]) for t in tables if len(t.closed_at)), default=0)

    @property
    def own_pairs(self) -> tuple[Pair, ...]:
        """The pairs that are predicted and judged."""
        return self.pairs[: self.own]

    @property
    def own_tables(self) -> tuple[FeatureTable, ...]:
        """Their feature tables."""
        return self.tables[: self.own]

    def _judged(self) -> list[tuple[FeatureTable, BoolArray]]:
        return list(zip(self.tables, self.warm, strict=True))[: self.own]


def horizons_for(timeframe: Timeframe) -> tuple[float, ...]:
    """The horizons that are whole numbers of candles; one candle if none is."""
    fitting = [h for h in HORIZON_HOURS if (h * 3600) % timeframe.seconds == 0]
    own = timeframe.seconds / 3600
    if not fitting:
        return (own,)
    return tuple(fitting) if fitting[0] < 24.0 else tuple(sorted({min(own, 24.0), *fitting}))


def build_dataset(
    histories: Mapping[Pair, Candles],
    *,
    leader: Candles | None = None,
    companions: Mapping[Pair, Candles] | None = None,
    horizons: tuple[float, ...] | None = None,
    label: str = "direction",
    costs: float = 0.0,
) -> Dataset:
    """Compute features and labels of every pair.

    Args:
        histories: closed candles of each pair, all of one timeframe.
        leader: the leader's candles where it is not among the pairs.
        companions: markets that are only learned from; those of another timeframe and those
            among the pairs are left out.
        horizons: hours; `horizons_for` the timeframe if None.
        label: what is predicted, a name of `labels.LABELS`.
        costs: of a round trip, for the labels that ask for it.

    Raises:
        ModelError: if there are no candles, or of several timeframes.
    """
    frames = {candles.timeframe for candles in histories.values()}
    if len(frames) != 1:
        found = ", ".join(sorted(map(str, frames))) or "none"
        raise ModelError(f"training wants candles of one timeframe, found: {found}")
    timeframe = frames.pop()
    beside = {
        pair: candles
        for pair, candles in (companions or {}).items()
        if candles.timeframe == timeframe and pair not in histories and len(candles)
    }
    own = tuple(sorted(histories))
    pairs, markets = (*own, *sorted(beside)), {**beside, **histories}
    leading = next((p for p in own if p.base == LEADER), None)
    analyses = {pair: analysis_for_features(pair, markets[pair]) for pair in pairs}
    led_by = analyses[leading] if leading else None
    if led_by is None and leader is not None and len(leader):
        led_by = analysis_for_features(Pair(LEADER, pairs[0].quote), leader)
    tables = tuple(table_of(analyses[pair], led_by) for pair in pairs)
    wanted = horizons_for(timeframe) if horizons is None else horizons
    labels = {
        h: tuple(labels_of(label, t.candles, h, sigma=t.sigma, costs=costs) for t in tables)
        for h in wanted
    }
    warm = tuple(np.isfinite(t.sigma) & (np.arange(len(t.sigma)) >= WARM_ROWS) for t in tables)
    print_of = _fingerprint(markets, leader, label)
    return Dataset(timeframe, tables, labels, warm, print_of, pairs, len(own))


def _fingerprint(histories: Mapping[Pair, Candles], leader: Candles | None, label: str) -> str:
    digest = hashlib.sha256(f"{schema_hash()}|{label}".encode())
    for name, candles in [*((str(p), histories[p]) for p in sorted(histories)), ("", leader)]:
        if candles is not None:
            digest.update(f"{name}|{candles.timeframe}".encode())
            for column in candles.columns():
                digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:16]
