"""Until when Kraken may accept an order, by Kraken's clock and not by this machine's."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from trader.domain.errors import ExchangeError

_READ_AGAIN_S = 3600.0
_UNWORTHY = timedelta(seconds=3)
"""A smaller difference of the clocks does no harm, and the answer's whole seconds may be it."""


class Deadline:
    """Makes the `deadline` of a request: Kraken takes 2 to 60 seconds from its own now.

    A clock that is half a minute off would make every order late or too early: no stop could be
    placed any more and nothing sold. So Kraken's time is asked for, once an hour and after a
    deadline was refused.

    Args:
        seconds: from now; None makes no deadline.
        now: this machine's clock.
        server_time: asks for the exchange's.
    """

    def __init__(
        self,
        seconds: float | None,
        now: Callable[[], datetime],
        server_time: Callable[[], datetime],
    ) -> None:
        self._seconds = seconds
        self._now = now
        self._server_time = server_time
        self._ahead = timedelta(0)
        self._read_at_s: float | None = None

    def field(self) -> dict[str, str]:
        """The field of a request, empty without a deadline."""
        if self._seconds is None:
            return {}
        self._read()
        ends = self._now() + self._ahead + timedelta(seconds=self._seconds)
        return {"deadline": ends.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}

    def earlier(self, since: datetime) -> datetime:
        """A moment of this machine's clock as the exchange's, never later than it says."""
        return since + min(self._ahead, timedelta(0))

    def was_refused(self, fault: ExchangeError) -> bool:
        """Whether it was the deadline that was refused; Kraken's clock is read anew then."""
        meant = self._seconds is not None and "deadline" in fault.message.lower()
        if meant:
            self._read_at_s = None
        return meant

    def _read(self) -> None:
        fresh = self._read_at_s is not None and time.monotonic() - self._read_at_s < _READ_AGAIN_S
        if fresh:
            return
        self._read_at_s = time.monotonic()
        with contextlib.suppress(ExchangeError):  # then as it was known before
            ahead = self._server_time() - self._now()
            self._ahead = ahead if abs(ahead) >= _UNWORTHY else timedelta(0)
