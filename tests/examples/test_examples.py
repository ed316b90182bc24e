"""The recipes: each example is loaded by a setting alone, and says what is wrong when broken."""

import ast
import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from config import load_config
from market_analyzer import MarketAnalyzer
from tests.commands.running_bot import Bot
from trader.clocks import SystemClock
from trader.domain.candles import Timeframe
from trader.domain.errors import UsageError
from trader.domain.markets import Pair
from trader.domain.signals import Action
from trader.exchanges import open_own_exchange
from trader.exchanges.feeds.simulated import SimulatedFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire, Server
from trader.exchanges.wire.keys import ApiKey
from trader.indicators import compute
from trader.indicators.registry import _NODES, _REGISTERED
from trader.learning.compiled import compile_vote
from trader.learning.estimators import fit_member, members_of
from trader.ports import ExchangeSettings
from trader.strategies.registry import Situation, find_strategy

ROOT = Path(__file__).resolve().parents[2]
BTC = Pair("BTC", "USD")
STRATEGY = "examples.breakout:breakout"
MODEL = "examples.extra_trees:extra_trees"
EXCHANGE = "examples.ccxt_exchange:CcxtExchange"
NOBODY = ExchangeSettings("key", "c2VjcmV0", "http://127.0.0.1:9", Path())


@pytest.fixture
def bot(tmp_path):
    found = Bot(tmp_path)
    yield found
    found.close()


def run(folder, *words, **settings):
    """A command in a process of its own: what it registers ends with it."""
    bot = Bot(folder, **settings)
    return subprocess.run(
        [sys.executable, str(ROOT / "run_trader.py"), *words], cwd=folder, env=bot.environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def days(count):
    """Daily candles of a made-up market."""
    day = Timeframe.parse("1d")
    return SimulatedFeed(7, [BTC]).history(BTC, day, datetime(2024, 6, 1, tzinfo=UTC), count)


# -- loaded by a setting alone ------------------------------------------------------------------


@pytest.mark.slow
def test_an_indicator_of_ones_own_is_in_the_analysis(tmp_path):
    done = run(tmp_path, "analyze", "BTC/USD", "--json", INDICATORS="examples.close_location")
    value = json.loads(done.stdout)["indicators"]["close_location_10"]
    assert -1 <= value <= 1


@pytest.mark.slow
def test_an_indicator_of_ones_own_passes_the_search_for_the_future(tmp_path):
    done = run(tmp_path, "features", "check", "examples.close_location:close_location")
    assert done.returncode == 0, done.stderr


def test_an_indicator_with_two_bounds_is_a_feature_of_the_models(tmp_path):
    told = (
        "from config import load_config; load_config(None)\n"
        "from trader.learning.features import feature_names; print(feature_names())"
    )
    done = subprocess.run(
        [sys.executable, "-c", told], cwd=tmp_path, capture_output=True, text=True, check=True,
        env=Bot(tmp_path, INDICATORS="examples.close_location").environment,
    )  # fmt: skip
    assert "close_location_10" in done.stdout


@pytest.mark.slow
def test_a_strategy_of_ones_own_trades(bot):
    bot.environment["STRATEGY"] = STRATEGY
    done = bot.run("start", "--cycles", "40", "--speed", "max", "--no-dashboard", "--json")
    assert (done.returncode, json.loads(done.stdout)["cycles"]) == (0, 40)
    why = bot.run("why", "BTC/USD")
    assert "high of 20 days" in why.stdout


@pytest.mark.slow
def test_the_breakout_buys_a_new_high_and_sells_a_new_low():
    decide = find_strategy(STRATEGY).decide
    history = days(400)
    analyzer = MarketAnalyzer()
    seen = set()
    for stop in range(60, 400, 3):
        snapshot = analyzer.analyze(BTC, history[:stop])
        for held in (0.0, 1.0):
            signal = decide(Situation(snapshot, held, snapshot.closed_at))
            close, high = history.close[stop - 1], history.high[stop - 21 : stop - 1].max()
            low = history.low[stop - 11 : stop - 1].min()
            wanted = close >= low if held else close > high
            assert (signal.target_weight == 1.0) == wanted
            seen.add(signal.action)
    assert seen == {Action.BUY, Action.SELL, Action.HOLD}


def test_a_model_of_ones_own_is_fitted_stored_as_arrays_and_asked():
    (name,) = members_of(MODEL)
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(900, 12)).astype(np.float32)
    up = (rows[:, 0] + rng.normal(size=900) > 0).astype(float)
    member = fit_member(name, 1, rows, up)
    vote = compile_vote([{name: member}]).probabilities(rows)[:, 0]
    np.testing.assert_allclose(vote, member.predict_proba(rows)[:, 1], atol=1e-12)


