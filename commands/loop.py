"""The loop around `Trader.step`: when to look again, what to hear meanwhile, how to end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import FrameType
from typing import Any

from main import Parts, StepReport
from trader.domain.errors import ExitStatus, JournalError
from trader.storage.inbox import Inbox

SLICE_S = 0.2
_A_SECOND = timedelta(seconds=1)
"""The stop switch and the inbox are looked at this often, real seconds."""
BEAT_S = 5.0
LONGEST_PAUSE_S = 300.0
LONGEST_PAUSE_HOLDING_S = 30.0
"""While something is held: its stop lies at the exchange, but its target does not, and fills, a
stop that is gone and a rate that is refused are seen at a look only."""


@dataclass(slots=True)
class Loop:
    """Drives a trader until its cycles are done, its prices end, or someone asks it to end.

    Args:
        parts: the running program.
        cycles: passes over all pairs, None for no end.
        tell: told of every pass.
        handle: answers requests of other processes.
        between: called between passes, at least every few seconds.
    """

    parts: Parts
    cycles: int | None = None
    tell: Callable[[StepReport], None] = lambda _: None
    handle: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    between: Callable[[], None] = lambda: None
    ending: str = ""
    done: int = 0
    _faults: int = 0
    _beat_at: float = field(default_factory=time.monotonic)
    _heard_at: float = field(default_factory=time.monotonic)
    _inbox: Inbox | None = None

    def run(self) -> str:
        """Loop; why it ended."""
        self._inbox = Inbox(self.parts.config.data_dir, self.parts.venue.book)
        self._inbox.clear()
        while not self.ending:
            report = self._step()
            self.done += 1
            if self.cycles is not None and self.done >= self.cycles:
                return self.ending or f"{self.done} cycle{'s' if self.done > 1 else ''} done"
            if self._prices_end(report):
                return self.ending or "the prices end here"
            self._wait(report)
            if time.monotonic() - self._heard_at >= SLICE_S:
                # Candles that come faster than they are decided on leave no time to wait.
                self._hear()
        return self.ending

    def end(self, reason: str) -> None:
        """Let the present pass finish, then end."""
        self.ending = reason
        wake = getattr(self.parts.trader.clock, "wake", None)
        if wake is not None:
            wake()

    @contextmanager
    def ends_on_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the loop in order; a second Ctrl-C ends it at once."""

        def asked(number: int, _: FrameType | None) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.end("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)

        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, asked) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _step(self) -> StepReport | None:
        try:
            report = self.parts.trader.step()
        except JournalError as fault:
            # Without a journal nothing may be done; it may be a full disk that will be emptied.
            self._tell_fault(fault)
            return None
        self._faults = self._faults + 1 if report.troubles else 0
        self.tell(report)
        return report

    def _prices_end(self, report: StepReport | None) -> bool:
        ends_at = self.parts.venue.ends_at
        return ends_at is not None and report is not None and report.next_close_at > ends_at

    def _wait(self, report: StepReport | None) -> None:
        trader = self.parts.trader
        pause = timedelta(seconds=self._pause())
        if self.parts.venue.pace == "jump":
            trader.approach(trader.clock.now() + pause if report is None else report.next_close_at)
            return
        until = trader.clock.now() + pause
        if self.parts.venue.pace == "scaled" and report is not None:
            until = report.next_close_at
        elif report is not None and not report.troubles:
            # Just after a close there is something to decide: no need to wait for the next look.
            until = min(until, report.next_close_at + timedelta(seconds=1))
        self._wait_until(until)

    def _pause(self) -> float:
        """Real seconds to the next look; longer after each failure in a row.

        With a position that has no stop at the exchange no longer than without a failure.
        """
        poll, trader = self.parts.config.poll_seconds, self.parts.trader
        held, longest = trader.portfolio.open_pairs, LONGEST_PAUSE_S
        if any(pair in trader.executor.unprotected for pair in held):
            longest = poll
        elif held:
            longest = LONGEST_PAUSE_HOLDING_S
        return float(min(max(longest, poll), poll * 2.0 ** min(self._faults, 20)))

    def _wait_until(self, until: datetime) -> None:
        trader = self.parts.trader
        speed = self.parts.venue.speed
        look, settled_at = self._next_look(until), trader.clock.now() - _A_SECOND
        while not self.ending and trader.clock.now() < until:
            now = trader.clock.now()
            wake = min(until, now + timedelta(seconds=SLICE_S * speed))
            trader.clock.sleep_until(max(wake, now + timedelta(milliseconds=10)))
            # A stop that cannot be obeyed yet is tried again once a second, not without pause.
            changed = trader.stop_changed() and trader.clock.now() >= settled_at + _A_SECOND
            if changed or self.parts.venue.pace == "scaled" or look <= trader.clock.now():
                settled_at = trader.clock.now()
                self._settle()
                look = self._next_look(until)
            if changed:
                self._beat()
            self._hear()
            # An order by hand, heard just now, may have to be looked after sooner.
            look = min(look, self._next_look(until))

    def _next_look(self, until: datetime) -> datetime:
        """When orders on their way are to be looked after, once a second at most."""
        now = self.parts.trader.clock.now()
        look = self.parts.trader.executor.next_look(now)
        return until if look is None else max(look, now + _A_SECOND)

    def _settle(self) -> None:
        try:
            self.parts.trader.settle()
        except JournalError as fault:
            self._tell_fault(fault)

    def _hear(self) -> None:
        self._heard_at = time.monotonic()
        self.between()
        if self._inbox is not None and self.handle is not None:
            self._inbox.serve(self._answered)
        if time.monotonic() - self._beat_at >= BEAT_S:
            self._beat_at = time.monotonic()
            self._beat()

    def _beat(self) -> None:
        try:
            self.parts.trader.beat()
        except JournalError as fault:
            self._tell_fault(fault)

    def _answered(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request of another process, which is never to end the bot."""
        try:
            return {} if self.handle is None else self.handle(request)
        except Exception as fault:
            if self.parts.trader.debug:
                raise
            message = f"{type(fault).__name__}: {fault}"
            return {"error": {"category": "internal", "message": message, "hint": "",
                              "retryable": False}, "exit": int(ExitStatus.FAILED)}  # fmt: skip

    def _tell_fault(self, fault: JournalError) -> None:
        self._faults += 1
        self.tell(_broken(self.parts.trader.clock.now(), fault))


def _broken(now: datetime, fault: JournalError) -> StepReport:
    return StepReport(now, (), now, (f"the journal: {fault.message}",))
