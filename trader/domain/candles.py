"""Candles and timeframes: what was traded between two moments.

A candle is *closed* when its interval has ended; only closed candles reach a decision.
Candles in which nothing was traded are absent, as in the exchange's own files: they are
neither invented nor filled, and `Candles.gaps` names them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from trader.domain.errors import HistoryError, UsageError
from trader.domain.timeframes import KRAKEN_MINUTES, Timeframe

__all__ = ["KRAKEN_MINUTES", "Candle", "Candles", "FloatArray", "Gap", "IntArray", "Timeframe"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Candle:
    """One closed candle; prices in quote per base, volume in base."""

    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trades: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """A run of absent candles; both ends are openings of candles that are absent."""

    first: datetime
    last: datetime
    candles: int


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """Closed candles of one pair and timeframe as columns, oldest first.

    All arrays have one length and are read-only. `opened_at` is in whole Unix seconds, strictly
    rising, on the grid of the timeframe.

    Raises:
        HistoryError: if lengths differ, times do not rise or are off the grid, a price is not a
            finite positive number, or high and low do not enclose open and close.
    """

    timeframe: Timeframe
    opened_at: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    trades: IntArray
    checked: bool = False

    def __post_init__(self) -> None:
        if not self.checked:
            _check(self)
        for column in self.columns():
            column.setflags(write=False)

    @classmethod
    def empty(cls, timeframe: Timeframe) -> Candles:
        """No candles at all."""
        none = np.empty(0)
        times = np.empty(0, dtype=np.int64)
        return cls(timeframe, times, none, none, none, none, none, times, checked=True)

    @classmethod
    def of(cls, timeframe: Timeframe, rows: list[Candle]) -> Candles:
        """Columns from single candles."""
        times = [int(c.opened_at.timestamp()) for c in rows]
        prices = {
            name: np.array([float(getattr(c, name)) for c in rows], dtype=np.float64)
            for name in ("open", "high", "low", "close", "volume")
        }
        return cls(
            timeframe,
            np.array(times, dtype=np.int64),
            prices["open"],
            prices["high"],
            prices["low"],
            prices["close"],
            prices["volume"],
            np.array([c.trades for c in rows], dtype=np.int64),
        )

    def columns(self) -> tuple[npt.NDArray[np.generic], ...]:
        """The arrays in the order of Kraken's files."""
        return (
            self.opened_at, self.open, self.high, self.low, self.close, self.volume, self.trades
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.opened_at)

    def __getitem__(self, part: slice) -> Candles:
        """A view of consecutive candles; the arrays are shared, not copied.

        Raises:
            ValueError: for a step, which would break the time order.
        """
        if part.step not in (None, 1):
            raise ValueError("candles can only be sliced without a step")
        t, o, h, low, c, v, n = (column[part] for column in self.columns())
        return Candles(self.timeframe, t, o, h, low, c, v, n, checked=True)  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Candles)
            and self.timeframe == other.timeframe
            and all(
                np.array_equal(a, b) for a, b in zip(self.columns(), other.columns(), strict=True)
            )
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def first_opened_at(self) -> datetime:
        """Opening of the oldest candle."""
        return datetime.fromtimestamp(int(self.opened_at[0]), UTC)

    @property
    def last_opened_at(self) -> datetime:
        """Opening of the newest candle."""
        return datetime.fromtimestamp(int(self.opened_at[-1]), UTC)

    @property
    def closed_at(self) -> datetime:
        """The moment the newest candle closed, from which on all of this was known."""
        return datetime.fromtimestamp(int(self.opened_at[-1]) + self.timeframe.seconds, UTC)

    def closed_at_seconds(self) -> IntArray:
        """The moment each candle closed, in Unix seconds."""
        return self.opened_at + self.timeframe.seconds

    def known_at(self, now: datetime) -> Candles:
        """Only the candles that have closed at `now`: the one definition of "closed"."""
        return self[: self.count_known_at(now)]

    def count_known_at(self, now: datetime) -> int:
        """How many of the candles have closed at `now`."""
        # A whole number: numpy would turn the whole column into floats to look up a float.
        newest = math.floor(now.timestamp()) - self.timeframe.seconds
        return int(self.opened_at.searchsorted(newest, side="right"))

    def between(self, start: datetime | None, end: datetime | None) -> Candles:
        """Candles that open at or after `start` and before `end`."""
        times = self.opened_at
        first = 0 if start is None else int(times.searchsorted(math.ceil(start.timestamp())))
        last = len(self) if end is None else int(times.searchsorted(math.ceil(end.timestamp())))
        return self[first:last]

    def row(self, index: int) -> Candle:
        """One candle; prices are the shortest decimals that read back as the same float."""
        o, h, low, c, v = (
            Decimal(repr(float(column[index])))
            for column in (self.open, self.high, self.low, self.close, self.volume)
        )
        opened = datetime.fromtimestamp(int(self.opened_at[index]), UTC)
        return Candle(opened, o, h, low, c, v, int(self.trades[index]))

    def rows(self) -> Iterator[Candle]:
        """The candles one by one, oldest first."""
        return (self.row(i) for i in range(len(self)))

    def gaps(self) -> list[Gap]:
        """The runs of absent candles between the first and the last."""
        step = self.timeframe.seconds
        jumps = np.flatnonzero(np.diff(self.opened_at) != step)
        return [
            Gap(
                datetime.fromtimestamp(int(self.opened_at[i]) + step, UTC),
                datetime.fromtimestamp(int(self.opened_at[i + 1]) - step, UTC),
                int((self.opened_at[i + 1] - self.opened_at[i]) // step) - 1,
            )
            for i in jumps
        ]

    def followed_by(self, newer: Candles) -> Candles:
        """This and what is newer in the other; where both have a candle, this one's stays.

        Raises:
            HistoryError: if the timeframes differ.
        """
        if newer.timeframe != self.timeframe:
            raise HistoryError(
                f"candles of {newer.timeframe} cannot follow candles of {self.timeframe}"
            )
        if not len(self):
            return newer
        first = int(np.searchsorted(newer.opened_at, self.opened_at[-1], side="right"))
        if first == len(newer):
            return self
        t, o, h, low, c, v, n = (
            np.concatenate([a, b[first:]])
            for a, b in zip(self.columns(), newer.columns(), strict=True)
        )
        return Candles(self.timeframe, t, o, h, low, c, v, n, checked=True)

    def resampled(self, timeframe: Timeframe) -> Candles:
        """Coarser candles, only those whose whole interval has closed.

        A coarse candle is made of the finer ones that exist in its interval; it is left out at
        the end while finer candles of its interval may still come (the newest fine candle does
        not reach its end), and at the start when the history begins inside it.

        Raises:
            UsageError: if the timeframe is not a multiple of this one.
        """
        if timeframe == self.timeframe:
            return self
        if timeframe.seconds % self.timeframe.seconds:
            raise UsageError(f"{timeframe} candles cannot be made from {self.timeframe} candles")
        if not len(self):
            return Candles.empty(timeframe)
        bucket = self.opened_at - self.opened_at % timeframe.seconds
        starts = np.flatnonzero(np.concatenate([[True], bucket[1:] != bucket[:-1]]))
        ends = np.concatenate([starts[1:], [len(bucket)]]) - 1
        coarse = Candles(
            timeframe,
            bucket[starts],
            self.open[starts],
            np.maximum.reduceat(self.high, starts),
            np.minimum.reduceat(self.low, starts),
            self.close[ends],
            _volumes(self.volume, starts),
            np.add.reduceat(self.trades, starts),
            checked=True,
        )
        begun = 1 if self.opened_at[0] != bucket[0] else 0
        finished = self.opened_at[-1] + self.timeframe.seconds >= bucket[-1] + timeframe.seconds
        return coarse[begun : len(coarse) if finished else len(coarse) - 1]


def _volumes(volume: FloatArray, starts: IntArray) -> FloatArray:
    """Sums from each start on; exact where what is summed has at most eight decimals.

    So the volume of a day is the same whether it is made of minutes or of hours. Each sum depends
    on its own candles only, never on what else is in the array.
    """
    plain = np.add.reduceat(volume, starts)
    units = np.rint(volume * 1e8)
    # Up to here a float holds every whole number, and the sum is far from the end of 64 bits.
    decimal = (units < 2.0**53) & (units / 1e8 == volume)
    exact = np.logical_and.reduceat(decimal, starts) & (plain < 4e10)
    whole = np.where(decimal, units, 0.0).astype(np.int64)
    return np.where(exact, np.add.reduceat(whole, starts) / 1e8, plain)


def _check(candles: Candles) -> None:
    sizes = {len(column) for column in candles.columns()}
    if len(sizes) > 1:
        raise HistoryError(f"candle columns have different lengths: {sorted(sizes)}")
    times = candles.opened_at
    _demand(times[1:] > times[:-1], times[1:], "is not after the candle before it")
    _demand(times % candles.timeframe.seconds == 0, times, f"is off the {candles.timeframe} grid")
    for name in ("open", "high", "low", "close"):
        values = getattr(candles, name)
        _demand(np.isfinite(values) & (values > 0), times, f"has no positive price in '{name}'")
    body_high = np.maximum(candles.open, candles.close)
    body_low = np.minimum(candles.open, candles.close)
    _demand(candles.high >= body_high, times, "has a high below its open or close")
    _demand(candles.low <= body_low, times, "has a low above its open or close")
    _demand(np.isfinite(candles.volume) & (candles.volume >= 0), times, "has no valid volume")


def _demand(valid: npt.NDArray[np.bool_], times: IntArray, fault: str) -> None:
    if not valid.all():
        index = int(np.argmin(valid))
        opened = datetime.fromtimestamp(int(times[index]), UTC)
        raise HistoryError(f"the candle of {opened:%Y-%m-%d %H:%M} UTC {fault}")
