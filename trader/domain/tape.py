"""The tape: single trades as columns, and the candles that come of them.

Sums are made in whole units of 1e-8 of the base currency (coarser where a market's volume would
not fit), so that the volume of a large candle is exactly that of the small ones inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, FloatArray, IntArray, Timeframe
from trader.domain.errors import HistoryError

SideArray: TypeAlias = npt.NDArray[np.int8]

MINUTE = Timeframe(60)
NS = 1_000_000_000
_MOST = 2**62


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """Public trades of one market, oldest first; all arrays have one length.

    Attributes:
        at_ns: the moment, Unix nanoseconds, never falling.
        price: quote per base.
        volume: base.
        side: of the taker: 1 bought, -1 sold, 0 unknown.
        trade_id: the exchange's number, 0 where it is not known.
    """

    at_ns: IntArray
    price: FloatArray
    volume: FloatArray
    side: SideArray
    trade_id: IntArray

    @classmethod
    def empty(cls) -> Tape:
        """No trade at all."""
        whole, real = np.empty(0, dtype=np.int64), np.empty(0)
        return cls(whole, real, real, np.empty(0, dtype=np.int8), whole)

    @classmethod
    def joined(cls, parts: Iterable[Tape]) -> Tape:
        """Several one after the other."""
        whole = [part for part in parts if len(part)]
        if len(whole) < 2:
            return whole[0] if whole else cls.empty()
        columns = zip(*(part.columns() for part in whole), strict=True)
        return cls(*(np.concatenate(same) for same in columns))

    def columns(self) -> tuple[npt.NDArray[np.generic], ...]:
        """The arrays in the order of the fields."""
        return self.at_ns, self.price, self.volume, self.side, self.trade_id

    def __len__(self) -> int:
        return len(self.at_ns)

    def __getitem__(self, part: slice) -> Tape:
        return Tape(*(column[part] for column in self.columns()))  # type: ignore[arg-type]

    def between(self, start_ns: int, end_ns: int) -> Tape:
        """Trades at or after `start_ns` and before `end_ns`; arrays are shared."""
        first, last = np.searchsorted(self.at_ns, [start_ns, end_ns])
        return self[int(first) : int(last)]


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """What candles do not tell of the trades inside them, one value a candle.

    Attributes:
        vwap: mean price, weighted with the volume.
        signed_volume: base bought by takers less base sold; NaN where a side is unknown.
        bought: number of trades in which the taker bought.
    """

    timeframe: Timeframe
    opened_at: IntArray
    vwap: FloatArray
    signed_volume: FloatArray
    bought: IntArray

    def __len__(self) -> int:
        return len(self.opened_at)


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Candles of one timeframe with the flow inside them, in whole units.

    Attributes:
        unit: base currency of one unit of `units` and `signed`.
        units: volume of each candle.
        signed: bought less sold.
        turnover: sum of price times volume, quote.
        bought: trades in which the taker bought.
        sided: trades whose side is known.
    """

    candles: Candles
    unit: float
    units: IntArray
    signed: IntArray
    turnover: FloatArray
    bought: IntArray
    sided: IntArray

    @property
    def flow(self) -> Flow:
        """The flow in plain numbers."""
        # The price of a candle whose trades are all below one unit is its close.
        volume = np.where(self.units > 0, self.units * self.unit, 1.0)
        vwap = np.where(self.units > 0, self.turnover / volume, self.candles.close)
        known = self.sided == self.candles.trades
        signed = np.where(known, _plain(self.signed, self.unit), np.nan)
        return Flow(self.candles.timeframe, self.candles.opened_at, vwap, signed, self.bought)

    def coarser(self, timeframe: Timeframe) -> Bars:
        """The same in larger candles, the ones at the ends as far as they are known.

        Raises:
            HistoryError: if the timeframe is not a multiple of this one.
        """
        base = self.candles
        if timeframe == base.timeframe:
            return self
        if timeframe.seconds % base.timeframe.seconds:
            raise HistoryError(f"{timeframe} candles cannot be made of {base.timeframe} candles")
        if not len(base):
            return Bars(Candles.empty(timeframe), self.unit, self.units, self.signed,
                        self.turnover, self.bought, self.sided)  # fmt: skip
        opened = base.opened_at - base.opened_at % timeframe.seconds
        starts = _starts(opened)
        ends = np.append(starts[1:], len(opened)) - 1
        units = np.add.reduceat(self.units, starts)
        candles = Candles(
            timeframe, opened[starts], base.open[starts],
            np.maximum.reduceat(base.high, starts), np.minimum.reduceat(base.low, starts),
            base.close[ends], _plain(units, self.unit), np.add.reduceat(base.trades, starts),
            checked=True,
        )  # fmt: skip
        rest = (self.signed, self.turnover, self.bought, self.sided)
        return Bars(candles, self.unit, units, *(np.add.reduceat(x, starts) for x in rest))


