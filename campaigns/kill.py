"""Kill the trading process with SIGKILL again and again: nothing may be lost, doubled or bare.

`python -m campaigns.kill --kills 10000 --seed 1 --json`
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import click

from campaigns.markets import CANDLES_HELP, Histories, histories
from campaigns.mortal import BOOK, World, live
from campaigns.output import Pace, percentile, progress, show
from campaigns.restless import LIMITS
from campaigns.witness import Findings, Witness
from trader.domain.orders import OrderState
from trader.reports.journal_check import JournalCheck
from trader.storage.journal import SqliteJournal

WARM_UP = 400
CANDLES = 1200
KILLS_PER_WORLD = 100


@dataclass(slots=True)
class Tally:
    """What a campaign has seen.

    Attributes:
        points: kind of moment → how many kills there.
        seen: kind of fact in the journals → how many.
    """

    kills: int = 0
    lives: int = 0
    worlds: int = 0
    findings: Findings = field(default_factory=Findings)
    recoveries_s: list[float] = field(default_factory=list)
    points: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    uncaught: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)

    def document(self, label: str, seconds: float) -> dict[str, Any]:
        """The figures."""
        found = self.findings
        return {
            "kills": self.kills,
            "lost": found.lost,
            "doubled": found.doubled,
            "unprotected": found.unprotected,
            "ledger_difference": str(found.ledger_difference),
            "recovery_p50_s": _rounded(percentile(self.recoveries_s, 0.5)),
            "recovery_p99_s": _rounded(percentile(self.recoveries_s, 0.99)),
            "recovery_max_s": _rounded(max(self.recoveries_s, default=None)),
            "uncaught": len(self.uncaught),
            "journal_problems": len(self.problems),
            "lives": self.lives,
            "worlds": self.worlds,
            "prices": label,
            "seconds": round(seconds, 1),
            "journal": dict(sorted(self.seen.items())),
            "points": dict(sorted(self.points.items())),
            "examples": (found.words + self.uncaught + self.problems)[:20],
            "troubles": dict(self.troubles.most_common(20)),
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


class Campaign:
    """One world after the other until enough processes were killed.

    Args:
        kills: how many.
        seed: of everything.
        market: where the candles come from.
    """

    def __init__(self, kills: int, seed: int, market: Histories) -> None:
        self.wanted = kills
        self.chance = Random(seed)
        self.market = market
        self.tally = Tally()
        self._pace = Pace()

    def run(self) -> dict[str, Any]:
        """Kill; the figures."""
        folder = Path(tempfile.mkdtemp(prefix="campaign-kill-"))
        try:
            while self.tally.kills < self.wanted:
                self._world(folder / f"world-{self.tally.worlds}.db")
                self.tally.worlds += 1
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return self.tally.document(self.market.label, self._pace.seconds)

    def _world(self, path: Path) -> None:
        candles = self.market.stretch(self.chance, CANDLES)
        some = next(iter(candles.values()))
        step = some.timeframe.delta
        begins_at = some.first_opened_at + WARM_UP * step
        world = World(candles, path, begins_at, some.first_opened_at + CANDLES * step,
                      self.chance.getrandbits(32))  # fmt: skip
        gc.collect()
        gc.freeze()  # what is shared with the children is not touched by their collector
        witness = Witness()
        killed_before = self.tally.kills
        while self.tally.kills < self.wanted and world.clock.now() < world.ends_at - 3 * step:
            if self.tally.kills - killed_before >= KILLS_PER_WORLD:
                break
            _Life(world, witness, self.tally).run(self._death())
            self._downtime(world)
            self._pace.tell(
                f"{self.tally.kills} of {self.wanted} kills, worlds {self.tally.worlds}, "
                f"faults {len(self.tally.findings.words)}"
            )
        # A last life that nobody ends: what was in doubt is cleared up by then.
        world.ends_at = world.clock.now() + 2 * step
        _Life(world, witness, self.tally).run(None)
        self._check_journal(path)
        gc.unfreeze()

    def _death(self) -> int:
        """At which point the next life ends: often while recovering, often far later."""
        return self.chance.randint(1, self.chance.choice((12, 60, 200, 600)))

    def _downtime(self, world: World) -> None:
        span = self.chance.choice((1, 5, 30, 90, 900, 20_000))
        later = world.clock.now() + timedelta(seconds=self.chance.uniform(0, span))
        world.clock.sleep_until(min(later, world.ends_at))

    def _check_journal(self, path: Path) -> None:
        with SqliteJournal.reader(path, BOOK) as journal:
            checked = JournalCheck("USD", LIMITS).read(journal.events()).report()
            self.tally.problems += [f"{p.number}: {p.what}" for p in checked.problems]
            for kind, count in _kinds(journal):
                self.tally.seen[kind] += count


def _kinds(journal: SqliteJournal) -> Iterator[tuple[str, int]]:
    """What happened in a world: that a campaign met everything it is about."""
    partial: Counter[str] = Counter()
    for _, event in journal.events():
        kind = type(event).__name__
        yield kind, 1
        purpose = getattr(event, "purpose", None)
        if kind == "OrderFilled":
            fill = event.fill  # type: ignore[union-attr]
            partial[fill.order_id] += 1
            yield f"fills of {purpose} orders", 1
            if partial[fill.order_id] == 2:
                yield "orders filled in parts", 1
        if kind == "OrderEnded" and event.state is OrderState.CANCELLED:  # type: ignore[union-attr]
            yield "orders cancelled", 1


class _Life:
    """One process from its start to its end, seen from the exchange."""

    def __init__(self, world: World, witness: Witness, tally: Tally) -> None:
        self.world = world
        self.witness = witness
        self.tally = tally

    def run(self, dies_at: int | None) -> None:
        """Start it, serve it, bury it."""
        ours, theirs = multiprocessing.Pipe()
        pid = os.fork()
        if pid == 0:
            ours.close()
            live(self.world, theirs, self.world.clock.now(), dies_at)
        theirs.close()
        self.tally.lives += 1
        try:
            while True:
                self._serve(ours.recv(), ours)
        except (EOFError, OSError):
            pass
        finally:
            ours.close()
            _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            self.tally.kills += 1

    def _serve(self, message: tuple[Any, ...], pipe: Any) -> None:
        match message:
            case ("wire", now, request):
                self.world.clock.sleep_until(now)
                pipe.send(self.world.wire.handle(*request))
            case ("alarm", now, question):
                self.world.clock.sleep_until(now)
                pipe.send(self.world.exchange.alarm(*question))
            case ("recovered", now, seconds):
                self.tally.recoveries_s.append(seconds)
                self._compare(now)
                pipe.send(None)
            case ("end", now, _):
                self._compare(now)
                pipe.send(None)
            case ("point", now, name):
                self.world.clock.sleep_until(now)
                self.tally.points[name] += 1
            case ("troubles", troubles):
                self.tally.troubles.update(troubles)
            case ("uncaught", text):
                self.tally.uncaught.append(text)

    def _compare(self, now: datetime) -> None:
        self.world.clock.sleep_until(now)
        with SqliteJournal.reader(self.world.journal_path, BOOK) as journal:
            self.witness.read(journal.events(self.witness.seen))
        self.tally.findings.add(self.witness.compare(self.world.exchange, now))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--kills", default=1000, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=1, show_default=True)
@click.option("--candles", type=click.Path(exists=True, path_type=Path), help=CANDLES_HELP)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def main(kills: int, seed: int, candles: Path | None, as_json: bool) -> None:
    """Kill the trading process at every kind of write, send and receive."""
    market = histories(candles, seed)
    progress(f"{kills} kills, seed {seed}, on {market.label}")
    show(Campaign(kills, seed, market).run(), as_json=as_json)


if __name__ == "__main__":
    main()
