"""The exchange's balances compared with ours to the last decimal, and differences booked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from trader.domain.events import ROUNDING, CashAdjusted, Event, OrderFilled
from trader.domain.markets import Balance
from trader.execution.desk import OrderDesk
from trader.execution.sizes import ZERO

_SURE_AFTER = timedelta(seconds=30)
"""A difference is believed when it is still there after this time."""
_BOOKED_AFTER = timedelta(seconds=60)
"""So long after a fill of ours the exchange's balances may still be without it."""
_IN_ANY_CASE = timedelta(minutes=10)
"""No cache is that old: a difference that lasts so long is believed whatever fills meanwhile."""
_FAR_BACK = timedelta(hours=12)
_CENT = Decimal("0.01")
_WHOLE_MONEY = {"BTC": Decimal("0.0000001"), "ETH": Decimal("0.000001")}
"""What rounding can explain in these; in currencies worth about a dollar it is a cent."""


@dataclass(frozen=True, slots=True)
class _Suspicion:
    """A difference of one asset that has been seen and not been believed yet.

    Attributes:
        amount: the least that the exchange had more (or, negative, less) since then.
        since: when it was first seen.
    """

    amount: Decimal
    since: datetime


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
        self._suspected: dict[str, _Suspicion] = {}
        self._filled: dict[str, datetime] = {}
        desk.follow(self._follow)

    def _follow(self, event: Event) -> None:
        match event:
            case CashAdjusted():
                self._begun = True
            case OrderFilled(at=at, fill=fill):
                self._filled[fill.pair.base] = self._filled[fill.pair.quote] = at

    @property
    def next_look(self) -> datetime | None:
        """When a difference that was seen is to be looked at again, None where there is none."""
        return min(map(self._believed_at, self._suspected), default=None)

    def compare(self, now: datetime) -> list[str]:
        """Journal the differences; what they were, in words.

        While it is not known of an order whether it arrived, or fills are still missing, nothing
        can be said and nothing is done. A difference that no rounding explains is believed, each
        asset for itself, when it has been there for half a minute and the last fill of ours in
        the asset is a minute old: an answer out of some cache must not take away what a position
        stands on. The first deposit is no difference.
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
        if not self._begun:
            return self._adjust(found, now)
        strange = {a: amount for a, amount in found.items() if not self.explains(a, amount)}
        self._suspect(strange, now)
        sure = [asset for asset in strange if self._believed_at(asset) <= now]
        notes = self._adjust({
            asset: self._suspected.pop(asset).amount if asset in sure else amount
            for asset, amount in found.items() if asset in sure or asset not in strange
        }, now)  # fmt: skip
        self.due = bool(self._suspected)
        rest = {asset: seen.amount for asset, seen in self._suspected.items()}
        return notes + [f"{words}: looked at again before it is believed"
                        for words in _in_words(rest)]  # fmt: skip

    def _suspect(self, strange: Mapping[str, Decimal], now: datetime) -> None:
        """Keep what was seen before, as far as it is still there, and note what is new."""
        before, self._suspected = self._suspected, {}
        for asset, amount in strange.items():
            seen = before.get(asset)
            if seen is None or seen.since > now or (seen.amount > 0) != (amount > 0):
                self._suspected[asset] = _Suspicion(amount, now)
            else:
                least = min(seen.amount, amount, key=abs)
                self._suspected[asset] = _Suspicion(least, seen.since)
        if self._suspected.keys() - before.keys():
            # It may be a fill of hours ago that the exchange did not show when it was asked.
            self._desk.take_fills(now - _FAR_BACK, now)

    def _believed_at(self, asset: str) -> datetime:
        since = self._suspected[asset].since
        filled = self._filled.get(asset, since - _BOOKED_AFTER)
        wanted = max(since + _SURE_AFTER, filled + _BOOKED_AFTER)
        return min(wanted, since + _IN_ANY_CASE)

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
