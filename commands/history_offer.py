"""What is missing of a history: get it if that is quick, ask if it is long, else say the remedy.

The rule: only a person at a terminal is ever asked or served by the network. Without one (a pipe,
a service, `--json`) nothing is downloaded; what is missing is named in one line with its remedy.
`start` never waits for it: it only tells. The made-up market (`simulated`) lacks nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from commands.common import say
from trader.domain.candles import Candles, Timeframe
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
        HistoryError: if a span is too full of holes to be used, or a file is damaged.
    """
    if store.exchange == "simulated":
        return
    for pair in pairs:
        try:
            for lack in missing(store, pair, timeframe, start, end):
                _offer(config, store, pair, timeframe, lack, quiet=quiet, only_tell=only_tell)
            found = fit_for_use(store, pair, timeframe, start, end)
        except HistoryError as fault:
            if not only_tell:
                raise
            found = [fault.message]
        for words in found:
            say(f"note: {words}", quiet=quiet)


@dataclass(frozen=True, slots=True)
class Lack:
    """A stretch of time of which nothing is stored; None where it has no beginning or no end."""

    start: datetime | None
    end: datetime | None

    def in_words(self) -> str:
        """From when to when, to stand behind "candles"; nothing where it is all time."""
        begin = "" if self.start is None else f" from {self.start:%Y-%m-%d}"
        if self.end is None:
            return begin and f"{begin} on"
        return f"{begin} to {self.end - timedelta(seconds=1):%Y-%m-%d}"

    def as_options(self) -> str:
        """The same for the command that downloads it."""
        ends = (("start", self.start), ("end", self.end))
        return "".join(f" --{name} {_short(at)}" for name, at in ends if at is not None)


def _short(moment: datetime) -> str:
    return (
        f"{moment:%Y-%m-%d}" if moment.hour == moment.minute == 0 else f"{moment:%Y-%m-%dT%H:%M}"
    )


def missing(
    store: HistoryStore,
    pair: Pair,
    timeframe: Timeframe,
    start: datetime | None,
    end: datetime | None,
) -> list[Lack]:
    """The parts of a span before and after what is stored, oldest first.

    What lies beside the stored candles is missing only if it is a day or more.

    Raises:
        HistoryError: if the file is damaged.
    """
    now = datetime.now(UTC)
    # Of a time that has not come yet nothing is missing.
    upto = None if end is None or end >= now else end
    held = store.load(pair, timeframe) if store.has(pair, timeframe) else Candles.empty(timeframe)
    if not len(held):
        return [Lack(start, upto)]
    slack = timedelta(seconds=max(86400, 2 * timeframe.seconds))
    first, last, found = held.first_opened_at, held.closed_at, []
    if start is not None and start < first - slack:
        found.append(Lack(start, min(first, upto or first)))
    if end is not None and min(end, now) > last + slack:
        found.append(Lack(max(last, start or last), upto))
    return found


def _offer(
    config: Config,
    store: HistoryStore,
    pair: Pair,
    timeframe: Timeframe,
    lack: Lack,
    *,
    quiet: bool,
    only_tell: bool,
) -> None:
    from commands.history_download import Wish, download, is_terminal, kraken_store

    krakens = store.exchange == kraken_store(config).exchange
    source = "" if krakens or store.exchange == "kraken" else f" --source ccxt:{store.exchange}"
    remedy = f"python run_trader.py history download {pair}{lack.as_options()}{source}"
    words = f"{pair} {timeframe}: candles{lack.in_words()} are not stored"
    if quiet or only_tell or not krakens or not is_terminal():
        say(f"note: {words}; get them: {remedy}", quiet=quiet)
        return
    say(f"{words}: downloading them")
    now = datetime.now(UTC)
    wish = Wish((pair,), lack.start, lack.end or now, "", (), yes=False, quiet=False)
    try:
        download(config, wish)
    except TraderError as fault:
        say(f"note: not downloaded ({fault.message}); later: {remedy}")
