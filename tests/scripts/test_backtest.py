"""Claims about scripts/backtest.py, on a small made-up history."""

import csv
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands.common import guarded
from config import load_config
from market_analyzer import MarketAnalyzer
from risk_manager import RiskManager
from scripts import backtest_fast
from scripts.backtest import Progress, command
from scripts.backtest_run import Arena, RunSettings, Stopwatch, limits_of, too_good
from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.learning.licence import DESIGN_TRIALS
from trader.simulation.backtest import Span
from trader.simulation.costs import Costs
from trader.storage.history import HistoryStore

HOUR = Timeframe(3600)
BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")
BEGIN = datetime(2021, 1, 1, tzinfo=UTC)
DAYS = ["--start", "2021-03-01", "--end", "2021-03-10"]
METRICS = {
    "total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown", "trades",
    "hit_rate", "profit_factor", "exposure", "turnover", "fees_quote", "psr", "dsr",
}  # fmt: skip


def history(hours: int, seed: int, first: datetime = BEGIN, price: float = 30_000) -> Candles:
    """A wavy market; hour 1500 is absent."""
    generator = np.random.default_rng(seed)
    wave = 0.1 * np.sin(np.arange(hours) / 8)
    close = price * np.exp(wave + np.cumsum(generator.normal(0, 0.004, hours)))
    open_ = np.concatenate([[price], close[:-1]])
    spread = 1 + np.abs(generator.normal(0, 0.002, hours))
    high, low = np.maximum(open_, close) * spread, np.minimum(open_, close) / spread
    times = int(first.timestamp()) + 3600 * np.arange(hours)
    volume = generator.uniform(50, 500, hours)
    columns = [times, open_, high, low, close, volume, np.full(hours, 9)]
    t, o, h, low, c, v, n = (np.delete(column, 1500) for column in columns)
    return Candles(HOUR, t, *(np.round(x, 1) for x in (o, h, low, c)), v, n)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    store = HistoryStore(tmp_path / "data")
    store.append(BTC, history(24 * 90, 1), "test")
    later = datetime(2021, 1, 10, tzinfo=UTC)
    store.append(ETH, history(24 * 80, 2, later, 1500), "test")
    return tmp_path


def run(*words: str) -> int:
    return guarded(command, list(words))


