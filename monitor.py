"""Monitor: what is new in the journal becomes log lines, alerts and the heartbeat.

It reads the journal like everybody else, so nothing is told that is not recorded, and a crash
between a fact and its log line loses no fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from trader.domain.events import Event, HealthChanged
from trader.ports import Journal
from trader.storage.state_file import StateFile


class EventSink(Protocol):
    """Something that wants to hear of every event once."""

    def take(self, number: int, event: Event) -> None:
        """Take in one event; an OSError means it could not be written and is reported."""
        ...


class Monitor:
    """Watches one journal.

    Args:
        journal: what is watched.
        sinks: day log, alert desk, the lines on the screen …; none in a backtest.
        state: the heartbeat file, None in a backtest.
        after: the number of the last event that was told of before; older ones are not repeated.
    """

    def __init__(
        self,
        journal: Journal,
        sinks: Sequence[EventSink] = (),
        state: StateFile | None = None,
        after: int = 0,
    ) -> None:
        self._journal = journal
        self._sinks = tuple(sinks)
        self._state = state
        self._seen = after
        self._health: dict[str, str] = {}
        self._broken: set[str] = set()

    def observe(self, now: datetime, outlook: dict[str, Any] | None = None) -> None:
        """Tell of everything new and beat once.

        `outlook` is what the journal does not hold. The dashboard and `status` read from it:
        `book` (the journal's book), `history` (exchange name under which the candles are
        stored), `cycle`, `next_decision_at`, `next_decision_in_seconds` (real seconds),
        `limits` (rule, used, limit, tripped), `training` (stage, fraction) while a model is
        trained beside the loop, and `ended` (why) at the last beat of an orderly end.

        Never raises for a sink or a disk that fails: the fault becomes a health entry.
        """
        if self._sinks:
            for number, event in list(self._journal.events(self._seen)):
                self._seen = number
                for sink in self._sinks:
                    self._guard(now, type(sink).__name__, sink, number, event)
        if self._state is not None:
            try:
                self._state.write({"at": now.isoformat(), **(outlook or {})})
            except OSError as fault:
                self._fail(now, "heartbeat", str(fault))
            else:
                self._recover(now, "heartbeat")

    def health(self, now: datetime, check: str, state: str, detail: str) -> None:
        """Journal a health check when its state changes (`ok`, `warn`, `fail`)."""
        if self._health.get(check, "ok") != state:
            self._journal.append(HealthChanged(now, check, state, detail))
        self._health[check] = state

    def _guard(self, now: datetime, name: str, sink: EventSink, number: int, event: Event) -> None:
        try:
            sink.take(number, event)
        except OSError as fault:
            self._fail(now, name, str(fault))
        else:
            self._recover(now, name)

    def _fail(self, now: datetime, name: str, detail: str) -> None:
        if name not in self._broken:
            self._broken.add(name)
            self.health(now, name, "fail", detail)

    def _recover(self, now: datetime, name: str) -> None:
        if name in self._broken:
            self._broken.discard(name)
            self.health(now, name, "ok", "works again")
