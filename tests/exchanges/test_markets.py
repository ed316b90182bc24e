"""The table of markets agrees with what the exchange recorded, and every name leads to it."""

import json
from decimal import Decimal

import pytest

from tests.shared_data import shared
from trader.domain.errors import UnknownPair
from trader.domain.markets import Pair
from trader.exchanges.markets import asset_named, assets, market, market_named, markets


def test_the_table_holds_the_main_pairs():
    assert len(markets()) >= 25
    assert {Pair("BTC", "USD"), Pair("ETH", "BTC"), Pair("DOGE", "EUR")} <= set(markets())


@pytest.mark.parametrize("name", ["XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD", "xbtusd"])
def test_every_name_of_a_pair_leads_to_it(name):
    assert market_named(name).pair == Pair("BTC", "USD")


def test_no_name_stands_for_two_pairs():
    names = [name for found in markets().values() for name in set(found.names)]
    assert len(names) == len(set(names))


def test_a_name_nobody_bears_is_unknown():
    with pytest.raises(UnknownPair, match="no pair is called"):
        market_named("NONSENSE")
    with pytest.raises(UnknownPair, match="is not traded here"):
        market(Pair("NONSENSE", "USD"))


@pytest.mark.parametrize(("name", "asset"), [("ZUSD", "ZUSD"), ("xbt", "XXBT"), ("DOGE", "XXDG")])
def test_an_asset_is_found_by_each_of_its_names(name, asset):
    assert asset_named(name) is assets()[asset]


def test_an_asset_nobody_knows_is_none():
    assert asset_named("NONSENSE") is None


def test_the_rules_are_those_that_were_recorded():
    recorded = json.loads(
        shared("data/kraken-responses/api-AssetPairs-main-2026-01-12.json").read_text()
    )["result"]
    for key, facts in recorded.items():
        found = market_named(key)
        assert found.rules.tick == Decimal(facts["tick_size"])
        assert found.rules.price_decimals == facts["pair_decimals"]
        assert found.rules.lot_decimals == facts["lot_decimals"]
        assert found.rules.order_minimum == Decimal(facts["ordermin"])
        assert found.rules.cost_minimum == Decimal(facts["costmin"])
        assert found.rules.cost_decimals == facts["cost_decimals"]
        assert (found.altname, found.wsname) == (facts["altname"], facts["wsname"])
        assert (found.base.id, found.quote.id) == (facts["base"], facts["quote"])
