"""Claims about trades as columns and the candles made of them."""

import json
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.shared_data import shared
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError
from trader.domain.tape import NS, Tape, bars, fitting_unit, joined_bars, minute_bars
from trader.exchanges.kraken_answers import parse_json, trade_page

MINUTE, FIVE, HOUR = Timeframe(60), Timeframe(300), Timeframe(3600)


def tape(rows: list[tuple[float, float, float, int]]) -> Tape:
    at, price, volume, side = zip(*rows, strict=True)
    return Tape(
        np.array([int(a * NS) for a in at], dtype=np.int64), np.array(price), np.array(volume),
        np.array(side, dtype=np.int8), np.arange(len(at), dtype=np.int64),
    )  # fmt: skip


drawn = st.lists(
    st.tuples(
        st.integers(0, 20_000),
        st.integers(1, 10**9).map(lambda n: n / 1e5),
        st.integers(1, 10**12).map(lambda n: n / 1e8),
        st.sampled_from([-1, 1]),
    ),
    min_size=1,
    max_size=60,
).map(lambda rows: tape(sorted(rows, key=lambda row: row[0])))


@given(drawn)
def test_a_large_candle_is_the_same_whatever_it_is_made_of(trades: Tape) -> None:
    found = bars(trades, [MINUTE, FIVE, HOUR])
    straight = minute_bars(trades).coarser(HOUR)
    assert found[HOUR].candles == straight.candles
    # Candles alone keep only those that have ended.
    ended = found[MINUTE].candles.resampled(HOUR)
    first = (
        0
        if not len(ended)
        else int(found[HOUR].candles.opened_at.searchsorted(ended.opened_at[0]))
    )
    assert found[HOUR].candles[first : first + len(ended)] == ended
    assert found[HOUR].flow.signed_volume.tolist() == straight.flow.signed_volume.tolist()


@given(drawn, st.integers(0, 60))
def test_where_a_tape_is_cut_changes_no_candle(trades: Tape, cut: int) -> None:
    parts = [minute_bars(part, 1e-8) for part in (trades[:cut], trades[cut:])]
    assert joined_bars(parts).candles == minute_bars(trades, 1e-8).candles


@given(drawn)
def test_volumes_are_the_nearest_floats_of_the_exact_sums(trades: Tape) -> None:
    total = sum(Decimal(repr(float(v))) for v in trades.volume)
    day = Timeframe(86400)
    assert bars(trades, [day])[day].candles.volume.tolist() == [float(total)]


def test_an_unknown_side_makes_the_signed_volume_unknown_and_not_zero() -> None:
    flow = minute_bars(tape([(0, 1, 1, 1), (1, 1, 1, 0), (60, 1, 2, -1)])).flow
    assert np.isnan(flow.signed_volume[0])
    assert flow.signed_volume[1] == -2


def test_the_vwap_is_the_mean_price_by_volume() -> None:
    flow = minute_bars(tape([(0, 10, 1, 1), (1, 20, 3, -1)])).flow
    assert flow.vwap.tolist() == [17.5]
    assert flow.bought.tolist() == [1]


def test_a_volume_too_large_for_the_finest_unit_takes_a_coarser_one() -> None:
    assert fitting_unit(1e9) == 1e-8
    assert fitting_unit(1e15) > 1e-8
    assert minute_bars(tape([(0, 1, 1e15, 1)])).candles.volume.tolist() == [1e15]


@pytest.mark.parametrize(
    "row", [(5, 0, 1, 1), (5, 1, -1, 1), (5, float("nan"), 1, 1), (3, 1, 1, 1)]
)
def test_what_is_no_trade_is_refused_with_its_place(row: tuple[float, float, float, int]) -> None:
    with pytest.raises(HistoryError, match="trade 2 "):
        bars(tape([(4, 1, 1, 1), row]), [MINUTE])


def test_no_trades_make_no_candles() -> None:
    assert len(bars(Tape.empty(), [HOUR])[HOUR].candles) == 0


def test_krakens_own_minutes_are_what_its_trades_add_up_to() -> None:
    folder = shared("data/kraken-responses")
    trades = json.loads((folder / "api-Trades-XBTUSDT-2025-11-11.json").read_bytes())
    page = trade_page(parse_json(json.dumps(trades).encode())["result"], 0)
    rows = json.loads((folder / "api-OHLC-XBTUSDT-1m-2025-11-11.json").read_bytes())["result"]
    theirs = {int(row[0]): row for row in rows["XBTUSDT"]}
    made = minute_bars(page.tape)
    flow = made.flow
    compared = 0
    for i, opened in enumerate(made.candles.opened_at.tolist()):
        # The first minute is cut by the page, the last one may go on.
        if i in (0, len(flow) - 1) or opened not in theirs:
            continue
        want = theirs[opened]
        row = made.candles.row(i)
        assert [row.open, row.high, row.low, row.close, row.volume] == [
            Decimal(want[k]).normalize() for k in (1, 2, 3, 4, 6)
        ]
        assert row.trades == want[7]
        assert abs(flow.vwap[i] - float(want[5])) < 0.1  # Kraken cuts it off
        compared += 1
    assert compared > 20


def test_a_sum_of_volumes_does_not_depend_on_the_candles_around_it() -> None:
    drawn_volumes = np.random.default_rng(5).exponential(1, 200)
    volume = np.where(np.arange(200) < 100, np.round(drawn_volumes, 8), drawn_volumes)
    times = np.arange(200, dtype=np.int64) * 60
    one = np.ones(200)
    whole = Candles(MINUTE, times, one, one, one, one, volume, times)
    part = whole[:100].resampled(FIVE)
    assert whole.resampled(FIVE)[: len(part)] == part
