"""A market whose next candle leans against the last, and models trained on it in seconds."""

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np

from tests.market_making import START, Timeframe, candles_of
from trader.domain.markets import Pair
from trader.learning.settings import LearningSettings
from trader.learning.training import train

FOUR_HOURS = Timeframe.parse("4h")
BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")
SETTINGS = LearningSettings(refit_days=60, least_days=90, rows_per_fit=900)
TRAINED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def leaning(rows, seed, pull=0.35, sigma=0.01):
    """Closes whose returns follow r = -pull × last r + noise."""
    noise = np.random.default_rng(seed).normal(0, sigma, rows)
    returns = np.empty(rows)
    last = 0.0
    for i in range(rows):
        last = returns[i] = -pull * last + noise[i]
    return 100 * np.exp(np.cumsum(returns))


@cache
def histories(rows=2600):
    return {
        BTC: candles_of(leaning(rows, 1), FOUR_HOURS),
        ETH: candles_of(leaning(rows, 2), FOUR_HOURS),
    }


@cache
def result():
    return train(histories(), SETTINGS, source="test", trained_at=TRAINED_AT, code_version="0.0.0")


def end_of(candles) -> datetime:
    return START + timedelta(seconds=len(candles) * candles.timeframe.seconds)
