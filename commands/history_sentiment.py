"""`run_trader.py history sentiment`: what is on record of the mood, and filling up its past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from trader.domain.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from config import Config

PUBLISHED_TO_KNOWN = timedelta(hours=1)
"""What was published in the past is taken to have been known so much later."""


def recorded(config: Config) -> list[dict[str, Any]]:
    """Every series on record: name, pair, how many readings, from when to when."""
    from trader.storage.sentiment_log import SentimentLog

    folder = config.data_dir / "sentiment"
    rows = []
    for file in sorted(folder.glob("*.db")) if folder.is_dir() else ():
        for (name, pair), (known, _, values) in (
            SentimentLog(config.data_dir, file.stem).series().items()
        ):
            first, last = (datetime.fromtimestamp(float(known[i]), UTC) for i in (0, -1))
            rows.append(
                {"exchange": file.stem, "name": name, "pair": pair or None,
                 "readings": len(values), "first": first, "last": last}
            )  # fmt: skip
    return rows


def fill_up(config: Config, name: str) -> int:
    """Get the past of a source that publishes it; how many readings it has.

    Raises:
        UsageError: if the source does not publish its past.
        Unreachable: if it does not answer.
    """
    from trader.exchanges.outside import open_sources
    from trader.exchanges.transport import NoReply
    from trader.storage.sentiment_log import Said, SentimentLog

    configured = {text.partition("=")[0]: text for text in config.sentiment_sources}
    (source,) = open_sources([configured.get(name, name)])
    past = getattr(source, "past", None)
    if past is None:
        raise UsageError(
            f"{name} does not publish its past", "It is recorded from now on, while the bot runs."
        )
    try:
        readings = past()
    except (NoReply, ValueError, KeyError) as fault:
        raise Unreachable(f"{name}: no usable answer ({fault})", "Try again later.") from fault
    log = SentimentLog(config.data_dir, config.exchange)
    log.record_all(
        [
            (source.names[0], None,
             Said(r.value, r.published_at + PUBLISHED_TO_KNOWN, r.published_at, r.until))
            for r in readings
        ],
        f"{name}, its published past",
    )  # fmt: skip
    return len(readings)
