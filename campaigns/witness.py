"""Does the journal tell what happened at the exchange? Counted again from both, from nothing.

It shares no bookkeeping with the executor or the portfolio: the journal's events and the
exchange's own records are all it looks at.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from trader.domain.events import (
    CashAdjusted,
    Event,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    OrderUnclear,
    TradeApproved,
)
from trader.domain.markets import Pair
from trader.domain.order_life import DIED_SENDING
from trader.domain.orders import Fill, OrderType, Purpose, Side
from trader.exchanges.sandbox import SandboxExchange
from trader.simulation.orders import OrderRecord

ZERO, CENT = Decimal(0), Decimal("0.01")
DOUBT = timedelta(seconds=70)
"""An order without a clear answer must be cleared up by then; until then nothing can be done."""


@dataclass(slots=True)
class Findings:
    """What is wrong, and examples of it in words."""

    lost: int = 0
    doubled: int = 0
    unprotected: int = 0
    ledger_difference: Decimal = ZERO
    words: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Nothing is."""
        return not (self.lost or self.doubled or self.unprotected or self.ledger_difference)

    def add(self, other: Findings) -> None:
        """Take another's findings in."""
        self.lost += other.lost
        self.doubled += other.doubled
        self.unprotected += other.unprotected
        self.ledger_difference = max(self.ledger_difference, other.ledger_difference)
        self.words += other.words


