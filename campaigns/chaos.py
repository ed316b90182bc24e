"""Order after order through an exchange that fails all the time, in every way it knows.

`python -m campaigns.chaos --intents 100000 --fault-rate 0.2 --seed 1 --json`
"""

from __future__ import annotations

import math
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import click

from campaigns.markets import CANDLES_HELP, Histories, histories
from campaigns.mortal import CASH, COSTS
from campaigns.output import Pace, progress, show
from campaigns.restless import eventful
from campaigns.witness import Findings, Witness
from kraken_client import KrakenClient
from trader.clocks import ManualClock
from trader.domain.candles import Candles
from trader.domain.errors import ExchangeError
from trader.domain.events import OrderIntended
from trader.domain.markets import Pair
from trader.domain.orders import OrderType, Side
from trader.domain.portfolio import Portfolio
from trader.domain.signals import Approval
from trader.exchanges.faults import FaultRule, FaultyWire
from trader.exchanges.feeds.replay import ReplayFeed
from trader.exchanges.kraken_nonces import MemoryNonces
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire
from trader.exchanges.wire.keys import ApiKey
from trader.reports.journal_check import JournalCheck
from trader.storage.journal import MemoryJournal
from trading_executor import TradingExecutor

CANDLES = 200
ZERO, ONE = Decimal(0), Decimal(1)
RESTART_EVERY = 400
"""Moves between two restarts of the program under test."""


@dataclass(slots=True)
class Tally:
    """What a campaign has seen."""

    intents: int = 0
    fills: int = 0
    restarts: int = 0
    worlds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)
    uncaught: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)

    def document(self, label: str, seconds: float) -> dict[str, Any]:
        """The figures."""
        found = self.findings
        return {
            "intents": self.intents,
            "fills": self.fills,
            "lost": found.lost,
            "doubled": found.doubled,
            "uncaught": len(self.uncaught),
            "faults": dict(sorted(self.faults.items())),
            "unprotected": found.unprotected,
            "ledger_difference": str(found.ledger_difference),
            "journal_problems": len(self.problems),
            "restarts": self.restarts,
            "worlds": self.worlds,
            "prices": label,
            "seconds": round(seconds, 1),
            "calls_given_up": dict(self.refusals.most_common(20)),
            "examples": (found.words + self.uncaught + self.problems)[:20],
        }


class StormyWorld:
    """An exchange that fails, and an executor that has to live with it.

    Args:
        candles: the market.
        seed: of everything.
        fault_rate: share of all requests that meet a fault.
    """

    def __init__(self, candles: Mapping[Pair, Candles], seed: int, fault_rate: float) -> None:
        some = next(iter(candles.values()))
        self.pairs = tuple(candles)
        self.chance = Random(seed)
        self.clock = ManualClock(some.first_opened_at + some.timeframe.delta)
        self.ends_at = some.closed_at - timedelta(days=1)
        self.exchange = SandboxExchange(
            ReplayFeed(candles), self.clock, balances={"USD": CASH}, costs=COSTS, seed=seed
        )
        self.key = ApiKey.generate()
        self.wire = FaultyWire(
            KrakenWire(self.exchange, [self.key]), [FaultRule(fault_rate)], seed=seed
        )
        # Nonces outlive the program under test, as the file does in which the real ones are kept.
        self.nonces = MemoryNonces()
        self.journal = MemoryJournal()
        self.executor = self.new_executor()

    def new_executor(self) -> TradingExecutor:
        """As a fresh process has it, nothing replayed yet."""
        client = KrakenClient(
            self.key.key, self.key.secret, url="http://sandbox", now=self.clock.now,
            handler=self.wire, nonces=self.nonces, metadata_s=math.inf,
            seed=self.chance.getrandbits(32),
            sleep=lambda s: self.forward(seconds=s),
        )  # fmt: skip
        return TradingExecutor(client, self.journal, Portfolio("USD"), clock=self.clock)

    @property
    def now(self) -> datetime:
        """The world's time."""
        return self.clock.now()

    def forward(self, **span: float) -> None:
        """Let time pass."""
        self.clock.sleep_until(self.now + timedelta(**span))

    # -- what can be done ------------------------------------------------------------------

    def move(self) -> None:
        """One thing a bot does."""
        pair = self.chance.choice(self.pairs)
        held = self.executor.portfolio.position(pair)
        roll = self.chance.random()
        if held is None or roll < 0.35:
            self._buy(pair)
        elif roll < 0.65:
            self._sell(pair, held.quantity)
        elif roll < 0.7:
            self.executor.stand_down(self.now, "campaign", flatten=self.chance.random() < 0.5)
        elif roll < 0.85:
            self.executor.expire_entries(pair, self.now, self.now)
        else:
            self.executor.audit(self.now)
        self.executor.settle(self.now)

    def _buy(self, pair: Pair) -> None:
        price = self.exchange.ticker(pair).last
        money = self.executor.portfolio.cash * Decimal(
            repr(round(self.chance.uniform(0.01, 0.3), 4))
        )
        self._carry_out(pair, Side.BUY, money / price, price)

    def _sell(self, pair: Pair, held: Decimal) -> None:
        share = ONE if self.chance.random() < 0.5 else Decimal(self.chance.randint(1, 9)) / 10
        self._carry_out(pair, Side.SELL, held * share, self.exchange.ticker(pair).last)

    def _carry_out(self, pair: Pair, side: Side, quantity: Decimal, price: Decimal) -> None:
        rules = self.exchange.market_rules(pair)
        plan = Approval(
            pair, self.now, side, OrderType.MARKET, rules.quantity_down(quantity), price,
            None, None, None, ZERO, ZERO, None, ("the dice say so",),
        )  # fmt: skip
        if plan.quantity >= rules.order_minimum:
            self.executor.carry_out(eventful(plan, self.chance, rules), self.now)

    def restart(self) -> None:
        """The program begins again from its journal; while the exchange fails, so may the start.

        Raises:
            ExchangeError: if the exchange could not be asked, even the tenth time.
        """
        for attempt in range(10):
            self.executor = self.new_executor()
            self.executor.restore()
            try:
                self.executor.reconcile(self.now)
                return
            except ExchangeError:
                if attempt == 9:
                    raise
                self.forward(seconds=5)

    def calm(self) -> None:
        """The weather clears: a fresh start, and time for every doubt to be settled."""
        self.wire.active = False
        self.restart()
        for _ in range(3):
            self.forward(minutes=3)
            self.executor.settle(self.now)
            self.executor.audit(self.now)
        self.executor.settle(self.now)


