"""The only reader of the time."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """The machine's clock. `wake` ends a sleep early, from any thread or a signal handler."""

    def __init__(self) -> None:
        self._wake = threading.Event()

    def now(self) -> datetime:
        """The current moment, UTC."""
        return datetime.now(UTC)

    def sleep_until(self, moment: datetime) -> None:
        """Sleep until then, or until woken."""
        seconds = (moment - self.now()).total_seconds()
        if seconds > 0:
            self._wake.wait(seconds)
        self._wake.clear()

    def wake(self) -> None:
        """End the present sleep, or the next one."""
        self._wake.set()


class ManualClock:
    """A clock that stands still until told otherwise; sleeping sets it forward at once."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """The moment it was set to."""
        return self._now

    def sleep_until(self, moment: datetime) -> None:
        """Jump there; never back."""
        self._now = max(self._now, moment)

    def wake(self) -> None:
        """Nothing sleeps here."""


class ScaledClock:
    """A clock that starts at a chosen moment and runs `speed` times as fast as the machine's.

    Args:
        start: what it shows at first.
        speed: seconds shown per real second, > 0.
    """

    def __init__(self, start: datetime, speed: float) -> None:
        self._start = start
        self._speed = speed
        self._began = time.monotonic()
        self._wake = threading.Event()

    def now(self) -> datetime:
        """The moment it shows."""
        return self._start + timedelta(seconds=(time.monotonic() - self._began) * self._speed)

    def sleep_until(self, moment: datetime) -> None:
        """Sleep until it shows that moment, or until woken."""
        seconds = (moment - self.now()).total_seconds() / self._speed
        if seconds > 0:
            self._wake.wait(seconds)
        self._wake.clear()

    def wake(self) -> None:
        """End the present sleep, or the next one."""
        self._wake.set()
