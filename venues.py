"""Markets to trade on, each with an account there: what the settings say, and the real exchange.

Only what an emergency stop needs is imported here; paper trading is in `paper`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from config import Config
from kraken_client import KrakenClient
from trader.clocks import SystemClock
from trader.domain.errors import TraderError, UsageError
from trader.domain.markets import Pair
from trader.exchanges import OWN, open_own_exchange
from trader.exchanges.kraken_calls import Retries
from trader.exchanges.kraken_limits import TIERS
from trader.exchanges.kraken_nonces import FileNonces
from trader.exchanges.transport import Timeouts
from trader.ports import Clock, Exchange, ExchangeSettings, ModelSource
from trader.simulation.costs import Costs

if TYPE_CHECKING:
    from trader.domain.candles import Candles
    from trader.exchanges.sandbox import SandboxExchange
    from trader.storage.history import HistoryStore


SLIPPAGE = Decimal("0.0005")
"""Fraction of the price a market order is expected to lose."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a comparison puts in place of a replay's usual parts.

    Attributes:
        costs: of the simulated exchange.
        models: for strategies that learn; None for the stored ones.
        finest_path: follow the finest stored candles inside each candle.
        box: makes the exchange in the box, called as `SandboxExchange` is; None for that itself.
        client: reaches it; None through Kraken's wire in this process.
    """

    costs: Costs
    models: ModelSource | None = None
    finest_path: bool = True
    box: Callable[..., SandboxExchange] | None = None
    client: Callable[[SandboxExchange], Exchange] | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a command wants other than the settings say.

    Attributes:
        pairs: instead of the configured ones.
        speed: seconds of the market per real second where its time is ours; infinite for as fast
            as it can; None for the feed's own pace.
        start: where a replay begins.
        cycles: how many passes will be made, None for no end.
        unlicensed: trade live without a licensed model.
        standing: only act on the account as it is; the time of a made-up market stands still.
        emergency: only cancel and sell: nothing is prepared for decisions.
        debug: raise unforeseen errors.
        bench: other parts for a replay, None for the usual ones.
    """

    pairs: tuple[Pair, ...] = ()
    speed: float | None = None
    start: datetime | None = None
    cycles: int | None = None
    unlicensed: bool = False
    standing: bool = False
    emergency: bool = False
    debug: bool = False
    bench: Bench | None = None

    @property
    def slippage(self) -> Decimal:
        """By how much a taker is expected to pay more, as a fraction."""
        return SLIPPAGE if self.bench is None else self.bench.costs.slippage


@dataclass(slots=True)
class Venue:
    """A market, an account there, and how its time passes.

    Attributes:
        label: what a person should know about the prices.
        book: name of the account's book in the journal.
        speed: market seconds per real second.
        pace: `real` (looks every POLL_SECONDS), `scaled` (its time runs faster) or `jump` (from
            candle to candle).
        history: the store its candles lie in.
        whole: complete histories where the future is known, so that they are analysed once.
        ends_at: where the prices end, None if they go on.
        notes: what should be said at the start.
        source: where new candles come from, in the words of the store; empty where none come.
        demands_licence: only models that may trade real money are asked.
    """

    mode: str
    feed: str
    label: str
    book: str
    pace: str
    pairs: tuple[Pair, ...]
    clock: Clock
    exchange: Exchange
    history: HistoryStore
    sandbox: SandboxExchange | None = None
    speed: float = 1.0
    whole: dict[Pair, Candles] = field(default_factory=dict)
    ends_at: datetime | None = None
    durable: bool = True
    notes: list[str] = field(default_factory=list)
    source: str = ""
    demands_licence: bool = False


def history_store(config: Config, exchange: str = "kraken") -> HistoryStore:
    """Stored candles of an exchange."""
    from trader.storage.history import HistoryStore

    return HistoryStore(config.data_dir, exchange)