class Campaign:
    """One world after the other until there were enough intents.

    Args:
        intents: orders written down.
        fault_rate: share of all requests that meet a fault.
        seed: of everything.
        market: where the candles come from.
    """

    def __init__(self, intents: int, fault_rate: float, seed: int, market: Histories) -> None:
        self.wanted = intents
        self.fault_rate = fault_rate
        self.chance = Random(seed)
        self.market = market
        self.tally = Tally()
        self._pace = Pace()

    def run(self) -> dict[str, Any]:
        """Trade through the storm; the figures."""
        while self.tally.intents < self.wanted:
            self._world()
            self.tally.worlds += 1
        return self.tally.document(self.market.label, self._pace.seconds)

    def _world(self) -> None:
        tally = self.tally
        candles = self.market.stretch(self.chance, CANDLES)
        world = StormyWorld(candles, self.chance.getrandbits(32), self.fault_rate)
        before, moves = tally.intents, 0
        self._attempt(world.restart)
        while tally.intents < self.wanted and world.now < world.ends_at:
            world.forward(seconds=self.chance.choice((1, 20, 100, 400, 1500)))
            self._attempt(world.move)
            moves += 1
            if moves % RESTART_EVERY == 0:
                tally.restarts += 1
                self._attempt(world.restart)
            if moves % 50 == 0:
                tally.intents = before + world.executor.orders.intent_count
            self._pace.tell(
                f"{tally.intents} of {self.wanted} intents, worlds {tally.worlds}, "
                f"faults found {len(tally.findings.words) + len(tally.uncaught)}"
            )
        self._attempt(world.calm)
        tally.intents = before
        known = len(tally.findings.words), len(tally.uncaught), len(tally.problems)
        self._count(world)
        for words, seen in zip((tally.findings.words, tally.uncaught, tally.problems), known,
                               strict=True):  # fmt: skip
            for text in words[seen:]:
                progress(f"world {tally.worlds}: {text}")

    def _attempt(self, action: Callable[[], object]) -> None:
        """Do it; what the exchange does is no fault of the program, anything else is."""
        try:
            action()
        except ExchangeError as fault:
            self.tally.refusals[fault.category] += 1
        except Exception:  # noqa: BLE001 - counting these is what the campaign is for
            self.tally.uncaught.append(traceback.format_exc())

    def _count(self, world: StormyWorld) -> None:
        tally, witness = self.tally, Witness()
        witness.read(world.journal.events())
        tally.findings.add(witness.compare(world.exchange, world.now))
        checked = JournalCheck("USD").read(world.journal.events()).report()
        tally.problems += [f"{p.number}: {p.what}" for p in checked.problems]
        tally.intents += sum(isinstance(e, OrderIntended) for _, e in world.journal.events())
        tally.fills += len(witness.fills)
        tally.faults.update(world.wire.struck)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--intents", default=5000, show_default=True, type=click.IntRange(1))
@click.option("--fault-rate", default=0.2, show_default=True, type=click.FloatRange(0, 0.9))
@click.option("--seed", default=1, show_default=True)
@click.option("--candles", type=click.Path(exists=True, path_type=Path), help=CANDLES_HELP)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def main(intents: int, fault_rate: float, seed: int, candles: Path | None, as_json: bool) -> None:
    """Send orders through an exchange that fails: each filled once, none lost."""
    market = histories(candles, seed)
    progress(f"{intents} intents, {fault_rate:.0%} faults, seed {seed}, on {market.label}")
    show(Campaign(intents, fault_rate, seed, market).run(), as_json=as_json)


if __name__ == "__main__":
    main()
