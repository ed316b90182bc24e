"""Taking turns: one that fails does not hold up the others, and is tried again after a pause."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import ParamSpec

from trader.domain.errors import ExchangeError, Unreachable

P = ParamSpec("P")
LONGEST_PAUSE = timedelta(seconds=60)


def pause_after(failures: int) -> timedelta:
    """How long to wait before the next try: 1, 2, 4 … up to 60 seconds."""
    return min(LONGEST_PAUSE, timedelta(seconds=2 ** min(failures - 1, 6)))


class Turns:
    """Remembers the first fault of a pass and raises it when all have had their turn.

    An exchange that cannot be reached at all ends the pass at once: waiting for every pair's
    time-out would help nobody.
    """

    def __init__(self) -> None:
        self._fault: ExchangeError | None = None

    def take(self, act: Callable[P, object], *words: P.args, **named: P.kwargs) -> None:
        """Do one thing of the pass.

        Raises:
            Unreachable: the exchange does not answer.
        """
        try:
            act(*words, **named)
        except Unreachable:
            raise
        except ExchangeError as fault:
            self._fault = self._fault or fault

    def end(self) -> None:
        """End the pass.

        Raises:
            ExchangeError: the first fault there was.
        """
        if self._fault is not None:
            raise self._fault
