"""What is over and old enough to be forgotten: memory that does not grow with the past.

The journal keeps everything. What is held in memory beside it only has to reach back as far as an
exchange may still come up with news of something that is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from datetime import datetime, timedelta
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

KEPT_FOR = timedelta(days=30)
"""So long is known what is over; fills and orders are asked for again over minutes."""


class Fading(Generic[K]):
    """Keys of things that are over, until they are forgotten.

    Args:
        kept_for: how long after its end a thing is still known.

    >>> from datetime import UTC
    >>> fading, noon = Fading[str](timedelta(hours=1)), datetime(2024, 1, 1, 12, tzinfo=UTC)
    >>> fading.over("a", noon)
    >>> list(fading.due(noon + timedelta(minutes=59))), list(fading.due(noon + timedelta(hours=2)))
    ([], ['a'])
    """

    def __init__(self, kept_for: timedelta = KEPT_FOR) -> None:
        self._kept_for = kept_for
        self._ended: deque[tuple[datetime, K]] = deque()

    def over(self, key: K, at: datetime) -> None:
        """Something has ended; more than once if it has come back in between."""
        self._ended.append((at, key))

    def due(self, now: datetime) -> Iterator[K]:
        """What ended so long ago that it may be forgotten; each is told once."""
        while self._ended and now - self._ended[0][0] > self._kept_for:
            yield self._ended.popleft()[1]
