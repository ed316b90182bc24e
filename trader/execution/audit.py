"""The exchange's balances compared with ours to the last decimal, and differences booked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from trader.domain.events import ROUNDING, CashAdjusted, Event
from trader.domain.markets import Balance
from trader.execution.desk import OrderDesk
from trader.execution.sizes import ZERO

_SURE_AFTER = timedelta(seconds=30)
"""A difference is believed when it is still there after this time."""
_FAR_BACK = timedelta(days=2)
_BOOKED_AFTER = timedelta(seconds=60)
"""So long after a fill of ours the exchange's balances may still be without it."""
_CENT = Decimal("0.01")
_WHOLE_MONEY = {"BTC": Decimal("0.0000001"), "ETH": Decimal("0.000001")}
"""What rounding can explain in these; in currencies worth about a dollar it is a cent."""


class AccountAudit:
    """Compares accounts; what is not ours to explain becomes a `CashAdjusted`.

    Attributes:
        due: whether a comparison had to be put off: for a doubt, for fills still missing, or for
            a difference that is to be seen again before it is believed.
    """

    def __init__(self, desk: OrderDesk) -> None:
        self.due = False
        self._desk = desk
        self._begun = False
        self._suspected: dict[str, Decimal] = {}
        self._since: datetime | None = None
        desk.follow(self._follow)

    def _follow(self, event: Event) -> None:
        if isinstance(event, CashAdjusted):
            self._begun = True

    @property
    def next_look(self) -> datetime | None:
        """When a difference that was seen is to be looked at again, None where there is none."""
        return None if self._since is None else self._since + _SURE_AFTER

    def compare(self, now: datetime) -> list[str]:
        """Journal the differences; what they were, in words.

        While it is not known of an order whether it arrived, or fills are still missing, nothing
        can be said and nothing is done. A difference that no rounding explains is believed when it
        is still the same half a minute later and a minute after the last fill of ours: an answer
        out of some cache must not take away what a position stands on. The first deposit is no
        difference.
        """
        for _ in range(4):
            fills = self._desk.orders.fill_count
            balances = self._desk.exchange.balances()
            complete = self._desk.sync(now, thorough=True)
            if fills == self._desk.orders.fill_count:
                break
        else:
            return []
        self.due = not complete or (self._begun and self._desk.any_in_doubt())
        if self.due:
            return []
        found = self._differences(balances)
        if self._begun and not all(self.explains(*each) for each in found.items()):
            self.due = not self._is_sure(found, now)
            if self.due:
                return [f"{words}: looked at again before it is believed"
                        for words in _in_words(found)]  # fmt: skip
        self._suspected, self._since = {}, None
        return self._adjust(found, now)

    def _is_sure(self, found: dict[str, Decimal], now: datetime) -> bool:
        """Whether a difference has stood long enough, and no fill of ours can explain it."""
        if found != self._suspected or self._since is None or now < self._since:
            self._suspected, self._since = found, now
            # It may be a fill of long ago that the exchange did not show when it was asked.
            self._desk.take_fills(now - _FAR_BACK, now)
        filled_at = self._desk.orders.newest_fill_at
        settled = filled_at is None or abs(now - filled_at) >= _BOOKED_AFTER
        return settled and now - self._since >= _SURE_AFTER

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

    def explains(self, asset: str, amount: Decimal) -> bool:
        """Whether the exchange's rounding of amounts explains a difference."""
        quote = self._desk.portfolio.quote
        return asset == quote and abs(amount) < _WHOLE_MONEY.get(quote, _CENT)

    def _adjust(self, differences: Mapping[str, Decimal], now: datetime) -> list[str]:
        first = not self._begun
        notes = []
        for asset, amount in differences.items():
            if first:
                at_quote = asset == self._desk.portfolio.quote
                reason = "first deposit" if at_quote else "held before the first start"
            elif self.explains(asset, amount):
                reason = ROUNDING
            else:
                reason = "a transfer or a trade by hand"
                notes += [f"{words}: {reason}" for words in _in_words({asset: amount})]
            self._desk.record(CashAdjusted(now, asset, amount, reason))
        return notes


def _in_words(differences: Mapping[str, Decimal]) -> list[str]:
    return [f"{amount:+f} {asset} at the exchange" for asset, amount in differences.items()]
