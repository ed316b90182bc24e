import numpy as np
import pytest

from tests.market_making import candles_of, random_walk
from trader.domain.markets import Pair
from trader.domain.signals import Analysis, Snapshot
from trader.learning.features import (
    analysis_for_features,
    feature_names,
    feature_table,
    feature_texts,
    latest_rows,
    schema_hash,
    table_of,
)
from trader.learning.labels import horizon_labels

BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")
ROWS = 1500
BITCOIN = candles_of(random_walk(ROWS, 1))
ETHER = candles_of(random_walk(ROWS, 2))


def cut(analysis, stop):
    columns = {name: values[:stop] for name, values in analysis.indicators.items()}
    return Analysis(analysis.pair, analysis.candles[:stop], columns, {})


def test_a_row_is_the_same_whatever_comes_after_it():
    whole = feature_table(ETH, ETHER, analysis_for_features(BTC, BITCOIN))
    wild = candles_of(np.concatenate([ETHER.close[:1000], random_walk(500, 9, start=5000)]))
    led = candles_of(np.concatenate([BITCOIN.close[:1000], random_walk(500, 8, start=9)]))
    other = feature_table(ETH, wild, analysis_for_features(BTC, led))
    np.testing.assert_array_equal(whole.matrix[:1000], other.matrix[:1000])
    assert not np.array_equal(whole.matrix[1001], other.matrix[1001], equal_nan=True)


def test_the_newest_rows_alone_equal_those_of_the_whole_history_bit_for_bit():
    bitcoin, ether = analysis_for_features(BTC, BITCOIN), analysis_for_features(ETH, ETHER)
    whole = table_of(ether, bitcoin).matrix
    live = Snapshot(cut(ether, 1200), 1199, leader=Snapshot(cut(bitcoin, 1200), 1199))
    rows, sigma = latest_rows(live, 100)
    np.testing.assert_array_equal(whole[1100:1200], rows)
    prepared = Snapshot(ether, 1199, leader=Snapshot(bitcoin, 1199))
    again, same = latest_rows(prepared, 100)
    np.testing.assert_array_equal(rows, again)
    np.testing.assert_array_equal(sigma, same)


def test_warming_columns_are_nan_and_never_zero_filled():
    matrix = feature_table(BTC, BITCOIN, None).matrix
    longest = feature_names().index("return_336")
    assert np.isnan(matrix[:336, longest]).all()
    assert np.isfinite(matrix[336:, longest]).all()
    assert np.isnan(matrix[0]).sum() > 40


def test_features_do_not_depend_on_the_price_level():
    cheap = feature_table(BTC, BITCOIN, None).matrix
    dear = feature_table(BTC, candles_of(BITCOIN.close * 1024), None).matrix
    np.testing.assert_allclose(cheap[400:], dear[400:], rtol=2e-3, atol=2e-3)


def test_without_a_leader_its_columns_are_unknown():
    matrix = feature_table(ETH, ETHER, None).matrix
    led = [i for i, name in enumerate(feature_names()) if name.startswith("leader_")]
    assert len(led) > 5
    assert np.isnan(matrix[:, led]).all()


def test_a_leader_that_stopped_a_day_ago_is_unknown():
    led = analysis_for_features(BTC, BITCOIN[:1000])
    table = feature_table(ETH, ETHER, led)
    column = feature_names().index("leader_return_24")
    assert np.isfinite(table.matrix[1023, column])
    assert np.isnan(table.matrix[1025, column])


def test_every_column_has_a_name_and_plain_words():
    assert len(set(feature_names())) == len(feature_names())
    assert set(feature_texts()) == set(feature_names())


def test_the_schema_hash_is_short_and_stable():
    assert schema_hash() == schema_hash()
    assert len(schema_hash()) == 16


@pytest.mark.parametrize("rows", [1, 2, 50])
def test_short_histories_give_rows_of_nan_instead_of_errors(rows):
    table = feature_table(BTC, BITCOIN[:rows], None)
    assert table.matrix.shape == (rows, len(feature_names()))


def test_labels_cannot_be_put_among_the_features():
    labels = horizon_labels(BITCOIN, 1)
    with pytest.raises(TypeError, match="cannot be used as features"):
        np.column_stack([BITCOIN.close, labels])


def test_candles_where_nothing_moved_do_not_break_a_row():
    still = candles_of(np.full(800, 100.0), wick=0.0)
    assert not np.isinf(feature_table(BTC, still, None).matrix).any()
