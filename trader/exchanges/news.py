"""News as a mood: headlines of an RSS or Atom feed, scored with a lexicon.

Needs the packages feedparser and vaderSentiment, which are optional. A score is a crude thing: it
counts friendly and unfriendly words. It is recorded with the moment it was read, so that a
backtest never sees a headline before the program could have.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from trader.domain.errors import UsageError
from trader.exchanges.outside import LIMITS, Reading
from trader.exchanges.transport import NoReply, send

ADDRESS = "https://www.coindesk.com/arc/outboundfeeds/rss/"
FEWEST = 3
WINDOW = timedelta(hours=24)
LASTS = timedelta(hours=6)
# Words of this field that the general lexicon does not know or reads otherwise, -4 to 4.
WORDS: Mapping[str, float] = {
    "bullish": 2.5, "bearish": -2.5, "rally": 2.0, "rallies": 2.0, "surge": 1.8, "surges": 1.8,
    "soars": 2.2, "plunge": -2.4, "plunges": -2.4, "crash": -3.0, "selloff": -2.2,
    "hack": -2.8, "hacked": -3.0, "exploit": -2.4, "outage": -1.8, "ban": -2.0, "bans": -2.0,
    "lawsuit": -1.8, "sues": -1.8, "fraud": -3.0, "liquidations": -1.6, "insolvent": -3.0,
    "bankruptcy": -3.0, "inflows": 1.5, "outflows": -1.5, "approval": 1.6, "approves": 1.8,
    "adoption": 1.4, "upgrade": 1.2, "breakout": 1.5, "dump": -2.0, "slump": -2.0, "record": 0.8,
}  # fmt: skip


class NewsMood:
    """Mean score of the headlines of the last day, -1 to 1; unknown with fewer than three.

    Args:
        url: of the feed.
        now: the present moment.

    Raises:
        UsageError: if a package is missing.
    """

    names: tuple[str, ...] = ("news",)
    every_s: float = 900.0

    def __init__(
        self, url: str = ADDRESS, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._url = url
        self._now = now
        self._parse, self._scorer = _tools()
        self._session = requests.Session()

    def read(self) -> dict[str, Reading]:
        """The newest mood.

        Raises:
            NoReply: if nobody answers.
            ValueError: if too few headlines of the last day can be read.
        """
        reply = send(self._session, "GET", self._url, timeouts=LIMITS)
        if reply.status != requests.codes.ok:
            raise NoReply(f"status {reply.status}")
        now = self._now()
        scores = self.scores(reply.body, now)
        if len(scores) < FEWEST:
            raise ValueError(f"{len(scores)} headlines of the last day, {FEWEST} needed")
        return {"news": Reading(sum(scores) / len(scores), now, now + LASTS)}

    def scores(self, feed: bytes, now: datetime) -> list[float]:
        """Score of each headline published in the day before `now`, -1 to 1."""
        found = []
        for entry in self._parse(feed).entries:
            stamp = entry.get("published_parsed") or entry.get("updated_parsed")
            title = str(entry.get("title") or "").strip()
            if not stamp or not title:
                continue
            published = datetime.fromtimestamp(calendar.timegm(stamp), UTC)
            if now - WINDOW <= published <= now:
                found.append(float(self._scorer.polarity_scores(title)["compound"]))
        return found


def _tools() -> tuple[Any, Any]:
    try:
        import feedparser
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError as fault:
        raise UsageError(
            f"the source news needs the package {fault.name}, which is not installed",
            "Install them: pip install feedparser vaderSentiment",
        ) from None
    scorer = SentimentIntensityAnalyzer()
    scorer.lexicon.update(WORDS)
    return feedparser.parse, scorer
