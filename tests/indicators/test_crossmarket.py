from dataclasses import replace

import numpy as np
import pytest

from tests.indicators.markets import build, market
from trader.domain.candles import Candles
from trader.domain.markets import Pair
from trader.indicators.crossmarket import MEANING, STALE_CANDLES, cross_market
from trader.indicators.leaks import drawn_candles, find_leaks

BTC, ETH, SOL = (Pair(base, "USD") for base in ("BTC", "ETH", "SOL"))


def of_closes(closes):
    close = np.asarray(closes, dtype=np.float64)
    return build(close, close, close, close, np.ones(len(close)))


def without(candles: Candles, rows) -> Candles:
    keep = np.setdiff1d(np.arange(len(candles)), rows)
    columns = {n: getattr(candles, n)[keep] for n in (
        "opened_at", "open", "high", "low", "close", "volume", "trades")}  # fmt: skip
    return replace(candles, **columns)


def followers(count=400):
    """ETH repeats BTC's move one candle later, twice as large."""
    rng = np.random.default_rng(2)
    moves = rng.normal(0, 0.01, count)
    late = 2 * np.concatenate([[0], moves[:-1]])
    return {
        BTC: of_closes(100 * np.exp(np.cumsum(moves))),
        ETH: of_closes(10 * np.exp(np.cumsum(late))),
    }


def test_every_column_that_is_explained_is_there_with_one_value_per_candle():
    markets = {BTC: market(300), ETH: market(300, 8), SOL: market(300, 9)}
    found = cross_market(ETH, markets, BTC)
    assert list(found) == list(MEANING)
    assert {len(v) for v in found.values()} == {300}
    assert all(np.isfinite(v[130:]).all() for v in found.values())


def test_relative_strength_is_the_difference_of_the_returns():
    btc, eth = np.full(30, 100.0), np.full(30, 10.0)
    btc[-1], eth[-1] = 110.0, 12.0
    found = cross_market(ETH, {BTC: of_closes(btc), ETH: of_closes(eth)}, BTC)
    assert found["relative_strength_24"][-1] == pytest.approx(np.log(1.2) - np.log(1.1))


def test_the_market_that_moves_first_is_told():
    markets = followers()
    assert cross_market(ETH, markets, BTC)["leader_lead_60"][-1] > 0.8
    assert cross_market(BTC, markets, ETH)["leader_lead_60"][-1] < -0.8


def test_beta_is_the_magnification():
    moves = np.random.default_rng(4).normal(0, 0.01, 200)
    markets = {
        BTC: of_closes(100 * np.exp(np.cumsum(moves))),
        ETH: of_closes(10 * np.exp(np.cumsum(1.5 * moves))),
    }
    found = cross_market(ETH, markets, BTC)
    assert found["leader_beta_60"][-1] == pytest.approx(1.5)
    assert found["leader_corr_60"][-1] == pytest.approx(1.0)


def test_breadth_counts_the_risers_and_rank_those_behind():
    def rising(factor):
        return of_closes(np.linspace(100, 100 * factor, 30))

    markets = {BTC: rising(1.1), ETH: rising(1.2), SOL: rising(0.9)}
    found = cross_market(ETH, markets, BTC)
    assert found["breadth_24"][-1] == pytest.approx(2 / 3)
    assert found["return_rank_24"][-1] == 1.0
    assert cross_market(SOL, markets, BTC)["return_rank_24"][-1] == 0.0


def test_a_short_gap_shows_the_last_close_and_a_long_one_nothing():
    whole = market(200, 5)
    eth = market(200, 6)
    short = cross_market(ETH, {ETH: eth, BTC: without(whole, [199])}, BTC)
    assert np.isfinite(short["relative_strength_24"][-1])
    rows = np.arange(199 - STALE_CANDLES, 200)
    long = cross_market(ETH, {ETH: eth, BTC: without(whole, rows)}, BTC)
    assert np.isnan(long["relative_strength_24"][-1])
    assert long["breadth_24"][-1] in (0.0, 1.0)


def test_gaps_compare_moments_not_rows():
    btc, eth = market(300, 5), market(300, 6)
    full = cross_market(ETH, {BTC: btc, ETH: eth}, BTC)
    holey = cross_market(ETH, {BTC: without(btc, [50, 90, 91]), ETH: eth}, BTC)
    np.testing.assert_array_equal(
        holey["relative_strength_24"][150:], full["relative_strength_24"][150:]
    )


def test_a_market_alone_has_no_leader_and_no_rank():
    found = cross_market(ETH, {ETH: market(200)}, BTC)
    assert np.isnan(found["leader_corr_60"]).all()
    assert np.isnan(found["return_rank_24"]).all()
    assert np.isfinite(found["breadth_24"][30:]).all()


@pytest.mark.slow
def test_the_future_of_neither_market_is_seen():
    other = drawn_candles(3000, seed=9)

    def as_others(candles):
        return cross_market(ETH, {BTC: other, ETH: candles}, BTC)

    def as_leader(candles):
        found = cross_market(ETH, {BTC: candles, ETH: other}, BTC)
        start = np.searchsorted(other.closed_at_seconds(), candles.closed_at_seconds(), "right")
        return {n: np.append(np.nan, v)[start] for n, v in found.items()}

    assert find_leaks(as_others, drawn_candles(3000, seed=3), 100, seed=1).leaks == ()
    assert find_leaks(as_leader, drawn_candles(3000, seed=3), 100, seed=1).leaks == ()
