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

    An exchange that cannot be reached ends the pass at once, because waiting for every pair's
    time-out would help nobody; the parts of a whole pass are taken all the same.

    Args:
        whole: these are the parts of a whole pass.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._fault: ExchangeError | None = None

    def take(self, act: Callable[P, object], *words: P.args, **named: P.kwargs) -> bool:
        """Do one thing of the pass; whether it could be done.

        Raises:
            Unreachable: the exchange does not answer.
        """
        try:
            act(*words, **named)
        except ExchangeError as fault:
            if isinstance(fault, Unreachable) and not self._whole:
                raise
            self._fault = self._fault or fault
            return False
        return True

    def end(self) -> None:
        """End the pass.

        Raises:
            ExchangeError: the first fault there was.
        """
        if self._fault is not None:
            raise self._fault
