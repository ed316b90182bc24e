from datetime import UTC, datetime

import pytest

from tests.market_making import candles_of, random_walk
from trader.domain.candles import Timeframe
from trader.domain.markets import Pair
from trader.storage.companions import companions_of
from trader.storage.history import HistoryStore

HOUR = Timeframe.parse("1h")
LATE = datetime(2030, 1, 1, tzinfo=UTC)
BTC, LTC, XRP = Pair("BTC", "USD"), Pair("LTC", "USDT"), Pair("XRP", "USDT")


def store(root, exchange, pair, rows=700, seed=1):
    candles = candles_of(random_walk(rows, seed), HOUR)
    HistoryStore(root, exchange).append(pair, candles, "drawn")
    return candles


def found(root, *, exchange="kraken", until=LATE):
    return companions_of(root, exchange, [BTC], HOUR, until)


def test_other_assets_of_any_real_exchange_are_companions(tmp_path):
    store(tmp_path, "kraken", BTC)
    store(tmp_path, "binance", LTC)
    store(tmp_path, "binance", Pair("BTC", "USDT"))
    assert list(found(tmp_path)) == [LTC]


def test_an_asset_is_taken_once_and_rather_from_the_own_exchange(tmp_path):
    store(tmp_path, "binance", LTC, rows=900)
    own = store(tmp_path, "kraken", Pair("LTC", "USD"))
    assert {p: len(c) for p, c in found(tmp_path).items()} == {Pair("LTC", "USD"): len(own)}


def test_made_up_and_real_markets_do_not_learn_from_each_other(tmp_path):
    store(tmp_path, "simulated-7", XRP)
    store(tmp_path, "binance", LTC)
    assert list(found(tmp_path)) == [LTC]
    assert list(found(tmp_path, exchange="simulated-7")) == [XRP]


def test_nothing_that_closed_later_is_taken(tmp_path):
    candles = store(tmp_path, "binance", LTC)
    until = datetime.fromtimestamp(int(candles.opened_at[600]), UTC)
    assert found(tmp_path, until=until)[LTC].closed_at == until


@pytest.mark.parametrize("rows", [10, 499])
def test_a_short_history_is_no_companion(tmp_path, rows):
    store(tmp_path, "binance", LTC, rows=rows)
    assert found(tmp_path) == {}


def test_without_anything_stored_there_are_none(tmp_path):
    assert found(tmp_path) == {}
