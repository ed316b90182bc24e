"""Sentiment from outside sources, read beside the loop: what is not known in time is null.

A source is a class with a few lines; `SOURCES` names those that come with the program. They are
read by a thread of their own, so that a source which is slow, broken or lies about its format
holds up nothing. A number is shown from its publication until it is too old, and in a replay of
the past never.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import requests

from trader.domain.errors import UsageError
from trader.exchanges.transport import NoReply, Timeouts, send

SOURCES: Mapping[str, str] = {
    "fear-and-greed": "trader.exchanges.outside:FearAndGreed",
    "news": "trader.exchanges.news:NewsMood",
}
"""Name in SENTIMENT_SOURCES → module:Class."""

LIMITS = Timeouts(connect_s=3.0, read_s=5.0, total_s=8.0)
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 900.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A published number.

    Attributes:
        value: in [-1, 1] if it is a direction (above zero for buyers), else a plain number.
        published_at: from when on it could be known.
        until: when it is too old to be shown.
    """

    value: float
    published_at: datetime
    until: datetime


class Source(Protocol):
    """One outside source.

    Attributes:
        names: what it tells of, as it stands in a snapshot's sentiment.
        every_s: seconds between two readings.
    """

    names: tuple[str, ...]
    every_s: float

    def read(self) -> Mapping[str, Reading]:
        """The newest numbers. It may take its time, and may raise."""
        ...


class FearAndGreed:
    """The Fear and Greed Index of the crypto market, published once a day.

    Its 0 (fear) to 100 (greed) become -1 to 1.
    """

    names: tuple[str, ...] = ("fear_and_greed",)
    every_s: float = 1800.0

    def __init__(self, url: str = "https://api.alternative.me/fng/?limit=1") -> None:
        self._url = url
        self._session = requests.Session()

    def read(self) -> dict[str, Reading]:
        """The newest index.

        Raises:
            NoReply: if nobody answers.
            ValueError, KeyError: if the answer is not of the known form.
        """
        return dict.fromkeys(self.names, self._readings({})[0])

    def past(self) -> list[Reading]:
        """Every index ever published, oldest first.

        Raises:
            NoReply: if nobody answers.
            ValueError, KeyError: if the answer is not of the known form.
        """
        return self._readings({"limit": "0"})[::-1]

    def _readings(self, params: dict[str, str]) -> list[Reading]:
        url = self._url.partition("?")[0] if params else self._url
        reply = send(self._session, "GET", url, params=params or None, timeouts=LIMITS)
        if reply.status != requests.codes.ok:
            raise NoReply(f"status {reply.status}")
        return [_index(row) for row in json.loads(reply.body)["data"]]


def _index(row: Mapping[str, Any]) -> Reading:
    index = float(row["value"])
    if not 0 <= index <= 100:
        raise ValueError(f"{index} is not on the scale")
    published = datetime.fromtimestamp(int(row["timestamp"]), UTC)
    return Reading(index / 50.0 - 1.0, published, published + timedelta(hours=36))


class OutsideSentiment:
    """Asks the sources in the background and hands out what they said last.

    Args:
        sources: may be slow and may fail.
        tell: is told in words when a source begins to fail, and when it is back.
        record: is given every new number, for the history.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        tell: Callable[[str], object] = lambda _: None,
        record: Callable[[Mapping[str, Reading]], object] = lambda _: None,
    ) -> None:
        self._record = record
        self._sources = tuple(sources)
        self._tell = tell
        self._known: dict[str, Reading] = {}
        self._closing = threading.Event()
        self._asked = [threading.Event() for _ in self._sources]
        self._threads = [
            threading.Thread(target=self._follow, args=each, daemon=True, name="sentiment")
            for each in zip(self._sources, self._asked, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def at(self, now: datetime) -> dict[str, float | None]:
        """Name → value at that moment, None where unknown; never waits."""
        return {name: self._value(name, now) for s in self._sources for name in s.names}

    def _value(self, name: str, now: datetime) -> float | None:
        reading = self._known.get(name)
        if reading is None or not reading.published_at <= now < reading.until:
            return None
        return reading.value

    def wait(self, seconds: float) -> None:
        """Until every source was asked once, at most so long: for a single look."""
        ends = threading.Event()
        timer = threading.Timer(seconds, ends.set)
        timer.daemon = True
        timer.start()
        while not ends.is_set() and not all(asked.wait(0.01) for asked in self._asked):
            pass
        timer.cancel()

    def close(self) -> None:
        """Stop asking; a request under way is left to end by itself."""
        self._closing.set()

    def _follow(self, source: Source, asked: threading.Event) -> None:
        retry_s = FIRST_RETRY_S
        failing = False
        while not self._closing.is_set():
            try:
                found = _checked(source, source.read())
                self._known.update(found)
                fault = ""
                with contextlib.suppress(Exception):
                    self._record(found)
            except Exception as trouble:  # noqa: BLE001 - an outside source may raise anything
                fault = f"{type(trouble).__name__}: {trouble}"
            asked.set()
            if bool(fault) != failing:
                failing = bool(fault)
                self._say(source, fault)
            self._closing.wait(retry_s if fault else source.every_s)
            retry_s = min(retry_s * 2, LONGEST_RETRY_S) if fault else FIRST_RETRY_S

    def _say(self, source: Source, fault: str) -> None:
        names = ", ".join(source.names)
        with contextlib.suppress(Exception):
            self._tell(f"{names}: no answer ({fault})" if fault else f"{names}: answers again")


def _checked(source: Source, found: Mapping[str, Reading]) -> dict[str, Reading]:
    """Only what the source announced, and only numbers."""
    wrong = [n for n, r in found.items() if n not in source.names or not math.isfinite(r.value)]
    if wrong:
        raise ValueError(f"no usable number: {', '.join(wrong)}")
    return dict(found)


def open_sources(texts: Iterable[str]) -> list[Source]:
    """The sources a setting names.

    Args:
        texts: `name`, `name=address` for another address, or `module:Class` of one's own.

    Raises:
        UsageError: if there is no such source.
    """
    return [_opened(text) for text in texts]


def _opened(text: str) -> Source:
    name, _, address = text.partition("=")
    place = name if ":" in name else SOURCES.get(name, "")
    module, _, attribute = place.partition(":")
    try:
        made: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        raise UsageError(
            f"SENTIMENT_SOURCES: there is no source '{name}'",
            f"Known: {', '.join(SOURCES)}; your own as module:Class.",
        ) from None
    source: Source = made(address) if address else made()
    return source