def test_a_model_of_ones_own_is_a_setting(tmp_path):
    assert load_config(None, {"MODEL_TYPE": MODEL}).model_type == MODEL


@pytest.mark.slow
def test_an_exchange_of_ones_own_trades_live(bot):
    """The sandbox stands for the new exchange; how it behaves is held in tests/contracts."""
    exchange = SandboxExchange(
        SimulatedFeed(7, [BTC]), SystemClock(), balances={"USD": Decimal(5000)}
    )
    key = ApiKey.generate()
    with Server(KrakenWire(exchange, [key])) as address:
        bot.environment.update(
            SANDBOX="false", KRAKEN_API_URL=address.url, EXCHANGE=EXCHANGE, no_proxy="*",
            KRAKEN_API_KEY=key.key, KRAKEN_API_SECRET=key.secret,
        )  # fmt: skip
        done = bot.run("start", "--cycles", "1", "--no-dashboard", "--unlicensed")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("LIVE")
    assert "agrees with the journal" in done.stdout
    assert "stop-loss" in {str(record.spec.type) for record in exchange.records()}


# -- what is said when a line is missing --------------------------------------------------------


def without(folder, module, line):
    """A copy of an example under a name of its own, without the lines that contain a text."""
    lines = (ROOT / "examples" / f"{module}.py").read_text().splitlines(keepends=True)
    kept = [text for text in lines if line not in text]
    assert len(kept) < len(lines), f"{module} has no line with {line!r}"
    name = f"broken_{abs(hash((module, line)))}"
    (folder / f"{name}.py").write_text("".join(kept))
    return name


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_an_indicator_without_its_decorator_is_told_to_put_one(folder):
    name = "forgotten"
    (folder / f"{name}.py").write_text("def close_location(high, low, close):\n    return close\n")
    with pytest.raises(UsageError) as caught:
        load_config(None, {"INDICATORS": name})
    assert "registers neither an indicator nor a pattern" in caught.value.message
    assert "@indicator" in caught.value.hint


def test_a_module_that_is_nowhere_is_told_where_to_put_it(folder):
    with pytest.raises(UsageError) as caught:
        load_config(None, {"INDICATORS": "nowhere.at_all"})
    assert "there is no module 'nowhere.at_all'" in caught.value.message
    assert "nowhere/at_all.py" in caught.value.hint


def test_a_module_that_fails_tells_its_fault(folder):
    name = without(folder, "close_location", "from trader.indicators.registry")
    with pytest.raises(UsageError, match="fails while it is imported: NameError"):
        load_config(None, {"INDICATORS": name})


def test_a_package_that_is_missing_is_named(folder):
    (folder / "wants_more.py").write_text("import no_such_package_at_all\n")
    with pytest.raises(UsageError) as caught:
        load_config(None, {"INDICATORS": "wants_more"})
    assert caught.value.hint == "pip install no_such_package_at_all"


def test_a_strategy_without_its_return_is_told_how_to_end(folder):
    name = without(folder, "breakout", "return towards")
    history = days(100)
    snapshot = MarketAnalyzer().analyze(BTC, history)
    decide = find_strategy(f"{name}:breakout").decide
    with pytest.raises(UsageError) as caught:
        decide(Situation(snapshot, 0.0, datetime.now(UTC)))
    assert "returned NoneType, not a Signal" in caught.value.message
    assert "return towards(" in caught.value.hint


def statements(module):
    """(first line, last line) of every statement of an example: what somebody may forget."""
    text = (ROOT / "examples" / f"{module}.py").read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            yield node.lineno, node.lineno
            yield from ((each.lineno, each.end_lineno) for each in node.decorator_list)
        elif isinstance(node, ast.stmt) and not isinstance(node, ast.Module):
            said = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if not said:  # a docstring changes nothing
                yield node.lineno, node.end_lineno


