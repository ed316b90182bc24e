"""Claims about headlines as a mood."""

import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from trader.domain.errors import UsageError
from trader.exchanges.news import NewsMood
from trader.exchanges.outside import OutsideSentiment, open_sources

pytest.importorskip("feedparser")
pytest.importorskip("vaderSentiment")

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


def feed(*items: tuple[str, float]) -> bytes:
    rows = "".join(
        f"<item><title>{title}</title><pubDate>"
        f"{format_datetime(NOW - timedelta(hours=age))}</pubDate></item>"
        for title, age in items
    )
    return f'<?xml version="1.0"?><rss version="2.0"><channel>{rows}</channel></rss>'.encode()


def mood() -> NewsMood:
    return NewsMood("http://127.0.0.1:9/", now=lambda: NOW)


def test_friendly_headlines_score_above_unfriendly_ones() -> None:
    good, bad = mood().scores(
        feed(("Bitcoin rally: bulls cheer great gains", 1), ("Exchange hacked, fraud feared", 2)),
        NOW,
    )
    assert good > 0.3
    assert bad < -0.3


def test_only_headlines_of_the_day_before_count() -> None:
    found = mood().scores(feed(("great", 1), ("great", 25), ("great", -1), ("great", 23)), NOW)
    assert len(found) == 2


@pytest.mark.parametrize("body", [b"", b"no feed", b"<rss>", b"\xff\xfe\x00", feed()])
def test_what_is_no_feed_has_no_headlines(body: bytes) -> None:
    assert mood().scores(body, NOW) == []


def test_nobody_listening_is_null_and_not_zero() -> None:
    sentiment = OutsideSentiment([mood()])
    sentiment.wait(10.0)
    sentiment.close()
    assert sentiment.at(NOW) == {"news": None}


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "feedparser", None)
    with pytest.raises(UsageError, match="feedparser") as caught:
        open_sources(["news"])
    assert "pip install" in caught.value.hint
