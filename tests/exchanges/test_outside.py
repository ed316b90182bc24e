"""Outside sentiment over a real socket: known, late, broken, absent; and never in the way."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from commands.common import guarded
from config import load_config
from main import assemble
from market_analyzer import MarketAnalyzer
from run_trader import cli
from tests.indicators.markets import market
from trader.domain.errors import UsageError
from trader.domain.markets import Pair
from trader.exchanges.outside import FearAndGreed, OutsideSentiment, Reading, open_sources
from trader.storage.history import HistoryStore
from trader.storage.sentiment_log import SentimentHistory, SentimentLog
from venues import Wishes

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
MIDNIGHT = NOON - timedelta(hours=12)


class Place:
    """A server that answers what the test says, after as long as it says."""

    def __init__(self) -> None:
        self.answer: tuple[int, str] = (200, index("40"))
        self.delay_s = 0.0
        self.asked = 0
        place = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                place.asked += 1
                time.sleep(place.delay_s)
                status, text = place.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/fng/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def index(value: object, published: datetime = MIDNIGHT) -> str:
    row = {
        "value": value,
        "value_classification": "?",
        "timestamp": str(int(published.timestamp())),
    }
    return json.dumps({"name": "Fear and Greed Index", "data": [row], "metadata": {"error": None}})


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.server.shutdown()
    made.server.server_close()


def asked(place: Place) -> OutsideSentiment:
    sentiment = OutsideSentiment([FearAndGreed(place.url)])
    sentiment.wait(5.0)
    sentiment.close()
    return sentiment


@pytest.mark.slow
def test_the_index_becomes_a_number_from_minus_one_to_one(place: Place) -> None:
    assert asked(place).at(NOON) == {"fear_and_greed": pytest.approx(-0.2)}


@pytest.mark.slow
def test_it_is_shown_from_its_publication_until_it_is_too_old(place: Place) -> None:
    sentiment = asked(place)
    shown = {
        h: sentiment.at(MIDNIGHT + timedelta(hours=h))["fear_and_greed"] for h in range(-1, 40)
    }
    assert [h for h, value in shown.items() if value is not None] == list(range(36))


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [(500, index("40")), (200, "no json"), (200, "{}"), (200, '{"data": []}'), (200, index("nan")),
     (200, index("140")), (200, index(None)), (404, "")],
)  # fmt: skip
def test_an_answer_that_is_not_usable_is_null(place: Place, answer: tuple[int, str]) -> None:
    place.answer = answer
    assert asked(place).at(NOON) == {"fear_and_greed": None}


@pytest.mark.slow
def test_nobody_listening_is_null(place: Place) -> None:
    place.server.shutdown()
    place.server.server_close()
    assert asked(place).at(NOON) == {"fear_and_greed": None}


@pytest.mark.slow
def test_a_slow_source_holds_up_nothing(place: Place) -> None:
    place.delay_s = 1.0
    began = time.perf_counter()
    sentiment = OutsideSentiment([FearAndGreed(place.url)])
    assert sentiment.at(NOON) == {"fear_and_greed": None}
    assert time.perf_counter() - began < 0.5
    sentiment.wait(5.0)
    assert sentiment.at(NOON)["fear_and_greed"] is not None
    sentiment.close()


class Moody:
    """Fails, then speaks, then names what it never announced."""

    names = ("mood_of_the_moon",)
    every_s = 0.01

    def __init__(self) -> None:
        self.calls = 0

    def read(self) -> dict[str, Reading]:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError("clouds")
        name = "moon" if self.calls == 3 else self.names[0]
        return {name: Reading(0.5, MIDNIGHT, NOON + timedelta(days=1))}


def test_a_source_that_fails_is_asked_again_and_what_it_said_last_stays(monkeypatch) -> None:
    monkeypatch.setattr("trader.exchanges.outside.FIRST_RETRY_S", 0.01)
    told: list[str] = []
    moody = Moody()
    sentiment = OutsideSentiment([moody], told.append)
    ends = time.monotonic() + 5
    while moody.calls < 5 and time.monotonic() < ends:
        time.sleep(0.01)
    sentiment.close()
    assert sentiment.at(NOON) == {"mood_of_the_moon": 0.5}
    assert told[0] == "mood_of_the_moon: no answer (RuntimeError: clouds)"
    assert told[1] == "mood_of_the_moon: answers again"
    assert told[2].startswith("mood_of_the_moon: no answer (ValueError: no usable number: moon")


def test_a_source_of_ones_own_is_named_by_module_and_class(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "moonlight.py").write_text(
        "class Moon:\n    names = ('moon',)\n    every_s = 60.0\n"
        "    def __init__(self, phase='full'):\n        self.phase = phase\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (moon,) = open_sources(["moonlight:Moon"])
    assert moon.names == ("moon",)
    sys.modules.pop("moonlight")


@pytest.mark.parametrize("name", ["moon", "nowhere:Class", "trader.exchanges.outside:Nobody"])
def test_an_unknown_source_is_refused_in_words(name: str) -> None:
    with pytest.raises(UsageError, match="there is no source") as caught:
        open_sources([name])
    assert "fear-and-greed" in caught.value.hint


def test_it_stands_in_the_snapshot_beside_the_markets_own_and_does_not_move_the_mood() -> None:
    candles = market(60)
    outside = {"fear_and_greed": -0.2}
    found = MarketAnalyzer().analyze(Pair("BTC", "USD"), candles, outside=outside).sentiment
    alone = MarketAnalyzer().analyze(Pair("BTC", "USD"), candles).sentiment
    assert found == {**alone, **outside}


@pytest.mark.slow
def test_the_bot_asks_a_source_only_when_the_settings_name_one(
    place: Place, tmp_path: Path
) -> None:
    place.answer = (200, index("75", datetime.now(UTC) - timedelta(hours=1)))
    folders = {f"{name}_dir": tmp_path / name for name in ("data", "models", "logs")}
    config = replace(load_config(None, {}), sandbox_feed="simulated", **folders)
    quiet = assemble(config)
    assert quiet.trader.outside(datetime.now(UTC)) == {}
    quiet.close()
    assert place.asked == 0
    named = load_config(None, {"SENTIMENT_SOURCES": f"fear-and-greed={place.url}"})
    config = replace(config, sentiment_sources=named.sentiment_sources)
    parts = assemble(config, Wishes(speed=3600.0))
    try:
        ends = time.monotonic() + 5
        while not (seen := parts.trader.outside(datetime.now(UTC)))["fear_and_greed"]:
            assert time.monotonic() < ends
            time.sleep(0.01)
    finally:
        parts.close()
    assert seen == {"fear_and_greed": 0.5}


@pytest.mark.slow
def test_the_published_past_goes_on_record_as_known_an_hour_later(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [
        json.loads(index(str(40 + d), MIDNIGHT - timedelta(days=d)))["data"][0] for d in range(3)
    ]
    place.answer = 200, json.dumps({"data": days})
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SENTIMENT_SOURCES", f"fear-and-greed={place.url}")
    assert guarded(cli, ["history", "sentiment", "--download", "fear-and-greed", "--json"]) == 0
    history = SentimentHistory(HistoryStore(tmp_path))
    seen = [
        history.at(Pair("BTC", "USD"), MIDNIGHT + timedelta(minutes=m))["fear_and_greed"]
        for m in (0, 59, 60, 36 * 60)
    ]
    assert seen == [pytest.approx(-0.18), pytest.approx(-0.18), pytest.approx(-0.2), None]


@pytest.mark.slow
def test_every_reading_of_a_running_bot_goes_on_record(place: Place, tmp_path: Path) -> None:
    place.answer = (200, index("75", datetime.now(UTC) - timedelta(hours=1)))
    folders = {f"{name}_dir": tmp_path / name for name in ("data", "models", "logs")}
    named = load_config(None, {"SENTIMENT_SOURCES": f"fear-and-greed={place.url}"})
    parts = assemble(replace(named, sandbox_feed="simulated", **folders), Wishes(speed=3600.0))
    try:
        log = SentimentLog(tmp_path / "data", parts.venue.history.exchange)
        ends = time.monotonic() + 5
        while not (found := log.series()):
            assert time.monotonic() < ends
            time.sleep(0.01)
    finally:
        parts.close()
    known, _, values = found["fear_and_greed", ""]
    assert values.tolist() == [0.5]
    assert known[0] == pytest.approx(datetime.now(UTC).timestamp(), abs=60)