def result(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert run(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_misspelt_pair_is_misuse_and_told_with_the_one_that_was_meant(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--pair", "BTC/UDS", *DAYS) == 2
    assert "Did you mean BTC/USD?" in capsys.readouterr().err


@pytest.mark.slow
def test_the_document_has_every_field_of_the_contract(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = result(capsys, "--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross")
    assert {
        "pairs", "timeframe", "start", "end", "strategy", "candles", "trials", "costs", "metrics",
        "baselines", "calibration", "licence", "seconds", "digest",
    } <= set(document)  # fmt: skip
    assert set(document["metrics"]) == METRICS
    assert {name: set(m) for name, m in document["baselines"].items()} == {
        "buy_and_hold": METRICS, "vol_target_hold": METRICS, "trend": METRICS,
    }  # fmt: skip
    assert (document["start"], document["end"]) == ("2021-03-01", "2021-03-10")
    assert document["costs"] == {"maker_bp": 16.0, "taker_bp": 26.0, "slippage_bp": 5.0}


@pytest.mark.slow
def test_the_same_run_twice_has_the_same_digest_and_is_one_trial(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross")
    first, second = result(capsys, *words), result(capsys, *words)
    assert first["digest"] == second["digest"]
    # The built-in design was itself chosen among many on candles up to 2022.
    assert (first["trials"], second["trials"]) == (DESIGN_TRIALS + 1, DESIGN_TRIALS + 1)
    assert result(capsys, *words, "--taker", "10")["trials"] == DESIGN_TRIALS + 2


@pytest.mark.slow
def test_a_strategy_of_ones_own_that_was_changed_under_its_name_is_another_trial(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def tried(text: str) -> int:
        (home / "my_idea.py").write_text(text)
        monkeypatch.delitem(sys.modules, "my_idea", raising=False)
        words = ("--pair", "BTC/USD", *DAYS, "--strategy", "my_idea:rule")
        return int(result(capsys, *words)["trials_counted"]["recorded"])

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    text = (
        "from trader.strategies.registry import towards\n"
        "def rule(s):\n    return towards(s, 0.5, 0.5, ('half',), name='rule')\n"
    )
    assert [tried(text), tried(text), tried(text.replace("0.5, 0.5", "0.9, 0.5"))] == [1, 1, 2]


@pytest.mark.parametrize("kind", [(), ("--sweep", "STOP_ATR_MULTIPLE=1,3", "--jobs", "1")])
def test_a_strategy_that_fails_at_every_candle_is_an_error_and_no_result(
    home: Path, capsys: pytest.CaptureFixture[str], kind: tuple[str, ...]
) -> None:
    words = ("--pair", "BTC/USD", *DAYS, "--strategy", "os:system", *kind)
    assert run(*words) == 2
    assert "nothing was ever decided" in capsys.readouterr().err
    assert not (home / "data" / "trials.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--jobs", "2"), "--jobs"),
        (("--cluster", "tcp://127.0.0.1:1"), "--cluster"),
        (("--engine", "steps"), "--engine"),
        (("--verify", "--sweep", "RISK_REWARD=1,2"), "--verify"),
        (("--verify", "--out", "o"), "--out"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], what: str
) -> None:
    assert run("--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross", *words) == 2
    assert what in capsys.readouterr().err


@pytest.mark.slow
def test_the_search_behind_the_design_counts_against_the_result_and_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross")
    found = result(capsys, *words)
    assert found["trials_counted"]["recorded"] == 1
    assert found["trials_counted"]["inherited"] == DESIGN_TRIALS
    assert found["metrics"]["dsr"] < found["metrics"]["psr"]
    assert found["baselines"]["trend"]["dsr"] < found["baselines"]["trend"]["psr"]
    held = found["baselines"]["buy_and_hold"]
    assert held["dsr"] == held["psr"]
    assert run(*words) == 0
    assert f"{DESIGN_TRIALS} in which the built-in design was chosen" in capsys.readouterr().out


@pytest.mark.slow
def test_candles_from_after_the_design_and_made_up_ones_inherit_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = history(24 * 70, 3, datetime(2024, 1, 1, tzinfo=UTC))
    HistoryStore(home / "data", "other").append(BTC, late, "test")
    HistoryStore(home / "data", "simulated").append(BTC, history(24 * 70, 3), "test")
    base = ("--pair", "BTC/USD", "--strategy", "sma-cross")
    newer = ("--start", "2024-01-20", "--end", "2024-01-29", "--exchange", "other")
    assert result(capsys, *base, *newer)["trials"] == 1
    drawn = ("--start", "2021-01-20", "--end", "2021-01-29", "--exchange", "simulated")
    assert result(capsys, *base, *drawn)["trials"] == 1


@pytest.mark.slow
def test_there_is_an_equity_row_for_every_candle_and_the_end_day_is_included(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = result(capsys, "--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross", "--out", "o")
    marks = rows(home / "o" / "equity.csv")
    # Ten days of hours, one of which is absent.
    assert document["candles"] == len(marks) == 239
    assert (marks[0]["time"], marks[-1]["time"]) == (
        "2021-03-01T01:00:00Z",
        "2021-03-11T00:00:00Z",
    )


@pytest.mark.slow
def test_trades_add_up_to_the_last_equity(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross", "--out", "o")
    document = result(capsys, *words)
    closes = HistoryStore(home / "data").load(BTC, HOUR)
    last = float(closes.between(None, datetime(2021, 3, 11, tzinfo=UTC)).close[-1])
    profit = 0.0
    trades = rows(home / "o" / "trades.csv")
    for trade in trades:
        end = float(trade["exit_price"]) if trade["exit_price"] else last
        gain = float(trade["qty"]) * (end - float(trade["entry_price"]))
        profit += gain - float(trade["fees"])
    equity = float(rows(home / "o" / "equity.csv")[-1]["equity"])
    assert len(trades) > 1
    assert sum(float(trade["fees"]) for trade in trades) == pytest.approx(
        document["metrics"]["fees_quote"]
    )
    assert equity == pytest.approx(10_000 + profit, abs=0.02)
    assert document["metrics"]["total_return"] == pytest.approx(equity / 10_000 - 1)


@pytest.mark.slow
def test_decisions_begin_at_the_start_with_the_history_before_it_for_warming_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRY_PATIENCE_MINUTES", "0")
    run("--pair", "BTC/USD", *DAYS, "--strategy", "buy-and-hold", "--out", "o")
    first = rows(home / "o" / "trades.csv")[0]
    assert first["entry_time"] == "2021-03-01T00:00:00Z"


@pytest.mark.slow
def test_buy_and_hold_is_fully_in_and_pays_once(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = result(capsys, "--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross")
    held = document["baselines"]["buy_and_hold"]
    store = HistoryStore(home / "data").load(BTC, HOUR)
    window = store.between(datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 3, 11, tzinfo=UTC))
    market = float(window.close[-1] / window.open[0]) - 1
    assert held["exposure"] > 0.99
    assert held["total_return"] == pytest.approx(market - 0.0031, abs=0.002)
    assert held["fees_quote"] == pytest.approx(26, abs=0.3)


@pytest.mark.slow
def test_several_pairs_share_the_cash_and_a_pair_listed_later_joins(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRY_PATIENCE_MINUTES", "0")
    run("--pair", "BTC/USD,ETH/USD", "--start", "2021-01-05", "--end", "2021-03-10",
        "--strategy", "buy-and-hold", "--out", "o", "--json")  # fmt: skip
    document = json.loads(capsys.readouterr().out)
    trades = rows(home / "o" / "trades.csv")
    entries = {trade["pair"]: trade["entry_time"] for trade in reversed(trades)}
    assert entries["BTC/USD"] == "2021-01-05T00:00:00Z"
    assert entries["ETH/USD"] >= "2021-01-10T01:00:00Z"
    assert document["pairs"] == ["BTC/USD", "ETH/USD"]


@pytest.mark.slow
def test_higher_costs_leave_less(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross")
    free = result(capsys, *words, "--taker", "0", "--maker", "0", "--slippage", "0")
    dear = result(capsys, *words, "--taker", "80", "--maker", "40", "--slippage", "20")
    assert free["metrics"]["fees_quote"] == 0
    assert dear["metrics"]["total_return"] < free["metrics"]["total_return"]
    assert dear["costs"] == {"maker_bp": 40.0, "taker_bp": 80.0, "slippage_bp": 20.0}


@pytest.mark.slow
def test_harder_models_of_execution_are_chosen_by_options_said_and_are_other_tries(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross", "--cash", "3000000")
    usual = result(capsys, *words)
    hard = result(capsys, *words, "--impact", "1", "--latency", "900", "--fees", "volume",
                  "--queue-share", "5", "--volume-share", "2")  # fmt: skip
    assert hard["costs"] == usual["costs"] | {
        "impact": "1", "latency_ms": "900", "tiers_by_volume": "True", "queue_share": "0.05",
        "volume_share": "0.02",
    }  # fmt: skip
    assert hard["digest"] != usual["digest"]
    assert hard["trials"] == usual["trials"] + 1


@pytest.mark.slow
def test_accounts_that_share_an_analysis_trade_as_if_each_had_its_own(home: Path) -> None:
    config = load_config(None, {"DATA_DIR": str(home / "data")})
    span = Span(datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 3, 11, tzinfo=UTC))
    settings = RunSettings(
        config, HistoryStore(home / "data"), (BTC, ETH), HOUR, span, "sma-cross", Costs(),
        Decimal(10_000),
    )  # fmt: skip
    shared = Arena.open(settings, Stopwatch())
    own = Arena(settings, shared.histories, MarketAnalyzer(), shared.paths)
    for pair, candles in own.histories.items():
        own.analyzer.prepare(pair, candles)
    risk = RiskManager(limits_of(settings))
    runs = [
        arena.trade("x", "sma-cross", risk, None, Progress(quiet=True)).digest
        for arena in (shared, shared, own)
    ]
    assert len(set(runs)) == 1


def test_what_is_too_good_to_be_true_is_said() -> None:
    usual = {"sharpe": 1.2, "profit_factor": 1.6, "hit_rate": 0.4, "trades": 80, "calmar": 0.9}
    assert too_good({"metrics": usual}) == []
    for name, value in (("sharpe", 3.5), ("profit_factor", 6.0), ("hit_rate", 0.9), ("calmar", 9)):
        assert len(too_good({"metrics": usual | {name: value}})) == 1
    few = usual | {"profit_factor": 6.0, "trades": 5, "sharpe": None}
    assert too_good({"metrics": few}) == []


@pytest.mark.slow
def test_orders_that_are_a_good_part_of_the_volume_are_said_to_be_too_large(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross")
    assert run(*words, "--cash", "30000000") == 0
    assert "would move the market more" in capsys.readouterr().out
    assert run(*words) == 0
    assert "would move the market more" not in capsys.readouterr().out


def test_four_hour_candles_are_made_from_hours(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = result(
        capsys, "--pair", "BTC/USD", *DAYS, "--timeframe", "4h", "--strategy", "sma-cross"
    )
    assert (document["timeframe"], document["candles"]) == ("4h", 60)


@pytest.mark.slow
def test_where_the_history_ends_earlier_the_result_is_of_what_was_traded_and_says_so(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--pair", "BTC/USD", "--start", "2021-03-20", "--strategy", "sma-cross")
    covered = result(capsys, *words, "--end", "2021-03-31")
    assert covered["notes"] == [note for note in covered["notes"] if "asked for" not in note]
    beyond = result(capsys, *words, "--end", "2021-06-30", "--out", "o")
    assert (beyond["start"], beyond["end"]) == ("2021-03-20", "2021-03-31")
    assert (beyond["requested_start"], beyond["requested_end"]) == ("2021-03-20", "2021-06-30")
    told = (
        "asked for 2021-03-20 to 2021-06-30, traded 2021-03-20 to 2021-03-31: no candle is stored "
        "after that"
    )
    assert told in beyond["notes"]
    assert told in (home / "o" / "report.html").read_text()
    assert beyond["metrics"] == covered["metrics"]
    # It is the same trading on the same candles, so the same try.
    assert (beyond["digest"], beyond["trials"]) == (covered["digest"], covered["trials"])


def test_where_no_days_are_named_none_are_said_to_be_asked_for(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The weeks of the history begin on Thursday, 7 January, and end on 1 April.
    document = result(capsys, "--pair", "BTC/USD", "--timeframe", "1w", "--strategy", "sma-cross")
    assert (document["start"], document["end"]) == ("2021-01-07", "2021-03-31")
    assert not any("asked for" in note for note in document["notes"])


@pytest.mark.slow
def test_a_start_before_the_first_candle_is_traded_and_verified_from_that_candle_on(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--pair", "ETH/USD", "--start", "2020-12-01", "--end", "2021-01-15")
    document = result(capsys, *words, "--strategy", "sma-cross")
    assert (document["start"], document["requested_start"]) == ("2021-01-10", "2020-12-01")
    assert document["candles"] == 6 * 24
    found = result(capsys, *words, "--strategy", "sma-cross", "--verify")
    assert (found["equal"], found["digest"]) == (True, document["digest"])


@pytest.mark.slow
def test_a_start_between_two_candles_is_verified_from_the_next_one_on(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--pair", "BTC/USD", "--end", "2021-03-04", "--strategy", "sma-cross", "--verify")
    between = result(capsys, *words, "--start", "2021-03-01T03:30")
    on_grid = result(capsys, *words, "--start", "2021-03-01T04:00")
    assert (between["equal"], between["digest"]) == (True, on_grid["digest"])


def test_a_span_without_a_whole_candle_is_misuse_and_no_trial(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--start", "2021-03-01T12:00", "--end", "2021-03-01T13:00", "--timeframe", "4h")
    assert run("--pair", "BTC/USD", *words, "--strategy", "trend") == 2
    assert "no 4h candle opens and closes" in capsys.readouterr().err
    assert not (home / "data" / "trials.jsonl").exists()


@pytest.mark.slow
def test_a_change_of_fees_on_the_day_after_the_end_is_none_within_the_span(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    around = history(24 * 90, 3, datetime(2024, 7, 15, tzinfo=UTC))
    HistoryStore(home / "data", "other").append(BTC, around, "test")
    words = ("--pair", "BTC/USD", "--exchange", "other", "--strategy", "sma-cross")
    days = ("--start", "2024-09-21", "--end")
    before, across = (
        result(capsys, *words, *days, end)["notes"] for end in ("2024-09-30", "2024-10-01")
    )
    assert not any("changed its fees" in note for note in before)
    assert any("changed its fees" in note for note in across)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--pair", "BTC/USD", "--start", "2021-03-10", "--end", "2021-03-01"], 2, "before"),
        (["--pair", "BTC/USD", "--start", "2021-13-01", "--end", "2021-03-01"], 2, "2021-13-01"),
        (["--pair", "BTC/USD", "--start", "soon"], 2, "expected a date"),
        (["--pair", "BTC/USD", "--start", "2024-01-01"], 2, "stored ends 2021-04-01"),
        (["--pair", "ETH/USD", "--end", "2020-01-01"], 1, "stored: 2021"),
        (["--pair", "DOGE/USD", *DAYS], 1, "no history of DOGE/USD"),
        (["--pair", "what", *DAYS], 2, "expected base and quote"),
        (["--pair", "BTC/USD", "--start", "2010-01-01", "--end", "2010-02-01"], 1, "stored: 2021"),
        (["--pair", "BTC/USD", *DAYS, "--strategy", "trnd"], 2, "trnd"),
        (["--pair", "BTC/USD", *DAYS, "--timeframe", "7x"], 2, "7x"),
        (["--pair", "BTC/USD", *DAYS, "--timeframe", "1m"], 1, "no 1m candles"),
        (["--pair", "BTC/USD", *DAYS, "--taker", "lots"], 2, "basis points"),
        (["--pair", "BTC/USD", *DAYS, "--taker", "-5"], 2, "basis points"),
        (["--pair", "BTC/USD", *DAYS, "--cash", "0"], 2, "above 0"),
        (["--pair", "BTC/USD", *DAYS, "--impact", "-1"], 2, "a factor from 0 to 10"),
        (["--pair", "BTC/USD", *DAYS, "--queue-share", "x"], 2, "per cent from 0 to 100"),
        (["--pair", "BTC/USD,ETH/EUR", *DAYS], 2, "quote currency"),
        ([], 2, "--pair"),
    ],
)
def test_bad_input_is_one_clear_line_and_the_right_status(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, message: str
) -> None:
    assert run(*words) == status
    caught = capsys.readouterr()
    assert caught.out == ""
    assert message in caught.err
    assert "Traceback" not in caught.err


@pytest.mark.slow
@pytest.mark.parametrize("timeframe", ["1h", "4h"])  # the paths inside 4h candles are of 1h
def test_yardsticks_are_the_same_by_either_engine(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    timeframe: str,
) -> None:
    words = ("--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross", "--timeframe", timeframe)
    told: list[str] = []
    real = backtest_fast.yardstick

    def watched(arena: Arena, name: str, *more: Any) -> Any:
        found = real(arena, name, *more)
        told.extend([name] if found else [])
        return found

    monkeypatch.setattr(backtest_fast, "yardstick", watched)
    slow = result(capsys, *words)
    assert told == []
    monkeypatch.setattr(backtest_fast, "LONG", 1)
    quick = result(capsys, *words)
    assert {"buy and hold", "hold at a steady volatility"} <= set(told)
    for key, figures in slow["baselines"].items():
        for name, figure in figures.items():
            wanted = None if figure is None else pytest.approx(figure, rel=1e-9)
            assert quick["baselines"][key][name] == wanted, (key, name)


@pytest.mark.slow
def test_the_summary_says_paper_and_shows_the_yardsticks(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross") == 0
    out = capsys.readouterr().out
    assert "PAPER" in out.splitlines()[0]
    assert "buy and hold" in out


@pytest.mark.parametrize(("cash", "instead"), [("1.00005", "1.0000"), ("0.00001", "0.0001")])
def test_cash_finer_than_the_exchange_books_is_misuse_and_no_loss(
    home: Path, capsys: pytest.CaptureFixture[str], cash: str, instead: str
) -> None:
    assert run("--pair", "BTC/USD", *DAYS, "--strategy", "trend", "--cash", cash) == 2
    told = capsys.readouterr().err
    assert f"--cash {cash}: USD is booked in 4 decimals" in told
    assert f"such as --cash {instead}." in told


@pytest.mark.slow
def test_cash_as_fine_as_the_exchange_books_is_all_there_where_nothing_was_traded(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = result(capsys, "--pair", "BTC/USD", *DAYS, "--strategy", "trend", "--cash", "1.0001")
    assert (found["metrics"]["trades"], found["metrics"]["total_return"]) == (0, 0.0)


@pytest.mark.slow
def test_where_nothing_was_traded_there_is_no_range_of_a_ratio_and_it_is_said_why(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    month = ["--start", "2021-02-01", "--end", "2021-03-15", "--strategy", "buy-and-hold"]
    found = result(capsys, "--pair", "BTC/USD", *month, "--cash", "1")
    assert (found["metrics"]["trades"], found["metrics"]["sharpe"]) == (0, None)
    assert "total_return" in found["intervals"]
    assert "sharpe" not in found["intervals"]
    assert "sharpe" not in found["differences"]["trend"]
    (why,) = [note for note in found["notes"] if note.startswith("nothing was traded in")]
    assert "was refused: minimum-size" in why
    assert run("--pair", "BTC/USD", *month, "--cash", "1") == 0
    assert "Sharpe –: the account's worth never swung" in capsys.readouterr().out
