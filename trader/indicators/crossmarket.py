"""One market among others: relative strength, breadth, correlation, who leads whom.

Markets are compared at the same moments, not at the same row: a market that did not trade for a
while shows its last close until that is too old, and after that it is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, FloatArray, IntArray
from trader.domain.markets import Pair
from trader.domain.window import long_holes
from trader.indicators.graph import window_sum

LEADER = "BTC"
"""The asset whose market the others are compared with."""
STALE_CANDLES = 3
"""A close older than this many candles no longer says what a market is worth."""
FEWEST_SHARE = 0.5
"""Of a window, the share of moments at which both markets must be known."""

MEANING = {
    "relative_strength_24": "return over 24 candles less the leader's, as a logarithm",
    "relative_strength_120": "return over 120 candles less the leader's, as a logarithm",
    "leader_corr_60": "correlation of returns with the leader's over 60 candles",
    "leader_beta_60": "how much the leader's moves are magnified, over 60 candles",
    "leader_lead_60": "above zero the leader moves first, below zero this market does",
    "breadth_24": "share of the markets that rose over 24 candles",
    "market_return_24": "mean return of the markets over 24 candles, as a logarithm",
    "dispersion_24": "how far the markets' returns over 24 candles lie apart",
    "return_rank_24": "share of the other markets that rose less over 24 candles",
}


@dataclass(frozen=True, slots=True)
class _Clock:
    """Closes of a market at chosen moments."""

    candles: Candles

    def close_at(self, moments: IntArray) -> FloatArray:
        """The newest close known at each moment; NaN if there is none or it is stale."""
        closed = self.candles.closed_at_seconds()
        place = np.searchsorted(closed, moments, side="right") - 1
        known = place >= 0
        result = np.full(len(moments), np.nan)
        result[known] = self.candles.close[place[known]]
        age = (
            moments - np.where(known, closed[np.maximum(place, 0)], 0) if len(closed) else moments
        )
        result[age > STALE_CANDLES * self.candles.timeframe.seconds] = np.nan
        return result

    def returns(self, moments: IntArray, candles: int) -> FloatArray:
        """Logarithm of the close at each moment over that so many candles before.

        NaN where a long hole lies between: what was before it is forgotten (`domain.window`).
        """
        before = moments - candles * self.candles.timeframe.seconds
        found: FloatArray = np.log(self.close_at(moments) / self.close_at(before))
        begins = self.candles.opened_at[long_holes(self.candles)]
        found[np.searchsorted(begins, moments) != np.searchsorted(begins, before)] = np.nan
        return found


def cross_market(
    pair: Pair, markets: Mapping[Pair, Candles], leader: Pair
) -> dict[str, FloatArray]:
    """The columns of `MEANING`, one value per candle of the pair.

    Args:
        pair: the market that is looked at.
        markets: candles of all of them, one timeframe, this pair's included.
        leader: the market compared with; its own columns against itself are zero or one, or NaN
            for the lead.

    Returns:
        Name → values; NaN where the other markets were not known well enough.
    """
    own = markets[pair]
    ends = [0, *long_holes(own), len(own)]
    parts = [
        _unbroken(pair, {**markets, pair: own[first:last]}, leader)
        for first, last in pairwise(ends)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in MEANING}


def _unbroken(pair: Pair, markets: Mapping[Pair, Candles], leader: Pair) -> dict[str, FloatArray]:
    own = markets[pair]
    moments = own.closed_at_seconds()
    clocks = {name: _Clock(candles) for name, candles in markets.items()}
    found: dict[str, FloatArray] = {}
    for span in (24, 120):
        lead = clocks[leader].returns(moments, span) if leader in clocks else np.nan
        found[f"relative_strength_{span}"] = clocks[pair].returns(moments, span) - lead
    found |= _with_leader(clocks[pair], clocks.get(leader), moments)
    table = np.array([clock.returns(moments, 24) for clock in clocks.values()])
    own_row = list(clocks).index(pair)
    found |= _among(table.reshape(len(clocks), len(moments)), own_row)
    return {name: found[name] for name in MEANING}


def _with_leader(own: _Clock, leader: _Clock | None, moments: IntArray) -> dict[str, FloatArray]:
    nothing = np.full(len(moments), np.nan)
    if leader is None:
        return dict.fromkeys(("leader_corr_60", "leader_beta_60", "leader_lead_60"), nothing)
    step = own.candles.timeframe.seconds
    mine, theirs = own.returns(moments, 1), leader.returns(moments, 1)
    mine_before = own.returns(moments - step, 1)
    theirs_before = leader.returns(moments - step, 1)
    together, beta = _together(mine, theirs, 60)
    follows, _ = _together(mine, theirs_before, 60)
    leads, _ = _together(theirs, mine_before, 60)
    return {
        "leader_corr_60": together,
        "leader_beta_60": beta,
        "leader_lead_60": nothing if own is leader else follows - leads,
    }


def _together(x: FloatArray, y: FloatArray, window: int) -> tuple[FloatArray, FloatArray]:
    """Rolling correlation, and slope of x on y, over the rows where both are known."""
    both = np.isfinite(x) & np.isfinite(y)
    a, b, one = np.where(both, x, 0.0), np.where(both, y, 0.0), both.astype(np.float64)
    count = window_sum(one, window)
    enough = count >= FEWEST_SHARE * window
    safe = np.where(enough, count, 1.0)
    mean_a, mean_b = window_sum(a, window) / safe, window_sum(b, window) / safe
    cov = window_sum(a * b, window) / safe - mean_a * mean_b
    var_a = np.maximum(window_sum(a * a, window) / safe - mean_a * mean_a, 0.0)
    var_b = np.maximum(window_sum(b * b, window) / safe - mean_b * mean_b, 0.0)
    size = np.sqrt(var_a * var_b)
    return (
        np.clip(_over(cov, size, enough), -1.0, 1.0),
        _over(cov, var_b, enough),
    )


def _over(a: FloatArray, b: FloatArray, valid: npt.NDArray[np.bool_]) -> FloatArray:
    """The quotient; 0 where b vanishes, NaN where not enough is known."""
    result = np.zeros(len(a))
    np.divide(a, b, out=result, where=b > 1e-18)
    result[~valid] = np.nan
    return result


def _among(returns: FloatArray, own: int) -> dict[str, FloatArray]:
    """Breadth and the like over the markets known at each moment (rows are markets)."""
    known = np.isfinite(returns)
    count = known.sum(axis=0)
    safe = np.maximum(count, 1)
    zeros = np.where(known, returns, 0.0)
    mean = zeros.sum(axis=0) / safe
    spread = np.sqrt((np.where(known, returns - mean, 0.0) ** 2).sum(axis=0) / safe)
    below = (known & (returns < returns[own])).sum(axis=0)
    others = count - 1
    found = {
        "breadth_24": (known & (returns > 0)).sum(axis=0) / safe,
        "market_return_24": mean,
        "dispersion_24": spread,
        "return_rank_24": below / np.maximum(others, 1),
    }
    for name, values in found.items():
        fewest = 1 if name in {"breadth_24", "market_return_24"} else 2
        found[name] = np.where(count >= fewest, values, np.nan)
    found["return_rank_24"] = np.where(known[own], found["return_rank_24"], np.nan)
    return found