class Witness:
    """What one journal says, read on as it grows.

    Args:
        quote: currency of the account.
        transfers: what is really moved in and out by hand: asset → sum, the first deposit left
            out. Only so much may be journalled as such.
    """

    def __init__(self, quote: str = "USD", transfers: Mapping[str, Decimal] | None = None) -> None:
        self.quote = quote
        self.transfers: dict[str, Decimal] = dict(transfers or {})
        self.seen = 0
        self.intents: dict[str, OrderIntended] = {}
        self.fills: dict[str, Fill] = {}
        self.waiting: dict[str, datetime] = {}
        self.live: dict[str, str] = {}
        self._told: Counter[str] = Counter()
        self._begun_at: datetime | None = None
        self._adjusted: dict[str, Decimal] = defaultdict(lambda: ZERO)
        self._unexplained: dict[str, Decimal] = defaultdict(lambda: ZERO)
        self._own: dict[Pair, Decimal] = defaultdict(lambda: ZERO)
        self._held: dict[str, Decimal] = defaultdict(lambda: ZERO)
        self._trades_seen = 0
        self._records_seen = 0
        self._sent: Counter[str] = Counter()
        self._entries: defaultdict[tuple[Pair, datetime], list[OrderRecord]] = defaultdict(list)
        self.plans: dict[tuple[Pair, datetime], Decimal] = {}

    def read(self, events: Iterable[tuple[int, Event]]) -> None:
        """Take in numbered events, oldest first."""
        for number, event in events:
            self.seen = number
            match event:
                case TradeApproved(approval=plan) if plan.patience is not None:
                    self.plans[plan.pair, plan.closed_at] = plan.quantity
                case OrderIntended(at=at, request=request):
                    self.intents[request.order_id] = event
                    self.waiting[request.order_id] = at
                case OrderAccepted(order_id=key, exchange_id=exchange_id):
                    self.waiting.pop(key, None)
                    self.live[key] = exchange_id
                case OrderUnclear(at=at, order_id=key, reason=reason):
                    # When a killed process sent it, or whether it hung before that, nobody knows:
                    # the doubt begins with the process that finds it.
                    if reason == DIED_SENDING:
                        self.waiting[key] = at
                    self.waiting.setdefault(key, at)
                case OrderRefused(order_id=key) | OrderEnded(order_id=key):
                    self.waiting.pop(key, None)
                    self.live.pop(key, None)
                case OrderFilled(fill=fill):
                    self._fill(fill)
                case CashAdjusted():
                    self._adjust(event)

    def _fill(self, fill: Fill) -> None:
        self._told[fill.trade_id] += 1
        self.fills[fill.trade_id] = fill
        buying = fill.side is Side.BUY
        moved = fill.quantity if buying else -fill.quantity
        self._own[fill.pair] += moved
        self._held[fill.pair.base] += moved
        self._held[self.quote] += -fill.cost_quote if buying else fill.cost_quote
        self._held[self.quote] -= fill.fee_quote

    def _adjust(self, event: CashAdjusted) -> None:
        self._adjusted[event.asset] += event.amount
        if self._begun_at is None:
            self._begun_at = event.at
        if event.at == self._begun_at:
            return  # the first deposit
        if event.asset != self.quote or abs(event.amount) >= CENT:
            self._unexplained[event.asset] += event.amount

    # -- against the exchange --------------------------------------------------------------

    def compare(self, exchange: SandboxExchange, now: datetime) -> Findings:
        """What the journal and the exchange disagree on, and what stands without a stop."""
        found = Findings()
        self._look_for_strange_orders(found, exchange)
        self._look_for_fills(found, exchange)
        self._look_for_forgotten_orders(found, exchange)
        self._look_for_stops(found, exchange, now)
        self._look_at_money(found, exchange)
        return found

    def _look_for_strange_orders(self, found: Findings, exchange: SandboxExchange) -> None:
        orders = list(exchange.engine.orders.values())
        for record in orders[self._records_seen :]:
            key = record.spec.client_id
            if not key:
                continue
            self._sent[key] += 1
            if self._sent[key] > 1:
                found.doubled += 1
                found.words.append(f"order {key} was placed twice")
            intent = self.intents.get(key)
            if intent is None:
                found.lost += 1
                found.words.append(f"order {key} was sent and never written down")
            elif intent.purpose is Purpose.ENTRY:
                self._count_entry(found, record, intent.decided_for)
        self._records_seen = len(orders)

    def _count_entry(self, found: Findings, record: OrderRecord, decided_for: datetime) -> None:
        """Each decision buys once; one that waits as a maker in parts, never more than planned."""
        pair = record.spec.pair
        sent = self._entries[pair, decided_for]
        sent.append(record)
        open_too = {"pending", "open"}
        bought = sum((r.quantity if r.status in open_too else r.filled for r in sent), ZERO)
        planned = self.plans.get((pair, decided_for))
        if len(sent) > 1 if planned is None else bought > planned:
            found.doubled += 1
            found.words.append(f"{pair} was bought again for the candle {decided_for}")

    def _look_for_fills(self, found: Findings, exchange: SandboxExchange) -> None:
        trades = exchange.engine.trades
        missing = [
            t.id for t in trades[self._trades_seen :] if t.client_id and t.id not in self.fills
        ]
        found.lost += len(missing)
        found.words += [f"fill {trade_id} is not in the journal" for trade_id in missing]
        self._trades_seen = len(trades)
        for trade_id in [key for key, times in self._told.items() if times > 1]:
            found.doubled += 1
            found.words.append(f"fill {trade_id} was booked {self._told.pop(trade_id)} times")
        for pair, amount in self._own.items():
            # What was sold of the user's own coins by hand cannot be told apart: only a campaign
            # without hand trades may ask this.
            if amount < 0 and not self.transfers:
                found.doubled += 1
                found.words.append(f"{-amount} {pair.base} more were sold than bought")

    def _look_for_forgotten_orders(self, found: Findings, exchange: SandboxExchange) -> None:
        for record in exchange.engine.open_orders:
            key = record.spec.client_id
            if key and key not in self.live and key not in self.waiting:
                found.lost += 1
                found.words.append(f"order {key} lives and the journal calls it over")
        for key, exchange_id in self.live.items():
            if key not in self.waiting and not exchange.engine.orders[exchange_id].is_open:
                found.lost += 1
                found.words.append(f"order {key} is over and the journal calls it open")

    def _look_for_stops(self, found: Findings, exchange: SandboxExchange, now: datetime) -> None:
        for pair, quantity in self._own.items():
            rules = exchange.market_rules(pair)
            sales = [
                r
                for r in exchange.engine.open_orders
                if r.spec.pair == pair and r.spec.side is Side.SELL
            ]
            covered = sum((r.quantity - r.filled for r in sales), ZERO)
            bare = rules.quantity_down(quantity - covered)
            price = exchange.ticker(pair).last
            if bare < rules.order_minimum or bare * price < rules.cost_minimum * 2:
                continue
            doubts = [
                since
                for key, since in self.waiting.items()
                if self.intents[key].request.pair == pair
            ]
            if any(now - since <= DOUBT for since in doubts):
                continue
            found.unprotected += 1
            stops = [r for r in sales if r.spec.type is OrderType.STOP_LOSS]
            found.words.append(
                f"{bare} of {quantity} {pair.base} have no stop ({len(stops)} stops)"
            )

    def _look_at_money(self, found: Findings, exchange: SandboxExchange) -> None:
        account = exchange.engine.account
        for asset in {*account.assets(), *self._held, *self._adjusted}:
            told = self._held[asset] + self._adjusted[asset]
            difference = account.total(asset) - told
            false = self._unexplained[asset] - self.transfers.get(asset, ZERO)
            wrong = abs(difference) + abs(false)
            if asset != self.quote:
                pair = Pair(asset, self.quote)
                wrong *= exchange.ticker(pair).last
            wrong = wrong.quantize(CENT)
            if wrong:
                found.ledger_difference += wrong
                found.words.append(
                    f"{asset}: {account.total(asset)} at the exchange, {told} in the journal, "
                    f"{false} adjusted without cause"
                )
