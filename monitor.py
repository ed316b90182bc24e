"""Monitor: what is new in the journal becomes log lines, alerts and the heartbeat.

It reads the journal like everybody else, so nothing is told that is not recorded, and a crash
between a fact and its log line loses no fact.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from trader.domain.errors import JournalError, TraderError
from trader.domain.events import Event, HealthChanged, Troubled
from trader.ports import Journal
from trader.storage.reserve import Reserve
from trader.storage.state_file import StateFile

Finding = tuple[str, str]
"""A state (`ok`, `warn`, `fail`) and what was found."""

UNREACHED = frozenset({"unreachable", "busy", "rate_limited", "outcome_unknown"})
"""Categories of trouble that mean: the exchange did not answer."""
BARE_FOR = timedelta(seconds=30)
"""A position may be without its stop for so long while the stop is being placed."""
LITTLE_DISK = 1_000_000_000
NO_DISK = 200_000_000
CLOCK_WARN_S = 2.0
CLOCK_FAIL_S = 30.0
_LOOK_AGAIN = timedelta(minutes=1)
_WORTH_TELLING = ("daily_loss", "drawdown", "losing_streak")


class Vitals:
    """What is looked at besides the decisions: exchange, stops, disk, clock, limits.

    Args:
        data_dir: whose disk is watched.
        server_time: asks the exchange for its time; None where its clock is ours. It is asked
            in the background: the loop never waits for it.
        now: the machine's time.
    """

    def __init__(
        self,
        data_dir: Path,
        now: Callable[[], datetime],
        server_time: Callable[[], datetime] | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._now = now
        self._server_time = server_time
        self._looked_at: datetime | None = None
        self._slow: dict[str, Finding] = {}
        self._exchange: Finding = ("ok", "answers")
        self._missed = 0
        self._bare_since: dict[str, datetime] = {}
        self._asking: threading.Thread | None = None

    def look(self, outlook: Mapping[str, Any], fresh: Sequence[Event]) -> dict[str, Finding]:
        """Every check's finding.

        Args:
            outlook: what the loop says of itself; `sound` after a whole step says whether all
                went well.
            fresh: events since the last look.
        """
        now = self._now()
        if self._looked_at is None or now - self._looked_at >= _LOOK_AGAIN:
            self._looked_at = now
            self._slow["disk"] = self._disk()
            self._slow["reserve"] = self._reserve()
            self._ask_the_time()
        return {
            "exchange": self._reached(outlook, fresh),
            "stops": self._stops(outlook, now),
            **self._slow,
            **_limits(outlook),
        }

    def _reached(self, outlook: Mapping[str, Any], fresh: Sequence[Event]) -> Finding:
        troubles = [e for e in fresh if isinstance(e, Troubled) and e.category in UNREACHED]
        if troubles:
            # One failed request is a trouble; two looks in a row are an exchange that is gone.
            self._missed += 1
            if self._missed > 1:
                self._exchange = ("fail", troubles[-1].message)
        elif outlook.get("sound"):
            self._missed = 0
            self._exchange = ("ok", "answers")
        return self._exchange

    def _stops(self, outlook: Mapping[str, Any], now: datetime) -> Finding:
        bare = outlook.get("unprotected") or {}
        self._bare_since = {pair: self._bare_since.get(pair, now) for pair in bare}
        long = [p for p, since in self._bare_since.items() if now - since >= BARE_FOR]
        if long:
            return "fail", "; ".join(f"no stop for {pair}: {bare[pair]}" for pair in long)
        return "ok", "every position has its stop" if outlook.get(
            "holdings"
        ) else "nothing is held"

    def _disk(self) -> Finding:
        try:
            free = shutil.disk_usage(self._data_dir).free
        except OSError as fault:
            return "fail", f"the data folder cannot be looked at ({fault.strerror or fault})"
        told = f"{free / 1e9:,.1f} GB free"
        return "fail" if free < NO_DISK else "warn" if free < LITTLE_DISK else "ok", told

    def _reserve(self) -> Finding:
        if Reserve(self._data_dir).kept:
            return "ok", "room is kept for a full disk"
        return "fail", "the room kept for a full disk is in use: free some space now"

    def _ask_the_time(self) -> None:
        if self._server_time is None or (self._asking is not None and self._asking.is_alive()):
            return
        self._asking = threading.Thread(target=self._compare_clocks, name="clock", daemon=True)
        self._asking.start()

    def _compare_clocks(self) -> None:
        if self._server_time is None:
            return
        before = self._now()
        try:
            theirs = self._server_time()
        except TraderError:
            return  # that it does not answer is told by the loop
        after = self._now()
        # The answer was given at some moment in between: only what is beyond it is a difference.
        off = max((before - theirs).total_seconds(), (theirs - after).total_seconds() - 1.0, 0.0)
        state = "fail" if off > CLOCK_FAIL_S else "warn" if off > CLOCK_WARN_S else "ok"
        told = "agrees with the exchange" if state == "ok" else f"{off:.0f} s off the exchange's"
        self._slow["clock"] = (state, told)


def _limits(outlook: Mapping[str, Any]) -> dict[str, Finding]:
    """The limits on loss: a tripped one is told when it trips, not at the next refused trade."""
    found: dict[str, Finding] = {}
    for limit in outlook.get("limits") or ():
        rule = str(limit.get("rule", ""))
        if rule.replace("-", "_") in _WORTH_TELLING:
            told = f"{_amount(limit.get('used'))} of {_amount(limit.get('limit'))}"
            tripped = bool(limit.get("tripped"))
            found[f"limit {rule}"] = (
                "warn" if tripped else "ok",
                f"{told}: nothing is bought until it is over" if tripped else told,
            )
    return found


def _amount(value: Any) -> str:
    number = float(value or 0)
    return f"{number:.0f}" if number >= 1 else f"{number:.1%}"


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
        vitals: what else is looked at; its findings go into the heartbeat, and changes of state
            into the journal. None in a backtest.
        told: check → the state that was journalled last.
    """

    def __init__(
        self,
        journal: Journal,
        sinks: Sequence[EventSink] = (),
        state: StateFile | None = None,
        after: int = 0,
        vitals: Vitals | None = None,
        told: Mapping[str, str] | None = None,
    ) -> None:
        self._journal = journal
        self._vitals = vitals
        self._sinks = tuple(sinks)
        self._state = state
        self._seen = after
        self._health: dict[str, str] = dict(told or {})
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
        outlook = outlook or {}
        fresh = self._tell(now)
        findings: dict[str, Finding] = {}
        if self._vitals is not None:
            findings = self._vitals.look(outlook, fresh)
            # A journal that cannot be written is the loop's to tell; it is tried again next time.
            with contextlib.suppress(JournalError):
                for check, (state, detail) in findings.items():
                    self.health(now, check, state, detail)
            self._tell(now)
        if self._state is not None:
            try:
                self._state.write({"at": now.isoformat(), "vitals": findings, **outlook})
            except OSError as fault:
                self._fail(now, "heartbeat", str(fault))
            else:
                self._recover(now, "heartbeat")

    def _tell(self, now: datetime) -> list[Event]:
        """Tell every sink of what is new; what that was."""
        if not self._sinks:
            return []
        fresh = list(self._journal.events(self._seen))
        for number, event in fresh:
            self._seen = number
            for sink in self._sinks:
                self._guard(now, type(sink).__name__, sink, number, event)
        return [event for _, event in fresh]

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
        # Where the journal fails too, as on a full disk, it is told at a later look.
        with contextlib.suppress(JournalError):
            if name not in self._broken:
                self.health(now, name, "fail", detail)
                self._broken.add(name)

    def _recover(self, now: datetime, name: str) -> None:
        with contextlib.suppress(JournalError):
            if name in self._broken:
                self.health(now, name, "ok", "works again")
                self._broken.discard(name)