def shortened(folder, module, first, last):
    """A copy of an example without some lines, under a name of its own."""
    lines = (ROOT / "examples" / f"{module}.py").read_text().splitlines(keepends=True)
    name = f"{module}_without_{first}"
    (folder / f"{name}.py").write_text("".join(lines[: first - 1] + lines[last:]))
    return name


@pytest.fixture
def quiet_registry():
    """What a test registers is gone after it."""
    before = dict(_REGISTERED)
    yield
    for name in set(_REGISTERED) - set(before):
        del _REGISTERED[name]
        _NODES.pop(name, None)


@pytest.mark.parametrize("lines", sorted(set(statements("close_location"))))
def test_an_indicator_that_lacks_a_line_is_told_what_to_do(folder, quiet_registry, lines):
    name = shortened(folder, "close_location", *lines)

    def used():
        load_config(None, {"INDICATORS": name})
        compute(days(60), ["close_location_10"])

    with pytest.raises(UsageError) as caught:
        used()
    told = f"{caught.value.message} {caught.value.hint}"
    assert name in told or "close_location_10" in told
    assert any(words in told for words in ("line", "Put @", "return one per candle")), told


@pytest.mark.slow
@pytest.mark.parametrize("lines", sorted(set(statements("breakout"))))
def test_a_strategy_that_lacks_a_line_is_told_what_to_do(folder, lines):
    name = shortened(folder, "breakout", *lines)
    analyzer, history = MarketAnalyzer(), days(100)

    def used():
        decide = find_strategy(f"{name}:breakout").decide
        for stop in (1, 100):
            snapshot = analyzer.analyze(BTC, history[:stop])
            decide(Situation(snapshot, 0.0, snapshot.closed_at))

    with pytest.raises(UsageError) as caught:
        used()
    told = f"{caught.value.message} {caught.value.hint}"
    assert name in told
    assert any(words in told for words in ("line", "End every path", "Wanted there")), told


@pytest.mark.parametrize("lines", sorted(set(statements("extra_trees"))))
def test_a_model_that_lacks_a_line_is_told_what_to_do(folder, lines):
    name = shortened(folder, "extra_trees", *lines)
    with pytest.raises(UsageError) as caught:
        members_of(f"{name}:extra_trees")
    told = f"{caught.value.message} {caught.value.hint}"
    assert name in told
    assert any(words in told for words in ("line", "lacks fit", "Wanted there")), told


def test_a_strategy_under_another_name_is_told_what_is_there():
    with pytest.raises(UsageError) as caught:
        find_strategy("examples.breakout:brekout")
    assert "has no 'brekout'" in caught.value.message
    assert "breakout" in caught.value.hint


def test_a_model_without_its_return_is_told_what_it_lacks(folder):
    (folder / "empty_model.py").write_text("def trees(seed):\n    pass\n")
    with pytest.raises(UsageError, match="lacks fit, predict_proba"):
        members_of("empty_model:trees")


def test_a_model_that_cannot_be_kept_as_arrays_is_told_which_can(folder):
    (folder / "near.py").write_text(
        "from sklearn.neighbors import KNeighborsClassifier\n"
        "def near(seed):\n    return KNeighborsClassifier()\n"
    )
    (name,) = members_of("near:near")
    rows = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    member = fit_member(name, 1, rows, (rows[:, 0] > 0).astype(float))
    with pytest.raises(UsageError, match="cannot be kept as plain arrays") as caught:
        compile_vote([{name: member}])
    assert "RobustLogistic" in caught.value.hint


@pytest.mark.parametrize("method", ["place", "find_order", "from_settings"])
def test_an_exchange_without_a_method_is_told_which(folder, method):
    text = (ROOT / "examples" / "ccxt_exchange.py").read_text()
    name = f"lacks_{method}"
    (folder / f"{name}.py").write_text(text.replace(f"def {method}(", f"def _{method}("))
    with pytest.raises(UsageError) as caught:
        open_own_exchange(f"{name}:CcxtExchange", NOBODY)
    assert f"lacks {method}" in caught.value.message
    assert "trader/ports.py" in caught.value.hint


def test_an_exchange_that_does_not_exist_is_told_how_to_name_one():
    with pytest.raises(UsageError, match="this program trades at kraken"):
        open_own_exchange("coinbase", NOBODY)
