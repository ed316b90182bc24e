"""A made-up market: what crypto prices are like, without being any that ever were.

One leader (BTC) goes through bull, bear and range phases; other assets follow it in part and move
on their own for the rest. Volatility comes in clusters (two autoregressive components of its
logarithm, days and weeks long), now and then the price jumps, and volatility and volume follow
the hour of the day and the day of the week. Apart from the slow phases and a pull towards the
asset's usual level over years, returns are not predictable from earlier ones.

The market is a pure function of seed, asset and step: it is made in blocks of 30 days from a fixed
first day on, each block from its own generator, so that it does not matter which pair or which
span is asked for first. Steps shorter than a quarter of an hour are drawn inside its candles,
minute by minute: so minutes, five minutes and hours of one seed are the same market.

Source of the stylised facts: Cont (2001), "Empirical properties of asset returns"; of the highest
and lowest price of a step: the maximum of a Brownian bridge, Karatzas & Shreve (1991), 4.3.40.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, FloatArray, Timeframe
from trader.domain.markets import MarketRules, Pair

GENESIS = datetime(2017, 1, 1, tzinfo=UTC)
DAY = 86_400
BLOCK_DAYS = 30
YEAR = 365 * DAY
LEADER = "BTC"
BoolArray = npt.NDArray[np.bool_]
QUARTER_S, MINUTE_S = 900, 60
_MINUTES = QUARTER_S // MINUTE_S

SLOW_DAYS, FAST_DAYS = 20.0, 0.4
SLOW_SPREAD, FAST_SPREAD = 0.35, 0.45
PULL_HALF_LIFE_YEARS = 1.5
JUMPS_PER_DAY = 0.06
JUMP_SIZE = 2.5
"""Mean size of a jump, in standard deviations of an hour."""

PHASE_DRIFT = (0.9, -0.9, 0.0)
"""Drift of the log price in bull, bear and range phases, per year."""
PHASE_DAYS = (45.0, 30.0, 40.0)
PHASE_VOLATILITY = (0.95, 1.25, 0.8)


@dataclass(frozen=True, slots=True)
class Traits:
    """What an asset is like.

    Attributes:
        price: its usual level, USD.
        volatility: of the part of its own, per square root of a year.
        beta: how much of the leader's returns it follows.
        volume_usd: traded in a usual day, USD.
    """

    price: float
    volatility: float
    beta: float
    volume_usd: float


TRAITS = {
    "BTC": Traits(60_000, 0.52, 0.0, 250e6),
    "ETH": Traits(3_000, 0.42, 1.05, 130e6),
    "SOL": Traits(140, 0.65, 1.15, 60e6),
    "XRP": Traits(0.9, 0.62, 0.9, 60e6),
    "DOGE": Traits(0.15, 0.75, 1.0, 20e6),
    "ADA": Traits(0.6, 0.6, 1.0, 15e6),
    "LTC": Traits(90, 0.5, 0.9, 8e6),
    "DOT": Traits(7, 0.6, 1.05, 6e6),
    "LINK": Traits(15, 0.6, 1.05, 10e6),
    "AVAX": Traits(30, 0.7, 1.15, 8e6),
    "USDT": Traits(1, 0.006, 0.0, 80e6),
    "USDC": Traits(1, 0.005, 0.0, 40e6),
    "EUR": Traits(1.08, 0.07, 0.0, 30e6),
    "GBP": Traits(1.27, 0.08, 0.0, 10e6),
}
OTHER = Traits(5, 0.75, 1.0, 3e6)
CALM = frozenset({"USD", "USDT", "USDC", "EUR", "GBP"})


@dataclass(slots=True)
class _State:
    """What one block hands to the next."""

    slow: float = 0.0
    fast: float = 0.0
    level: float = 0.0
    phase: int = 2


@dataclass(slots=True)
class Series:
    """Log price and volatility of one asset in USD, block by block.

    Attributes:
        seed: of the market.
        asset: common name.
        step: seconds.
        leader: the series it follows, None for the leader itself and for currencies.
    """

    seed: int
    asset: str
    step: int
    leader: Series | None = None
    returns: list[FloatArray] = field(default_factory=list)
    logs: list[FloatArray] = field(default_factory=list)
    sigmas: list[FloatArray] = field(default_factory=list)
    _state: _State = field(default_factory=_State)

    @property
    def traits(self) -> Traits:
        """What the asset is like."""
        return TRAITS.get(self.asset, OTHER)

    def extend(self, blocks: int) -> None:
        """Make what is missing of the first `blocks` blocks."""
        if self.leader is not None:
            self.leader.extend(blocks)
        while len(self.logs) < blocks:
            self._next_block()

    def _next_block(self) -> None:
        number, state, traits = len(self.logs), self._state, self.traits
        rng = np.random.default_rng([self.seed, _code(self.asset), number])
        n = BLOCK_DAYS * DAY // self.step
        years = self.step / YEAR
        slow = _autoregressive(rng, n, SLOW_DAYS * DAY / self.step, SLOW_SPREAD, state.slow)
        fast = _autoregressive(rng, n, FAST_DAYS * DAY / self.step, FAST_SPREAD, state.fast)
        state.slow, state.fast = float(slow[-1]), float(fast[-1])
        spread = (SLOW_SPREAD**2 + FAST_SPREAD**2) / 2
        calm = self.asset in CALM
        drift, loud = (0.0, np.ones(n)) if calm or self.leader else self._phases(rng, n)
        season = np.ones(n) if calm else seasonality(number, n, self.step)
        sigma = traits.volatility * math.sqrt(years) * np.exp(slow + fast - spread) * loud * season
        own = rng.standard_normal(n) * sigma + drift * years
        if not calm:
            own += _jumps(rng, n, self.step, traits.volatility)
        if self.leader is not None:
            own = own + traits.beta * self.leader.returns[number]
            sigma = np.hypot(sigma, traits.beta * self.leader.sigmas[number])
        pull = math.log(2) / (PULL_HALF_LIFE_YEARS / years)
        logs = _decaying_sums(own, 1 - pull, state.level)
        state.level = float(logs[-1])
        self.returns.append(own)
        self.sigmas.append(sigma)
        self.logs.append(logs + math.log(traits.price))

    def _phases(self, rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray]:
        """Drift per year and loudness of each step; a phase can change at midnight."""
        chance = rng.random((BLOCK_DAYS, 2))
        phases = []
        for ends, which in chance:
            if ends < 1 / PHASE_DAYS[self._state.phase]:
                others = [p for p in range(3) if p != self._state.phase]
                self._state.phase = others[int(which * 2)]
            phases.append(self._state.phase)
        each = np.repeat(phases, n // BLOCK_DAYS)
        return np.array(PHASE_DRIFT)[each], np.array(PHASE_VOLATILITY)[each]


class SimulatedMarket:
    """Candles of made-up pairs.

    Args:
        seed: of the market.
        timeframe: of the candles; must divide a day.
    """

    def __init__(self, seed: int, timeframe: Timeframe) -> None:
        self.seed = seed
        self.timeframe = timeframe
        step = timeframe.seconds
        self._fine = step < QUARTER_S and QUARTER_S % step == 0 and step % MINUTE_S == 0
        self._step = QUARTER_S if self._fine else step
        self._series: dict[str, Series] = {}

    def series(self, asset: str) -> Series:
        """The series of one asset in USD."""
        if asset not in self._series:
            follows = asset != LEADER and asset not in CALM
            leader = self.series(LEADER) if follows else None
            self._series[asset] = Series(self.seed, asset, self._step, leader)
        return self._series[asset]

    def candles(self, pair: Pair, rules: MarketRules, first: int, last: int) -> Candles:
        """Candles of the blocks from `first` to before `last`, counted from the first day.

        Args:
            pair: any two assets.
            rules: tick and lot to which prices and volumes are rounded.
            first: first block.
            last: block after the last.
        """
        blocks = [self._block(pair, rules, number) for number in range(first, last)]
        if not blocks:
            return Candles.empty(self.timeframe)
        o, h, low, c, v, trades = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        n = len(o)
        begin = int(GENESIS.timestamp()) + first * BLOCK_DAYS * DAY
        times = begin + np.arange(n, dtype=np.int64) * self.timeframe.seconds
        return Candles(self.timeframe, times, o, h, low, c, v, trades.astype(np.int64))

    def _block(self, pair: Pair, rules: MarketRules, number: int) -> tuple[FloatArray, ...]:
        logs, sigma = self._path_of(pair, number)
        before = self._path_of(pair, number - 1)[0][-1] if number else logs[0]
        opens = np.concatenate([[before], logs[:-1]])
        rng = np.random.default_rng([self.seed, _code(str(pair)), 1_000_000 + number])
        up = _bridge_top(logs - opens, sigma, rng)
        down = _bridge_top(opens - logs, sigma, rng)
        digits, tick = rules.price_decimals, float(rules.tick)
        o, h, low, c = (
            np.maximum(np.round(np.exp(x), digits), tick)
            for x in (opens, opens + up, opens - down, logs)
        )
        volume = self._volume(pair, number, logs - opens, sigma, c, rng)
        volume = np.round(volume, min(rules.lot_decimals, 8))
        trades = np.maximum(1, np.round(volume * c / 900))
        h, low = np.maximum.reduce([o, h, c]), np.minimum.reduce([o, low, c])
        if not self._fine:
            return o, h, low, c, volume, trades
        inside = np.random.default_rng([self.seed, _code(str(pair)), 2_000_000 + number])
        minutes = _minutes(inside, (o, h, low, c, volume, trades), sigma, rules)
        return _joined(minutes, self.timeframe.seconds // MINUTE_S)

    def _path_of(self, pair: Pair, number: int) -> tuple[FloatArray, FloatArray]:
        """Log price at the end of each step, and its volatility."""
        base = self.series(pair.base)
        base.extend(number + 1)
        if pair.quote == "USD":
            return base.logs[number], base.sigmas[number]
        quote = self.series(pair.quote)
        quote.extend(number + 1)
        return (
            base.logs[number] - quote.logs[number],
            np.hypot(base.sigmas[number], quote.sigmas[number]),
        )

    def _volume(
        self, pair: Pair, number: int, moves: FloatArray, sigma: FloatArray,
        close: FloatArray, rng: np.random.Generator,
    ) -> FloatArray:  # fmt: skip
        """Base volume: more when the price moves more than usual, by the hour, and by chance."""
        traits = self.series(pair.base).traits
        usual = traits.volume_usd * self._step / DAY / traits.price
        season = seasonality(number, len(close), self._step) ** 2
        surprise = 0.5 + 0.6 * np.abs(moves) / sigma
        share = 1.0 if pair.quote == "USD" else 0.4
        chance = np.exp(0.5 * rng.standard_normal(len(close)))
        return usual * share * season * surprise * chance


def _minutes(
    rng: np.random.Generator,
    quarters: tuple[FloatArray, ...],
    sigma: FloatArray,
    rules: MarketRules,
) -> tuple[FloatArray, ...]:
    """Minutes that add up to the quarters of an hour they lie in, to the last lot and trade.

    Prices follow a Brownian bridge from open to close; the minutes that went farthest are the
    ones that touch high and low. A quarter with fewer trades than minutes has minutes without.

    Args:
        rng: chance.
        quarters: open, high, low, close, volume, trades, one value a quarter.
        sigma: of a quarter's log return.
        rules: ticks and lots.
    """
    o, h, low, c, volume, trades = (column[:, None] for column in quarters)
    shape = (len(o), _MINUTES)
    busy = _busy(rng, trades, shape)
    part = busy.cumsum(axis=1) / busy.sum(axis=1, keepdims=True)
    steps = np.where(busy, rng.standard_normal(shape), 0.0) * (sigma[:, None] / _MINUTES**0.5)
    walk = steps.cumsum(axis=1)
    logs = np.log(o) + walk + part * (np.log(c / o) - walk[:, -1:])
    closes = np.clip(np.round(np.exp(logs), rules.price_decimals), low, h)
    # Where nothing is traded any more, the close is that of the last trade.
    closes = np.where(part == 1.0, c, closes)
    opens = np.concatenate([o, closes[:, :-1]], axis=1)
    away = np.where(busy, np.abs(rng.standard_normal((2, *shape))), 0.0) * sigma[:, None] / 8
    highs = np.round(np.maximum(opens, closes) * np.exp(away[0]), rules.price_decimals)
    lows = np.round(np.minimum(opens, closes) * np.exp(-away[1]), rules.price_decimals)
    highs, lows = np.clip(highs, np.maximum(opens, closes), h), np.clip(lows, low, closes)
    lows = np.minimum(lows, opens)
    rows = np.arange(len(o))
    highs[rows, np.where(busy, highs, -np.inf).argmax(axis=1)] = h[:, 0]
    lows[rows, np.where(busy, lows, np.inf).argmin(axis=1)] = low[:, 0]
    lots = 10.0 ** min(rules.lot_decimals, 8)
    volumes = _shared(rng, np.round(volume * lots), busy) / lots
    counts = busy + _shared(rng, trades - busy.sum(axis=1, keepdims=True), busy)
    return tuple(column.ravel() for column in (opens, highs, lows, closes, volumes, counts))


def _busy(rng: np.random.Generator, trades: FloatArray, shape: tuple[int, int]) -> BoolArray:
    """In which minutes anything is traded: in all, or in as many as there are trades."""
    rank = rng.random(shape).argsort(axis=1).argsort(axis=1)
    busy: BoolArray = rank < trades
    return busy


def _shared(rng: np.random.Generator, whole: FloatArray, busy: BoolArray) -> FloatArray:
    """Whole numbers shared out among the busy minutes of each row by chance, exactly."""
    weight = np.where(busy, rng.gamma(2.0, size=busy.shape), 0.0)
    parts: FloatArray = np.floor(whole * weight / weight.sum(axis=1, keepdims=True))
    rest = whole[:, 0] - parts.sum(axis=1)
    parts[np.arange(len(parts)), busy.argmax(axis=1)] += rest
    return parts


def _joined(minutes: tuple[FloatArray, ...], count: int) -> tuple[FloatArray, ...]:
    """So many minutes at a time as one candle."""
    o, h, low, c, volume, trades = (column.reshape(-1, count) for column in minutes)
    return (o[:, 0], h.max(axis=1), low.min(axis=1), c[:, -1], volume.sum(axis=1),
            trades.sum(axis=1))  # fmt: skip


def blocks_until(moment: datetime) -> int:
    """How many blocks it takes to have every candle up to a moment."""
    seconds = (moment - GENESIS).total_seconds()
    return max(0, math.floor(seconds / (BLOCK_DAYS * DAY)) + 1)


def seasonality(block: int, n: int, step: int) -> FloatArray:
    """Factor of volatility by the hour (busiest at 15 UTC) and the day (weekends are quiet)."""
    seconds = int(GENESIS.timestamp()) + block * BLOCK_DAYS * DAY + np.arange(n) * step
    hour = seconds % DAY / 3600
    weekday = (seconds // DAY + 3) % 7
    factor: FloatArray = 1 + 0.25 * np.cos((hour - 15) * math.pi / 12)
    return factor * np.where(weekday >= 5, 0.8, 1.06)


def _autoregressive(
    rng: np.random.Generator, n: int, half_life: float, spread: float, before: float
) -> FloatArray:
    keep = 0.5 ** (1 / half_life)
    noise = rng.standard_normal(n) * spread * math.sqrt(1 - keep**2)
    return _decaying_sums(noise, keep, before)


def _decaying_sums(steps: FloatArray, keep: float, before: float) -> FloatArray:
    """y[i] = steps[i] + keep · y[i − 1], beginning from y[−1] = `before`."""
    # Imported here: it takes half a second, and a replay of real prices never needs it.
    from scipy.signal import lfilter

    values, _ = lfilter([1.0], [1.0, -keep], steps, zi=[keep * before])
    return np.asarray(values, dtype=np.float64)


def _jumps(rng: np.random.Generator, n: int, step: int, volatility: float) -> FloatArray:
    happens = rng.random(n) < JUMPS_PER_DAY * step / DAY
    hourly = volatility * math.sqrt(3600 / YEAR)
    return np.where(happens, rng.laplace(0, JUMP_SIZE * hourly, n), 0.0)


def _bridge_top(move: FloatArray, sigma: FloatArray, rng: np.random.Generator) -> FloatArray:
    """How far above its start a Brownian path that ends at `move` has been, by chance."""
    luck = rng.random(len(move))
    top = (move + np.sqrt(move**2 - 2 * sigma**2 * np.log(1 - luck))) / 2
    return np.maximum(top, 0.0)


def _code(text: str) -> int:
    return zlib.crc32(text.encode())
