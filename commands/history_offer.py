"""What is missing of a history: get it if that is quick, ask if it is long, else say the remedy.

The rule: only a person at a terminal is ever asked or served by the network. Without one (a pipe,
a service, `--json`) nothing is downloaded; what is missing is named in one line with its remedy.
`start` never waits for it: it only tells. The made-up market (`simulated`) lacks nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from commands.common import say
from trader.domain.candles import Timeframe
from trader.domain.errors import HistoryError, TraderError
from trader.domain.markets import Pair
from trader.storage.quality import fit_for_use

if TYPE_CHECKING:
    from config import Config
    from trader.storage.history import HistoryStore


def complete(
    config: Config,
    store: HistoryStore,
    pairs: Iterable[Pair],
    timeframe: Timeframe,
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    quiet: bool = False,
    only_tell: bool = False,
) -> None:
    """See that a history is there and fit for use, before a backtest, a training or a start.

    Args:
        config: the settings.
        store: where it should be; only Kraken's is ever downloaded.
        pairs: whose.
        timeframe: of the candles.
        start: the first moment that is needed; None for whatever there is.
        end: the last.
        quiet: whether to say and ask nothing.
        only_tell: whether to say what is missing or wrong, and do nothing about it.

    Raises:
        HistoryError: if a span is too full of holes to be used.
    """
    if store.exchange == "simulated":
        return
    for pair in pairs:
        lack = missing(store, pair, timeframe, start, end)
        if lack is not None:
            _offer(config, store, pair, timeframe, lack, quiet=quiet, only_tell=only_tell)
        try:
            found = fit_for_use(store, pair, timeframe, start, end)
        except HistoryError as fault:
            if not only_tell:
                raise
            found = [fault.message]
        for words in found:
            say(f"note: {words}", quiet=quiet)


def missing(
    store: HistoryStore,
    pair: Pair,
    timeframe: Timeframe,
    start: datetime | None,
    end: datetime | None,
) -> tuple[datetime | None, datetime | None] | None:
    """The first part of a span that is not stored; None if all of it is, (None, None) for all.

    What lies before the oldest candle is missing only if it begins a day or more earlier.
    """
    try:
        held = store.load(pair, timeframe)
    except HistoryError:
        return start, end
    if not len(held):
        return start, end
    slack = max(86400, 2 * timeframe.seconds)
    first, last = held.first_opened_at.timestamp(), held.closed_at.timestamp()
    if start is not None and start.timestamp() < first - slack:
        return start, held.first_opened_at
    if end is not None and min(end, datetime.now(UTC)).timestamp() > last + slack:
        return held.closed_at, end
    return None


def _offer(
    config: Config,
    store: HistoryStore,
    pair: Pair,
    timeframe: Timeframe,
    lack: tuple[datetime | None, datetime | None],
    *,
    quiet: bool,
    only_tell: bool,
) -> None:
    from commands.history_download import Wish, download, is_terminal, kraken_store

    start, end = lack
    span = "" if start is None else f" --start {start:%Y-%m-%d}"
    krakens = store.exchange == kraken_store(config).exchange
    source = "" if krakens or store.exchange == "kraken" else f" --source ccxt:{store.exchange}"
    remedy = f"python run_trader.py history download {pair}{span}{source}"
    since = "" if start is None else f" from {start:%Y-%m-%d} on"
    words = f"{pair} {timeframe}: candles{since} are not stored"
    if quiet or only_tell or not krakens or not is_terminal():
        say(f"note: {words}; get them: {remedy}", quiet=quiet)
        return
    say(f"{words}: downloading them")
    now = datetime.now(UTC)
    wish = Wish((pair,), start, min(end or now, now), "", (), yes=False, quiet=False)
    try:
        download(config, wish)
    except TraderError as fault:
        say(f"note: not downloaded ({fault.message}); later: {remedy}")
