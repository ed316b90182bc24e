"""Our columns beside those of other libraries."""

import pytest

from tests.golden.peers import ON_PURPOSE, peers, table
from tests.indicators.markets import market
from tests.shared_data import shared
from trader.domain.candles import Candles
from trader.domain.markets import Pair
from trader.indicators import INDICATORS
from trader.storage.history import HistoryStore

COUNT = 3000


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Candles:
    from datetime import UTC, datetime

    from trader.storage.ohlcvt import import_ohlcvt

    path = shared("data/ohlcvt/XBTUSD_60.csv.gz")
    store = HistoryStore(tmp_path_factory.mktemp("data"))
    import_ohlcvt(store, path, now=datetime(2023, 1, 1, tzinfo=UTC))
    (pair, timeframe), *_ = store.pairs()
    assert pair == Pair("BTC", "USD")
    return store.load(pair, timeframe)[-COUNT:]


def judge(candles: Candles) -> list[str]:
    return [
        f"{peer.column} is {found:.1e} from {peer.library}"
        for peer, found in table(candles)
        if (peer.column, peer.library) not in ON_PURPOSE and not found <= peer.tolerance
    ]


@pytest.mark.slow
def test_every_column_that_a_peer_has_equals_the_peers_on_real_candles(real):
    assert judge(real) == []


@pytest.mark.slow
def test_every_column_that_a_peer_has_equals_the_peers_on_drawn_candles():
    assert judge(market(COUNT, seed=11)) == []


@pytest.mark.slow
def test_where_we_differ_on_purpose_we_do_differ(real):
    same = [
        (peer.column, peer.library)
        for peer, found in table(real)
        if (peer.column, peer.library) in ON_PURPOSE and found <= peer.tolerance
    ]
    # The sides part on few candles: none of these, some of a longer history.
    assert set(same) <= {("supertrend_side", "pandas-ta-classic")}


def test_most_of_the_registry_has_a_peer():
    compared = {peer.column for peer in peers()}
    assert compared <= set(INDICATORS)
    assert len(compared) >= 130
