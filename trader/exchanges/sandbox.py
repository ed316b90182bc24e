"""An exchange in the box: simulated fills on a feed's prices, as much of them as the clock allows.

`SandboxExchange` is an `Exchange` of `trader.ports` and shows in addition the full records that a
server of Kraken's wire format needs. Each call first lets the market run up to the clock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from trader.domain.candles import Candle, Candles, Timeframe
from trader.domain.errors import (
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
    TraderError,
    Unreachable,
    UsageError,
)
from trader.domain.markets import (
    Balance,
    BookLevel,
    FeeRates,
    MarketRules,
    OrderBook,
    Pair,
    PublicTrade,
    Ticker,
)
from trader.domain.orders import Fill, Order, OrderRequest, OrderState, OrderType, Side
from trader.exchanges.account_store import AccountStore
from trader.exchanges.feeds.base import US, Feed
from trader.exchanges.markets import Market, market, markets
from trader.ports import Clock
from trader.simulation.book import book_around, levels, ticker_around, trades_in, with_own
from trader.simulation.costs import Costs, market_impact, range_volatility
from trader.simulation.matching import ID_TAKEN, MatchingEngine, Past
from trader.simulation.orders import (
    TRIGGERED_TYPES,
    LedgerEntry,
    OrderRecord,
    OrderSpec,
    TradeRecord,
)
from trader.simulation.path import first_touch, from_us, to_us
from trader.simulation.waiting import INFINITE

NEWEST = 720
_STATES = {
    "pending": OrderState.OPEN,
    "open": OrderState.OPEN,
    "closed": OrderState.FILLED,
    "canceled": OrderState.CANCELLED,
    "expired": OrderState.EXPIRED,
}


class SandboxExchange:
    """A spot exchange with one account, in this process.

    Args:
        feed: where prices come from.
        clock: how far the market has run.
        balances: what the account begins with; asset → amount.
        costs: fees, slippage, share of the volume.
        seed: of ids and made-up book quantities.
        stops_hold: whether resting stops hold their funds.
        directory: where the account is kept; without it the account ends with this object. An
            account found there is continued, and `balances` do not count then.

    Raises:
        JournalError: if a stored account is damaged.
    """

    name = "sandbox"

    def __init__(
        self,
        feed: Feed,
        clock: Clock,
        *,
        balances: Mapping[str, Decimal] | None = None,
        costs: Costs | None = None,
        seed: int = 0,
        stops_hold: bool = True,
        directory: Path | None = None,
    ) -> None:
        self.feed = feed
        self.costs = costs or Costs()
        self.seed = seed
        self.halted = False
        self._books: dict[Pair, tuple[object, OrderBook]] = {}
        self._clock = clock
        self._lock = threading.RLock()
        self._held = threading.local()
        self._markets: dict[Pair, Market] = {p: market(p) for p in feed.pairs if p in markets()}
        now = to_us(clock.now())
        self.engine = MatchingEngine(
            {pair: found.rules for pair, found in self._markets.items()},
            self.costs,
            seed=seed,
            now=now,
            stops_hold=stops_hold,
            levels=self._levels if self.costs.walks_book else None,
            impact=self._impact if self.costs.impact else None,
        )
        self._store = None if directory is None else AccountStore(directory)
        self._stored_at = 0
        begin = {"USD": Decimal(10_000)} if balances is None else balances
        with self._session():
            if not self.engine.account.ledger:
                for asset, amount in begin.items():
                    self.engine.account.deposit(asset, amount, now)

    # ---- market data

    @property
    def markets(self) -> Mapping[Pair, Market]:
        """The markets of this exchange, with Kraken's names."""
        return self._markets

    def server_time(self) -> datetime:
        """The exchange's clock."""
        return self._now()

    @contextmanager
    def at_one_moment(self) -> Iterator[datetime]:
        """Everything this thread asks inside happens at the moment of entering.

        An answer made of several looks at a fast market is of one piece then.
        """
        self._held.moment = self._clock.now()
        try:
            yield self._held.moment
        finally:
            self._held.moment = None

    def market_rules(self, pair: Pair) -> MarketRules:
        """Tick, lot and minima."""
        return self._market(pair).rules

    def fee_rates(self, pair: Pair) -> FeeRates:
        """What this account pays on the pair now."""
        self._market(pair)
        with self._session() as at:
            return self.engine.account.rates(pair, at)

    def candles(self, pair: Pair, timeframe: Timeframe, since: datetime | None = None) -> Candles:
        """The newest closed candles, at most 720, and only from `since` on if it is given."""
        self._market(pair)
        newest = self.feed.history(pair, timeframe, self._now(), NEWEST)
        return newest if since is None else newest.between(since, None)

    def forming(self, pair: Pair, timeframe: Timeframe) -> Candle | None:
        """The candle still open."""
        self._market(pair)
        return self.feed.forming(pair, timeframe, self._now())

    def ticker(self, pair: Pair) -> Ticker:
        """Best prices and last trade.

        Raises:
            Unreachable: before the first price of the pair.
        """
        rules = self.market_rules(pair)
        now = self._now()
        real = self.feed.ticker(pair, now)
        if real is not None:
            return real
        return ticker_around(pair, now, self._last(pair, now), self.costs.slippage, rules)

    def order_book(self, pair: Pair, depth: int = 25) -> OrderBook:
        """The best levels of both sides, with what is shown of the account's own orders.

        Where the feed has none they are made up around the price, the same within a second.
        """
        book = self.feed.order_book(pair, depth, self._now())
        if book is None:
            book = self._made_up_book(pair, depth)
        with self._session():
            return with_own(book, self.engine.resting(pair), depth)

    def _made_up_book(self, pair: Pair, depth: int) -> OrderBook:
        """The book around the price; as long as neither it nor the second changes, the same."""
        ticker, rules = self.ticker(pair), self.market_rules(pair)
        volume = self._usual_volume(pair, ticker.at)
        state = int(ticker.at.timestamp()), ticker.bid, ticker.ask, volume, rules, depth
        held = self._books.get(pair)
        if held is None or held[0] != state:
            book = book_around(ticker, volume, rules, depth, self.seed)
            held = self._books[pair] = state, book
        return replace(held[1], at=ticker.at)

    def _usual_volume(self, pair: Pair, now: datetime) -> Decimal:
        """Base traded in an hour, over the newest 24 candles."""
        base = self.feed.base_timeframe(pair)
        volume = self.feed.history(pair, base, now, 24).volume
        if not len(volume):
            return Decimal(1)
        return Decimal(repr(float(volume.mean()) * 3600 / base.seconds))

    def _impact(self, pair: Pair, at: int, quantity: Decimal) -> Decimal:
        """What a taker's own size costs it, from the market of the day before."""
        now, base = from_us(at), self.feed.base_timeframe(pair)
        per_day = 86400 / base.seconds
        day = self.feed.history(pair, base, now, max(1, round(per_day)))
        volatility = range_volatility(day.high, day.low, per_day)
        volume = float(day.volume.mean()) * per_day if len(day) else 0.0
        return market_impact(self.costs.impact, volatility, quantity, volume)

    def _levels(self, pair: Pair, side: Side, at: int, price: Decimal) -> Iterator[BookLevel]:
        """What a taker meets in the made-up book of a moment, be it now or past."""
        now, rules = from_us(at), self.market_rules(pair)
        ticker = ticker_around(pair, now, price, self.costs.slippage, rules)
        return levels(ticker, side, self._usual_volume(pair, now), rules, self.seed)

    def recent_trades(self, pair: Pair, count: int = 50) -> tuple[PublicTrade, ...]:
        """The newest public trades, oldest first; made up along the path where there are none."""
        found = [trade for part in self.recent_parts(pair, count) for trade in part]
        return tuple(found[-count:])

    def recent_parts(self, pair: Pair, count: int) -> list[tuple[PublicTrade, ...]]:
        """The newest public trades, `count` of them or some more, in the pieces they come in.

        The piece of a candle that is over is the same object each time.
        """
        rules = self.market_rules(pair)
        now = self._now()
        real = self.feed.recent_trades(pair, now)
        if real is not None:
            return [real[-count:]]
        at = to_us(now)
        since = now - self.feed.base_timeframe(pair).delta * (2 + count // 16)
        return [
            trades_in(pair, stretch, at, rules, self.seed)
            for stretch in self.feed.stretches(pair, to_us(since), at, INFINITE, -INFINITE)
        ]

    # ---- the account

    def balances(self) -> Mapping[str, Balance]:
        """Asset → balance."""
        with self._session():
            own = self.engine.account
            return {a: Balance(a, own.total(a), own.held(a)) for a in own.assets()}

    def place(self, request: OrderRequest, now: datetime) -> str:
        """Take an order in; its exchange id.

        Raises:
            OrderRejected: if it breaks a rule of the market.
            OutcomeUnknown: if an open order bears its id already.
        """
        spec = OrderSpec(
            request.pair,
            request.side,
            request.type,
            request.quantity,
            request.price,
            post_only=request.post_only,
            client_id=request.order_id,
            flags=("fciq", "post") if request.post_only else ("fciq",),
            self_trade=request.self_trade,
        )
        try:
            return self.submit(spec).id
        except OrderRejected as refusal:
            if refusal.code != ID_TAKEN:
                raise
            # It lives already: sent before, whatever became of the answer.
            raise OutcomeUnknown(refusal.message, refusal.hint) from refusal

    def amend(self, exchange_id: str, request: OrderRequest, now: datetime) -> None:
        """Change quantity and price of an open order in place.

        Raises:
            OrderNotFound: if it is not open.
            OrderRejected: if it would break a rule; the order is as before.
        """
        stops = request.type in TRIGGERED_TYPES
        self.amend_record(
            exchange_id, quantity=request.quantity, limit=None if stops else request.price,
            stop=request.price if stops else None,
        )  # fmt: skip

    def cancel(self, exchange_id: str) -> None:
        """Cancel one order.

        Raises:
            OrderNotFound: if it is not open.
        """
        with self._session() as at:
            self.engine.cancel(exchange_id, at)

    def cancel_all(self) -> int:
        """Cancel every open order; how many."""
        with self._session() as at:
            return self.engine.cancel_all(at)

    def order(self, exchange_id: str) -> Order:
        """One order as it is now.

        Raises:
            OrderNotFound: if there never was one of this id.
        """
        return as_order(self.record(exchange_id))

    def find_order(self, order_id: str, since: datetime) -> Order | None:
        """Look our id up among open orders and those closed since then; the newest."""
        first = to_us(since)
        with self._session():
            found = [
                r
                for r in self.engine.named(order_id)
                if r.closed_at is None or r.closed_at >= first
            ]
            return as_order(found[-1]) if found else None

    def open_orders(self) -> tuple[Order, ...]:
        """Every open order, oldest first."""
        with self._session():
            return tuple(as_order(record) for record in self.engine.open_orders)

    def closed_orders(self, since: datetime) -> tuple[Order, ...]:
        """Orders that ended at or after that moment, in the order of their end."""
        with self._session():
            return tuple(as_order(record) for record in self.engine.ended_since(to_us(since)))

    def fills(self, since: datetime) -> tuple[Fill, ...]:
        """Every fill at or after that moment, oldest first."""
        with self._session():
            return tuple(as_fill(trade) for trade in self.engine.trades_since(to_us(since)))

    # ---- the full records, for the wire

    def submit(self, spec: OrderSpec, *, validate: bool = False) -> OrderRecord:
        """Take in an order with everything Kraken knows about orders.

        Args:
            spec: the order.
            validate: check only.

        Raises:
            OrderRejected: with Kraken's words in `code`.
            UnknownPair: if it is not traded here.
        """
        self._market(spec.pair)
        with self._session() as at:
            price = self.feed.price(spec.pair, at)
            reference = self.feed.last_price(spec.pair, at)
            if self.costs.latency_ms and not validate:
                arrives = at + 1000 * self.costs.latency_ms
                spec = replace(spec, starts_at=max(arrives, spec.starts_at or arrives))
            return self.engine.submit(spec, at, price, reference=reference, validate=validate)

    def amend_record(
        self,
        exchange_id: str,
        *,
        quantity: Decimal | None = None,
        limit: Decimal | None = None,
        stop: Decimal | None = None,
        post_only: bool | None = None,
        display: Decimal | None = None,
    ) -> OrderRecord:
        """Change an open order in place; what is None stays.

        Raises:
            OrderNotFound: if it is not open.
            OrderRejected: if it would break a rule; the order is as before.
        """
        with self._session() as at:
            record = self.engine.orders.get(exchange_id)
            price = None if record is None else self.feed.price(record.spec.pair, at)
            return self.engine.amend(
                exchange_id, at, price,
                quantity=quantity, limit=limit, stop=stop, post_only=post_only, display=display,
            )  # fmt: skip

    def replace(self, exchange_id: str, spec: OrderSpec, *, validate: bool = False) -> OrderRecord:
        """Cancel an open order and take in another in its place; both or neither.

        Raises:
            OrderNotFound: if the old one is not open.
            OrderRejected: if the new one breaks a rule; the old one is as before.
        """
        with self._session() as at:
            price = self.feed.price(spec.pair, at)
            reference = self.feed.last_price(spec.pair, at)
            return self.engine.replace(
                exchange_id, spec, at, price, reference=reference, validate=validate
            )

    def change_rules(self, pair: Pair, **changes: Any) -> MarketRules:
        """Change the rules of a market while it runs, as the real exchange does now and then.

        Args:
            pair: the market.
            changes: fields of `MarketRules` (`status="cancel_only"`, `order_minimum=…`).

        Returns:
            The rules now in force; orders already open are not touched. They last as long as
            this object.
        """
        with self._session():
            found = self._market(pair)
            rules = replace(found.rules, **changes)
            self._markets[pair] = replace(found, rules=rules)
            self.engine.rules[pair] = rules
            return rules

    def halt(self, halted: bool) -> None:
        """Stop matching, or go on: what the price does in between fills nothing."""
        with self._session():
            self.halted = halted

    def cancel_all_at(self, moment: datetime) -> int:
        """Cancel every open order as of a moment that has passed; how many there were then."""
        with self._session(moment) as at:
            return self.engine.cancel_all(at)

    def record(self, exchange_id: str) -> OrderRecord:
        """One order in full.

        Raises:
            OrderNotFound: if there never was one of this id.
        """
        with self._session():
            found = self.engine.orders.get(exchange_id)
            if found is None:
                raise OrderNotFound(f"there is no order {exchange_id}")
            return found

    def records(self) -> tuple[OrderRecord, ...]:
        """All orders ever, oldest first."""
        with self._session():
            return tuple(self.engine.orders.values())

    def open_records(self) -> tuple[OrderRecord, ...]:
        """Open orders in full, oldest first."""
        with self._session():
            return self.engine.open_orders

    def named(self, client_id: str) -> tuple[OrderRecord, ...]:
        """Orders that bear an id of the client's, oldest first."""
        with self._session():
            return self.engine.named(client_id)

    def trades(self) -> tuple[TradeRecord, ...]:
        """All trades of the account, oldest first."""
        with self._session():
            return tuple(self.engine.trades)

    def ledger(self) -> tuple[LedgerEntry, ...]:
        """All movements of the account, oldest first."""
        with self._session():
            return tuple(self.engine.account.ledger)

    def forget(self, before: datetime) -> Past:
        """Let go of orders, trades and entries of long ago, and hand them over.

        Raises:
            UsageError: if the account is kept on disk, which forgets nothing.
        """
        if self._store is not None:
            raise UsageError("an account on disk keeps all it has", "Use one without a directory.")
        with self._session():
            return self.engine.forget(to_us(before))

    def volume_30d(self) -> Decimal:
        """Traded in 30 days, in quote."""
        with self._session() as at:
            return self.engine.account.volume_30d(at)

    @property
    def stored_now(self) -> datetime:
        """The moment the account has reached; after a restart, where it stopped."""
        return from_us(self.engine.now)

    def close(self) -> None:
        """Store the account and let go of its file."""
        if self._store is not None:
            with self._session():
                pass
            self._store.close()

    # ---- for a driver that makes time jump

    def alarm(
        self, now: datetime, until: datetime, targets: Mapping[Pair, Decimal]
    ) -> datetime | None:
        """The first moment in (now, until] at which an order executes or a price is reached.

        A trader never asks this: it is how a clock that jumps from candle to candle knows where
        a loop that looks every few seconds would have woken.

        Args:
            now: the clock's moment.
            until: how far to look.
            targets: prices looked for from below, by pair.
        """
        after, last = to_us(now), to_us(until)
        with self._session():
            moments = [self.engine.next_moment(last, self.feed.stretches)]
        for pair, level in targets.items():
            for stretch in self.feed.stretches(pair, after, last, -INFINITE, float(level)):
                touch = first_touch(stretch, level, rising=True, strict=False, after=after)
                if touch is not None:
                    moments.append(touch[0])
                    break
        found = [moment for moment in moments if moment is not None and after < moment <= last]
        return from_us(min(found)) if found else None

    # ---- inside

    def _now(self) -> datetime:
        held: datetime | None = getattr(self._held, "moment", None)
        return self._clock.now() if held is None else held

    @contextmanager
    def _session(self, moment: datetime | None = None) -> Iterator[int]:
        """One call: the account brought up to the clock, or a moment before, and then stored."""
        with self._lock:
            if self._store is None:
                yield self._advance(moment)
                return
            if self._store.begin():
                state = self._store.load()
                if state is not None:
                    self.engine.restore(state)
            try:
                yield self._advance(moment)
            except TraderError:
                self._save(self._store)
                raise
            except BaseException:
                self._store.rollback()
                raise
            self._save(self._store)

    def _save(self, store: AccountStore) -> None:
        engine, changes = self.engine, self.engine.take_changes()
        moved = abs(engine.now - self._stored_at) >= US
        if changes or moved:
            store.write(changes, engine.now, engine.used)
            self._stored_at = engine.now
        store.commit()

    def _advance(self, moment: datetime | None = None) -> int:
        """Let the market run up to the clock, or to a moment before; that moment."""
        now = self._now()
        self.feed.poll(now)
        at = max(to_us(now if moment is None else moment), self.engine.now)
        if self.halted:
            self.engine.stand_still(at)
        else:
            self.engine.advance(at, self.feed.stretches)
        return at

    def _market(self, pair: Pair) -> Market:
        found = self._markets.get(pair)
        return market(pair) if found is None else found

    def _last(self, pair: Pair, now: datetime) -> Decimal:
        price = self.feed.last_price(pair, to_us(now))
        if price is None:
            raise Unreachable(
                f"{pair} has no price yet at {now:%Y-%m-%d %H:%M} UTC",
                "The feed begins later.",
            )
        return price


def as_order(record: OrderRecord) -> Order:
    """An order record in the program's own words."""
    spec = record.spec
    return Order(
        record.id,
        spec.client_id,
        spec.pair,
        spec.side,
        spec.type,
        record.quantity,
        spec.price if spec.type is not OrderType.MARKET else None,
        _STATES[record.status],
        from_us(record.opened_at),
        None if record.closed_at is None else from_us(record.closed_at),
        record.filled,
        record.average_price,
        record.cost,
        record.fee,
        spec.post_only,
        record.reason,
    )


def as_fill(trade: TradeRecord) -> Fill:
    """A trade record in the program's own words."""
    return Fill(
        trade.id,
        trade.order_id,
        trade.client_id,
        trade.pair,
        trade.side,
        trade.quantity,
        trade.price,
        trade.cost,
        trade.fee,
        trade.liquidity,
        from_us(trade.at),
    )
