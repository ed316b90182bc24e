"""Timeframes: how long a candle is. Without arrays, for those who only need to know the hour."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from trader.domain.errors import UsageError

_UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
KRAKEN_MINUTES = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)


@dataclass(frozen=True, slots=True, order=True)
class Timeframe:
    """The length of a candle.

    >>> Timeframe.parse("4h").seconds
    14400
    >>> str(Timeframe(86400))
    '1d'
    """

    seconds: int

    @classmethod
    def parse(cls, text: str) -> Timeframe:
        """Read `1m`, `15m`, `1h`, `4h`, `1d`, `1w`; a bare number means minutes, as at Kraken.

        Raises:
            UsageError: if the text is none of these.
        """
        match = re.fullmatch(r"\s*(\d{1,5})\s*([mhdw]?)\s*", text.lower())
        if not match or int(match[1]) == 0:
            raise UsageError(
                f"timeframe '{text}': expected a number and m, h, d or w",
                "Use for example 1m, 15m, 1h, 4h or 1d.",
            )
        return cls(int(match[1]) * _UNIT_SECONDS[match[2] or "m"])

    @property
    def minutes(self) -> int:
        """Length in minutes."""
        return self.seconds // 60

    @property
    def delta(self) -> timedelta:
        """Length as a time difference."""
        return timedelta(seconds=self.seconds)

    @property
    def per_year(self) -> float:
        """Candles in a year of a market that never closes (365 days)."""
        return 365 * 86400 / self.seconds

    def floor(self, moment: datetime) -> datetime:
        """The opening of the candle that contains the moment.

        Weeks begin on Thursday, the weekday of the Unix epoch, as at Kraken.

        >>> Timeframe.parse("4h").floor(datetime(2024, 3, 1, 13, 59, tzinfo=UTC)).hour
        12
        """
        seconds = int(moment.timestamp())
        return datetime.fromtimestamp(seconds - seconds % self.seconds, UTC)

    def ceil(self, moment: datetime) -> datetime:
        """The first opening at or after the moment: where candles that lie whole behind it begin.

        >>> Timeframe.parse("4h").ceil(datetime(2024, 3, 1, 13, 59, tzinfo=UTC)).hour
        16
        """
        seconds = math.ceil(moment.timestamp())
        return datetime.fromtimestamp(seconds + -seconds % self.seconds, UTC)

    def last_closed_at(self, now: datetime) -> datetime:
        """The moment at which the newest finished candle closed (it may be `now` itself)."""
        return self.floor(now)

    def __str__(self) -> str:
        for unit in "wdh":
            if self.seconds % _UNIT_SECONDS[unit] == 0:
                return f"{self.seconds // _UNIT_SECONDS[unit]}{unit}"
        return f"{self.seconds // 60}m"
