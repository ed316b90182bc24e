"""Several threads walk over one plan: most of its operations leave Python's lock while they count.

The order differs from run to run, the results do not: every operation meets the same arguments,
and one that writes into an argument waits until all others have read it.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Sequence


class Crew:
    """Works through slots whose needs are met, lowest first, so that memory is let go early.

    Args:
        needs: for every slot the slots that must be done before.
        work: does one slot; called from several threads, for every slot once.
        done: takes note of a finished slot; one call at a time.
    """

    def __init__(
        self,
        needs: Sequence[frozenset[int]],
        work: Callable[[int], None],
        done: Callable[[int], None],
    ) -> None:
        self._work = work
        self._done = done
        self._missing = [len(slots) for slots in needs]
        self._left = len(needs)
        self._followers: list[list[int]] = [[] for _ in needs]
        for slot, slots in enumerate(needs):
            for earlier in slots:
                self._followers[earlier].append(slot)
        self._ready = [slot for slot, count in enumerate(self._missing) if not count]
        self._fault: BaseException | None = None
        self._changed = threading.Condition()

    def run(self, threads: int) -> None:
        """Work until all is done; what an operation raises is raised here."""
        helpers = [threading.Thread(target=self._labour) for _ in range(threads - 1)]
        for helper in helpers:
            helper.start()
        self._labour()
        for helper in helpers:
            helper.join()
        if self._fault is not None:
            raise self._fault

    def _labour(self) -> None:
        slot = self._next(None)
        while slot is not None:
            try:
                self._work(slot)
            except BaseException as fault:  # noqa: BLE001 - handed to whoever called `run`
                self._give_up(fault)
                return
            slot = self._next(slot)

    def _give_up(self, fault: BaseException) -> None:
        with self._changed:
            self._fault = self._fault or fault
            self._changed.notify_all()

    def _next(self, finished: int | None) -> int | None:
        """Note what is finished; the next slot to do, None when nothing is left to begin."""
        with self._changed:
            if finished is not None:
                self._finish(finished)
            while not self._ready and self._left and self._fault is None:
                self._changed.wait()
            if self._fault is not None or not self._ready:
                return None
            return heapq.heappop(self._ready)

    def _finish(self, slot: int) -> None:
        self._left -= 1
        self._done(slot)
        for follower in self._followers[slot]:
            self._missing[follower] -= 1
            if not self._missing[follower]:
                heapq.heappush(self._ready, follower)
        self._changed.notify_all()
