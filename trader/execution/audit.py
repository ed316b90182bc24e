"""The exchange's balances compared with ours to the last decimal, and differences booked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from trader.domain.events import ROUNDING, CashAdjusted, Event
from trader.domain.markets import Balance
from trader.execution.desk import OrderDesk
from trader.execution.sizes import ZERO

_CENT = Decimal("0.01")


class AccountAudit:
    """Compares accounts; what is not ours to explain becomes a `CashAdjusted`.

    Attributes:
        due: whether a comparison had to be put off, for a doubt or for fills still missing.
    """

    def __init__(self, desk: OrderDesk) -> None:
        self.due = False
        self._desk = desk
        self._begun = False
        desk.follow(self._follow)

    def _follow(self, event: Event) -> None:
        if isinstance(event, CashAdjusted):
            self._begun = True

    def compare(self, now: datetime) -> list[str]:
        """Journal the differences; what they were, in words.

        While it is not known of an order whether it arrived, or fills are still missing, nothing
        can be said and nothing is done. A difference that no rounding explains is believed when a
        second look shows the same: an answer out of some cache must not take away what a position
        stands on. The first deposit is no difference.
        """
        before: dict[str, Decimal] | None = None
        for _ in range(4):
            fills = self._desk.orders.fill_count
            balances = self._desk.exchange.balances()
            complete = self._desk.sync(now, thorough=True)
            if fills != self._desk.orders.fill_count:
                continue
            self.due = not complete or (self._begun and self._desk.any_in_doubt())
            if self.due:
                return []
            found = self._differences(balances)
            if found == before or not self._begun or all(map(self._is_rounding, found.items())):
                return self._adjust(found, now)
            before = found
        return []

    def _differences(self, balances: Mapping[str, Balance]) -> dict[str, Decimal]:
        """Asset → what the exchange has more than we know of."""
        portfolio = self._desk.portfolio
        expected = portfolio.holdings()
        found = {}
        for asset in sorted({portfolio.quote, *balances, *expected}):
            actual = balances[asset].total if asset in balances else ZERO
            amount = actual - expected.get(asset, ZERO)
            if amount or (not self._begun and asset == portfolio.quote):
                found[asset] = amount
        return found

    def _is_rounding(self, difference: tuple[str, Decimal]) -> bool:
        asset, amount = difference
        return asset == self._desk.portfolio.quote and abs(amount) < _CENT

    def _adjust(self, differences: Mapping[str, Decimal], now: datetime) -> list[str]:
        first = not self._begun
        notes = []
        for asset, amount in differences.items():
            if first:
                at_quote = asset == self._desk.portfolio.quote
                reason = "first deposit" if at_quote else "held before the first start"
            elif self._is_rounding((asset, amount)):
                reason = ROUNDING
            else:
                reason = "a transfer or a trade by hand"
                notes.append(f"{amount:+f} {asset} at the exchange: {reason}")
            self._desk.record(CashAdjusted(now, asset, amount, reason))
        return notes
