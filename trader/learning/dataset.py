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
from trader.learning.labels import BoolArray, Labels, horizon_labels

HORIZON_HOURS = (1.0, 6.0, 24.0)
WARM_ROWS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Feature tables and labels of several pairs with one timeframe.

    Attributes:
        labels: horizon in hours → one `Labels` per table.
        warm: one mask per table: rows with features good enough to learn from.
        data_hash: fingerprint of the candles and the feature schema.
    """

    timeframe: Timeframe
    tables: tuple[FeatureTable, ...]
    labels: Mapping[float, tuple[Labels, ...]]
    warm: tuple[BoolArray, ...]
    data_hash: str
    pairs: tuple[Pair, ...] = field(default=())

    @property
    def horizons(self) -> tuple[float, ...]:
        """Hours, shortest first."""
        return tuple(sorted(self.labels))

    @property
    def first_known(self) -> int:
        """The first moment (Unix seconds) with a warm row of any pair; 0 without one."""
        firsts = [
            int(table.closed_at[warm][0])
            for table, warm in zip(self.tables, self.warm, strict=True)
            if warm.any()
        ]
        return min(firsts, default=0)

    @property
    def last_known(self) -> int:
        """The close of the newest candle, Unix seconds; 0 without candles."""
        return max((int(t.closed_at[-1]) for t in self.tables if len(t.closed_at)), default=0)


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
    horizons: tuple[float, ...] | None = None,
) -> Dataset:
    """Compute features and labels of every pair.

    Args:
        histories: closed candles of each pair, all of one timeframe.
        leader: the leader's candles where it is not among the pairs.
        horizons: hours; `horizons_for` the timeframe if None.

    Raises:
        ModelError: if there are no candles, or of several timeframes.
    """
    frames = {candles.timeframe for candles in histories.values()}
    if len(frames) != 1:
        found = ", ".join(sorted(map(str, frames))) or "none"
        raise ModelError(f"training wants candles of one timeframe, found: {found}")
    timeframe = frames.pop()
    pairs = tuple(sorted(histories))
    leading = next((p for p in pairs if p.base == LEADER), None)
    analyses = {pair: analysis_for_features(pair, histories[pair]) for pair in pairs}
    led_by = analyses[leading] if leading else None
    if led_by is None and leader is not None and len(leader):
        led_by = analysis_for_features(Pair(LEADER, pairs[0].quote), leader)
    tables = tuple(table_of(analyses[pair], led_by) for pair in pairs)
    wanted = horizons_for(timeframe) if horizons is None else horizons
    labels = {h: tuple(horizon_labels(histories[p], h) for p in pairs) for h in wanted}
    warm = tuple(np.isfinite(t.sigma) & (np.arange(len(t.sigma)) >= WARM_ROWS) for t in tables)
    return Dataset(timeframe, tables, labels, warm, _fingerprint(histories, leader), pairs)


def _fingerprint(histories: Mapping[Pair, Candles], leader: Candles | None) -> str:
    digest = hashlib.sha256(schema_hash().encode())
    for name, candles in [*((str(p), histories[p]) for p in sorted(histories)), ("", leader)]:
        if candles is not None:
            digest.update(f"{name}|{candles.timeframe}".encode())
            for column in candles.columns():
                digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:16]
