"""Candles for an analysis from the exchange in use: Kraken's or the made-up market's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from commands.analysis import Market, Question
from config import Config
from trader.domain.errors import ExchangeError, HistoryError
from trader.domain.window import KEEP, STRIDE, window

PATIENCE_S = 1.0
"""How long the exchange may take to answer before the stored candles have to do."""


def continued(config: Config, question: Question, stored: Market, now: datetime) -> Market | None:
    """The stored candles followed by Kraken's newest, with its order book and trades.

    None where the settings do not use Kraken, or it does not answer.
    """
    if config.sandbox and config.sandbox_feed not in {"auto", "kraken"}:
        return None
    try:
        fresh = _of_kraken(config, question, now)
    except ExchangeError:
        return None
    joined = window(stored.candles.followed_by(fresh.candles))
    if joined.first_opened_at >= fresh.candles.first_opened_at:
        return fresh
    return replace(fresh, candles=joined, source=f"{stored.source}, {fresh.source}")


def from_exchange(
    config: Config, question: Question, now: datetime, tell: Callable[[str], None]
) -> Market:
    """Candles where none are stored.

    Raises:
        HistoryError: if the settings replay a history, and there is none.
        ExchangeError: if Kraken is wanted and does not answer.
    """
    feed = config.sandbox_feed if config.sandbox else "kraken"
    if feed == "replay":
        raise HistoryError(
            f"no history is stored for {question.pair}",
            "Import one: python run_trader.py history import FILE.",
        )
    if feed == "auto":
        from venues import kraken_answers

        feed = "kraken" if kraken_answers(config, PATIENCE_S) else "simulated"
        if feed == "simulated":
            tell("no history is stored and Kraken does not answer: a SIMULATED market is shown")
    if feed == "kraken":
        return _of_kraken(config, question, now)
    return made_up(config, question, now)


def _of_kraken(config: Config, question: Question, now: datetime) -> Market:
    from kraken_client import KrakenClient
    from trader.exchanges.kraken_calls import Retries
    from trader.exchanges.transport import Timeouts

    limits = Timeouts(connect_s=PATIENCE_S, read_s=5.0, total_s=8.0)
    client = KrakenClient(url=config.kraken_api_url, timeouts=limits, retries=Retries(attempts=1))
    try:
        candles = client.candles(question.pair, question.timeframe).known_at(now)
        if not len(candles):
            raise HistoryError(
                f"{question.pair}: Kraken shows no {question.timeframe} candle closed at "
                f"{now:%Y-%m-%d %H:%M} UTC",
                "It serves the newest 720 only; import a history for older ones.",
            )
        if question.at is not None:
            return Market(candles, "Kraken")
        book, trades = client.order_book(question.pair), client.recent_trades(question.pair)
        return Market(candles, "Kraken", "kraken", book, trades)
    finally:
        client.close()


def made_up(config: Config, question: Question, now: datetime) -> Market:
    """The simulated market of the settings; its past is a function of its seed."""
    from trader.exchanges.feeds.simulated import QUARTER_HOUR, SimulatedFeed

    base = min(config.timeframe, QUARTER_HOUR)
    feed = SimulatedFeed(config.sandbox_seed, (question.pair,), base)
    coarse = window(feed.history(question.pair, question.timeframe, now, KEEP + STRIDE))
    label = f"SIMULATED MARKET, not real prices (seed {config.sandbox_seed})"
    if not len(coarse):
        raise HistoryError(f"{question.pair}: the simulated market has no candle at that moment")
    return Market(coarse, label, "simulated")
