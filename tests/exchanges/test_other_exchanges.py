"""Claims about candles through ccxt, against the built-in exchange over a real socket."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.exchanges.box import Box
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import UnknownPair, Unreachable, UsageError
from trader.domain.markets import Pair
from trader.exchanges.other_exchanges import CcxtCandles
from trader.exchanges.sandbox_server import Server

ccxt = pytest.importorskip("ccxt")

BTC = Pair("BTC", "USD")
MINUTE = Timeframe(60)


@pytest.fixture
def box() -> Box:
    return Box(start=datetime(2026, 9, 1, tzinfo=UTC))


def pointed_at(url: str) -> Any:
    exchange = ccxt.kraken(
        {"enableRateLimit": False, "urls": {"api": {"public": url, "private": url}}}
    )
    exchange.session.trust_env = False
    return exchange


@pytest.fixture
def source(box: Box) -> Iterator[CcxtCandles]:
    with Server(box.wire, port=0) as address:
        client = pointed_at(address.url)
        yield CcxtCandles("kraken", client)
        client.session.close()


def test_pages_join_to_the_exchanges_own_candles(source: CcxtCandles, box: Box) -> None:
    now = box.clock.now()
    pages = list(source.pages(BTC, MINUTE, now - timedelta(hours=10), now))
    whole = Candles.empty(MINUTE)
    for candles, covers in pages:
        assert covers[0] <= candles.opened_at[0]
        whole = whole.followed_by(candles)
    expected = box.exchange.candles(BTC, MINUTE).between(now - timedelta(hours=10), now)
    assert whole.opened_at.tolist() == expected.opened_at.tolist()
    assert whole.close.tolist() == expected.close.tolist()
    assert whole.closed_at <= now


def test_an_unknown_pair_names_what_there_is(source: CcxtCandles, box: Box) -> None:
    now = box.clock.now()
    with pytest.raises(UnknownPair) as caught:
        list(source.pages(Pair("BTC", "USDT"), MINUTE, now - timedelta(hours=1), now))
    assert "BTC/USD" in caught.value.hint


def test_a_timeframe_it_does_not_have_is_named(source: CcxtCandles, box: Box) -> None:
    now = box.clock.now()
    with pytest.raises(UsageError, match="no candles of 7m"):
        list(source.pages(BTC, Timeframe(420), now - timedelta(hours=1), now))


def test_nobody_listening_is_unreachable() -> None:
    source = CcxtCandles("kraken", pointed_at("http://127.0.0.1:9"))
    with pytest.raises(Unreachable):
        list(source.pages(BTC, MINUTE, datetime(2026, 1, 1, tzinfo=UTC), datetime.now(UTC)))