def bars(tape: Tape, timeframes: Sequence[Timeframe]) -> dict[Timeframe, Bars]:
    """Candles of several timeframes from one walk over the trades.

    The first and the last candle are as far as the trades go; who calls knows what is whole.

    Raises:
        HistoryError: if a time falls, a price or volume is no number above zero, or a timeframe
            is not a multiple of a minute.
    """
    _verify(tape)
    minutes = minute_bars(tape)
    found: dict[Timeframe, Bars] = {}
    for timeframe in sorted(timeframes):
        # From the coarsest there is: every sum is of whole units, so the way does not matter.
        parts = [b for t, b in found.items() if timeframe.seconds % t.seconds == 0]
        found[timeframe] = (parts[-1] if parts else minutes).coarser(timeframe)
    return {timeframe: found[timeframe] for timeframe in timeframes}


def minute_bars(tape: Tape, unit: float | None = None) -> Bars:
    """One-minute candles of the trades.

    Args:
        tape: the trades.
        unit: of the sums, base; by default the finest that fits.
    """
    if unit is None:
        unit = fitting_unit(float(tape.volume.sum()))
    if not len(tape):
        none, real = np.empty(0, dtype=np.int64), np.empty(0)
        return Bars(Candles.empty(MINUTE), unit, none, none, real, none, none)
    opened = tape.at_ns // (60 * NS) * 60
    starts = _starts(opened)
    ends = np.append(starts[1:], len(opened)) - 1
    volumes = np.rint(tape.volume * (1.0 / unit)).astype(np.int64)
    units = np.add.reduceat(volumes, starts)
    counts = np.append(starts[1:], len(opened)) - starts
    side = tape.side
    candles = Candles(
        MINUTE, opened[starts], tape.price[starts], np.maximum.reduceat(tape.price, starts),
        np.minimum.reduceat(tape.price, starts), tape.price[ends], _plain(units, unit), counts,
        checked=True,
    )  # fmt: skip
    return Bars(
        candles, unit, units, np.add.reduceat(volumes * side, starts),
        np.add.reduceat(tape.price * tape.volume, starts),
        np.add.reduceat((side > 0).astype(np.int64), starts),
        np.add.reduceat((side != 0).astype(np.int64), starts),
    )  # fmt: skip


def fitting_unit(volume: float) -> float:
    """The finest unit, 1e-8 at best, in which a sum of that size is a whole 62-bit number."""
    places = 8
    while places > 0 and volume * 10.0**places >= _MOST:
        places -= 1
    return float(10.0**-places)


def joined_bars(parts: Sequence[Bars]) -> Bars:
    """Minutes of several tapes one after the other; a minute cut in two becomes one again.

    Raises:
        HistoryError: if they do not follow each other, or differ in unit or timeframe.
    """
    whole = [part for part in parts if len(part.candles)]
    if len(whole) < 2:
        return (whole or parts)[0]
    first = whole[0]
    if any(p.unit != first.unit or p.candles.timeframe != first.candles.timeframe for p in whole):
        raise HistoryError("bars of several units or timeframes cannot be joined")
    columns = [np.concatenate(same) for same in zip(*(_columns(p) for p in whole), strict=True)]
    opened = columns[0]
    if (np.diff(opened) < 0).any():
        raise HistoryError("bars that are joined must follow each other")
    starts = _starts(opened)
    ends = np.append(starts[1:], len(opened)) - 1
    _, open_, high, low, close, count, units, signed, turnover, bought, sided = columns
    sums = [np.add.reduceat(x, starts) for x in (count, units, signed, turnover, bought, sided)]
    candles = Candles(
        first.candles.timeframe, opened[starts], open_[starts], np.maximum.reduceat(high, starts),
        np.minimum.reduceat(low, starts), close[ends], _plain(sums[1], first.unit), sums[0],
        checked=True,
    )  # fmt: skip
    return Bars(candles, first.unit, *sums[1:])


def _columns(part: Bars) -> tuple[npt.NDArray[np.generic], ...]:
    c = part.candles
    return (c.opened_at, c.open, c.high, c.low, c.close, c.trades,
            part.units, part.signed, part.turnover, part.bought, part.sided)  # fmt: skip


def _plain(units: IntArray, unit: float) -> FloatArray:
    """Whole units as base currency; by division, which alone gives the nearest decimal."""
    plain: FloatArray = units / np.rint(1.0 / unit)
    return plain


def _starts(opened: IntArray) -> IntArray:
    """Where another candle begins."""
    return np.flatnonzero(np.concatenate([[True], opened[1:] != opened[:-1]]))


def _verify(tape: Tape) -> None:
    rules = [
        (tape.at_ns[1:] >= tape.at_ns[:-1], 1, "is older than the one before it"),
        (np.isfinite(tape.price) & (tape.price > 0), 0, "has no price above zero"),
        (np.isfinite(tape.volume) & (tape.volume >= 0), 0, "has no valid volume"),
    ]
    for valid, shift, words in rules:
        if not valid.all():
            raise HistoryError(f"trade {int(np.argmin(valid)) + shift + 1} {words}")