HUNG_AFTER_S = 0.5
"""In an emergency: after this a process that keeps the key to itself counts as hung."""


EMERGENCY_TIMEOUTS = Timeouts(connect_s=2.0, read_s=6.0, total_s=8.0)
"""An emergency stop asks anew, and reports, sooner than a loop that has time."""


PAPER_KRAKEN = "paper-kraken"
_REPLAY = "replay-"


def simulated_book(seed: int) -> str:
    """The book of the account on the made-up market of a seed."""
    return f"paper-simulated-{seed}"


def replay_book(number: int) -> str:
    """The book of a replay: each has its own."""
    return f"{_REPLAY}{number}"


def live_book(key: str) -> str:
    """The book of the account that an API key belongs to, without telling the key."""
    return f"live-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def is_book_of(config: Config, book: str) -> bool:
    """Whether a book is that of an account which these settings trade."""
    if not config.sandbox:
        return book == live_book(config.kraken_api_key)
    feeds = ("kraken", "simulated") if config.sandbox_feed == "auto" else (config.sandbox_feed,)
    books = {"kraken": PAPER_KRAKEN, "simulated": simulated_book(config.sandbox_seed)}
    return book in [books[feed] for feed in feeds if feed in books] or (
        "replay" in feeds and book.startswith(_REPLAY)
    )


def live(config: Config, *, checked: bool = True) -> Venue:
    """The real exchange.

    Args:
        config: the settings.
        checked: ask what the key may do and refuse one that may withdraw; not in an emergency.

    Raises:
        TraderError: if there is no key, or none that is fit.
    """
    if not config.kraken_api_key:
        raise UsageError(
            "live trading needs KRAKEN_API_KEY and KRAKEN_API_SECRET",
            "Put them into .env, or set SANDBOX=true for paper trading.",
        )
    exchange = _kraken(config, checked) if config.exchange == OWN else _own_exchange(config)
    return Venue(
        "LIVE", "kraken", "live prices, REAL MONEY", live_book(config.kraken_api_key), "real",
        config.pairs, SystemClock(), exchange, history_store(config, exchange.name),
        source=exchange.name,
    )  # fmt: skip


def _kraken(config: Config, checked: bool) -> Exchange:
    client = KrakenClient(
        config.kraken_api_key,
        config.kraken_api_secret,
        url=config.kraken_api_url,
        nonces=FileNonces.for_key(
            config.data_dir, config.kraken_api_key, None if checked else HUNG_AFTER_S
        ),
        tier=TIERS["starter"],
        # The loop asks again by itself; meanwhile it must hear the stop switch.
        retries=Retries(attempts=2, budget_s=10.0) if checked else Retries(attempts=1),
        timeouts=Timeouts() if checked else EMERGENCY_TIMEOUTS,
    )
    if checked:
        client.check_key()
    return client


def _own_exchange(config: Config) -> Exchange:
    return open_own_exchange(
        config.exchange,
        ExchangeSettings(
            config.kraken_api_key, config.kraken_api_secret, config.kraken_api_url, config.data_dir
        ),
    )


def kraken_answers(config: Config, within_s: float = 3.0) -> bool:
    """Whether the real exchange's public interface answers in time."""
    limits = Timeouts(connect_s=within_s, read_s=within_s, total_s=within_s)
    client = KrakenClient(url=config.kraken_api_url, timeouts=limits, retries=Retries(attempts=1))
    try:
        client.server_time()
    except TraderError:
        return False
    finally:
        client.close()
    return True


def server_time_of(config: Config, venue: Venue) -> Callable[[], datetime] | None:
    """The exchange's time, asked by a client of its own; None where its clock is ours."""
    if venue.feed != "kraken":
        return None
    limits = Timeouts(connect_s=5.0, read_s=5.0, total_s=5.0)
    return KrakenClient(
        url=config.kraken_api_url, timeouts=limits, retries=Retries(attempts=1)
    ).server_time
