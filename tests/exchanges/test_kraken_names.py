"""Kraken's names and ours."""

import pytest

from tests.exchanges.scripted import recorded
from trader.domain.errors import UnexpectedAnswer, UnknownPair
from trader.domain.markets import Pair
from trader.exchanges.kraken_names import KrakenNames


@pytest.fixture(scope="module")
def names() -> KrakenNames:
    pairs = recorded("api-AssetPairs-all-2026-01-12.json")
    return KrakenNames(recorded("public/Assets.json")["result"], pairs.get("result", pairs))


@pytest.mark.parametrize("name", ["XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD", "xbtusd"])
def test_every_name_of_a_pair_leads_to_it(names: KrakenNames, name: str) -> None:
    found = names.named(name)
    assert found is not None
    assert found.pair == Pair("BTC", "USD")


@pytest.mark.parametrize(
    ("pair", "pair_id"),
    [("BTC/USD", "XXBTZUSD"), ("DOGE/USD", "XDGUSD"), ("ETH/BTC", "XETHXXBT"),
     ("SOL/USD", "SOLUSD"), ("BTC/USDT", "XBTUSDT"), ("USDT/USD", "USDTZUSD")],
)  # fmt: skip
def test_a_pair_leads_to_its_id(names: KrakenNames, pair: str, pair_id: str) -> None:
    assert names.of(Pair.parse(pair)).id == pair_id


def test_all_recorded_pairs_are_read_and_come_back_by_all_their_names(names: KrakenNames) -> None:
    rows = list(names.pairs())
    assert len(rows) > 1400
    for row in rows:
        assert names.of(row.pair).id == row.id
        assert {names.named(name) for name in (row.id, row.altname, row.wsname)} == {row}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asset_id", "asset"),
    [("XXBT", "BTC"), ("XXDG", "DOGE"), ("ZUSD", "USD"), ("SOL", "SOL"), ("XBT.F", "BTC"),
     ("ETH2.S", "ETH2.S"), ("USD.M", "USD.M"), ("NEWCOIN", "NEWCOIN")],
)  # fmt: skip
def test_assets_get_the_names_people_use(names: KrakenNames, asset_id: str, asset: str) -> None:
    assert names.asset(asset_id) == asset


def test_an_asset_is_found_by_its_common_name(names: KrakenNames) -> None:
    assert names.asset_id("BTC") == "XXBT"
    with pytest.raises(UnknownPair):
        names.asset_id("XBTX")


def test_an_unknown_pair_suggests_near_ones(names: KrakenNames) -> None:
    with pytest.raises(UnknownPair, match="BTC/XYZ") as caught:
        names.of(Pair("BTC", "XYZ"))
    assert "BTC/USD" in caught.value.hint


def test_pairs_without_the_newer_fields_are_read() -> None:
    old = recorded("public/AssetPairs_all_2021-04-17.json")["result"]
    rules = KrakenNames({}, old).of(Pair("BTC", "USD")).rules
    assert str(rules.tick) == "0.1"


def test_empty_fee_tables_do_no_harm() -> None:
    sample = recorded("api-AssetPairs-sample-2026-09-25.json")["result"]
    assert str(KrakenNames({}, sample).of(Pair("BTC", "USD")).rules.order_minimum) == "0.00005"


@pytest.mark.parametrize("fault", [{"pair_decimals": None}, {"lot_decimals": "x"},
                                   {"ordermin": "NaN"}, {"tick_size": "0E+3"}])  # fmt: skip
def test_a_damaged_row_is_refused(fault: dict[str, object]) -> None:
    row = recorded("api-AssetPairs-sample-2026-09-25.json")["result"]["XXBTZUSD"] | fault
    with pytest.raises(UnexpectedAnswer, match="XXBTZUSD"):
        KrakenNames({}, {"XXBTZUSD": row})
