"""Balances, holds and the ledger of one simulated account.

Every amount is booked in the asset's own decimals, half to even, as Kraken does: what is bought
in finer lots than the asset is booked in is not always there to the last digit.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal

from trader.domain.errors import InsufficientFunds
from trader.domain.markets import FeeRates, MarketRules, Pair, unit_of
from trader.simulation.costs import STABLE_BASES, Costs
from trader.simulation.orders import ZERO, LedgerEntry, OrderRecord, TradeRecord, record_id
from trader.simulation.path import from_us

MONTH_US = 30 * 86_400_000_000
UNKNOWN_DECIMALS = 8


class Account:
    """What belongs to whom is one person's here.

    Args:
        rules: the markets, for the decimals of their assets.
        costs: the fees.
        seed: of the ids.
    """

    def __init__(self, rules: Mapping[Pair, MarketRules], costs: Costs, seed: int) -> None:
        self.ledger: list[LedgerEntry] = []
        self.forgotten = 0
        self._costs = costs
        self._seed = seed
        self._units = _units_of(rules)
        self._balances: dict[str, Decimal] = {}
        self._held: dict[str, Decimal] = {}
        self._volumes: deque[tuple[int, Decimal]] = deque()
        self._volume = ZERO

    def restore(
        self,
        ledger: Iterable[LedgerEntry],
        orders: Iterable[OrderRecord],
        trades: Iterable[TradeRecord],
    ) -> None:
        """Take over what was stored; `orders` are the open ones."""
        self.ledger = list(ledger)
        self.forgotten = 0
        self._balances = {entry.asset: entry.balance for entry in self.ledger}
        self._held = {}
        for record in orders:
            if record.held:
                self._held[record.held_asset] = self.held(record.held_asset) + record.held
        self._volumes, self._volume = deque(), ZERO
        for trade in trades:
            self.count_volume(trade.pair, trade.at, trade.cost)

    @property
    def entries_made(self) -> int:
        """How many entries there were in all, those forgotten included."""
        return self.forgotten + len(self.ledger)

    def forget(self, before: int) -> list[LedgerEntry]:
        """Let go of the entries before a moment, and hand them over; balances stay."""
        number = bisect_left(self.ledger, before, key=lambda entry: entry.at)
        gone = self.ledger[:number]
        del self.ledger[:number]
        self.forgotten += number
        return gone

    def total(self, asset: str) -> Decimal:
        """Balance, held part included."""
        return self._balances.get(asset, ZERO)

    def held(self, asset: str) -> Decimal:
        """Part of the balance bound by open orders."""
        return self._held.get(asset, ZERO)

    def available(self, asset: str) -> Decimal:
        """What a new order may use."""
        return self.total(asset) - self.held(asset)

    def assets(self) -> tuple[str, ...]:
        """Every asset that was ever held, in the order of the first movement."""
        return tuple(self._balances)

    def deposit(self, asset: str, amount: Decimal, at: int) -> LedgerEntry:
        """Bring money in, or take it out with a negative amount.

        Raises:
            InsufficientFunds: if more is taken out than is free.
        """
        if amount + self.available(asset) < 0:
            raise InsufficientFunds(f"only {self.available(asset)} {asset} are free")
        kind = "deposit" if amount >= 0 else "withdrawal"
        refid = record_id("F", self._seed, self.entries_made + 1)
        return self.book(asset, amount, ZERO, at, kind, refid)

    def book(
        self, asset: str, amount: Decimal, fee: Decimal, at: int, kind: str, refid: str
    ) -> LedgerEntry:
        """Move a balance by amount − fee."""
        amount, fee = self.rounded(asset, amount), self.rounded(asset, fee)
        balance = self.total(asset) + amount - fee
        self._balances[asset] = balance
        entry_id = record_id("L", self._seed, self.entries_made + 1)
        entry = LedgerEntry(entry_id, refid, at, kind, asset, amount, fee, balance)
        self.ledger.append(entry)
        return entry

    def rounded(self, asset: str, amount: Decimal) -> Decimal:
        """An amount in the asset's decimals."""
        unit = self._units.get(asset)
        return amount.quantize(unit or unit_of(UNKNOWN_DECIMALS), ROUND_HALF_EVEN)

    def hold(self, record: OrderRecord, asset: str, amount: Decimal) -> None:
        """Bind money for an order, no more than is free."""
        amount = min(amount, self.available(asset))
        record.held_asset, record.held = asset, amount
        self._held[asset] = self.held(asset) + amount

    def release(self, record: OrderRecord) -> None:
        """Free what an order held."""
        if record.held:
            self._held[record.held_asset] -= record.held
            record.held = ZERO

    def count_volume(self, pair: Pair, at: int, cost: Decimal) -> None:
        """Add a trade to the volume that decides the fee tier; stablecoins do not count."""
        if pair.base not in STABLE_BASES:
            self._volumes.append((at, cost))
            self._volume += cost

    def volume_30d(self, at: int) -> Decimal:
        """Traded in the last 30 days, in quote."""
        while self._volumes and self._volumes[0][0] <= at - MONTH_US:
            self._volume -= self._volumes.popleft()[1]
        return self._volume

    def rates(self, pair: Pair, at: int) -> FeeRates:
        """Fees in force for the account."""
        volume = self.volume_30d(at) if self._costs.tiers_by_volume else ZERO
        return self._costs.rates(from_us(at).date(), pair.base, volume)


def _units_of(rules: Mapping[Pair, MarketRules]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for pair, rule in rules.items():
        found[pair.base] = unit_of(rule.base_decimals)
        found[pair.quote] = unit_of(rule.quote_decimals)
    return found
