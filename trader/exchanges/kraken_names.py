"""Kraken's names and ours, both ways, looked up and never built.

Kraken has four names for a pair (`XXBTZUSD`, `XBTUSD`, `XBT/USD`, `BTC/USD`) and two for an asset
(`XXBT`, `XBT`); people say BTC/USD and BTC. The prefixes X and Z stand on the assets of the first
years only, so every name comes from what Kraken's `Assets` and `AssetPairs` answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from trader.domain.errors import UnexpectedAnswer, UnknownPair
from trader.domain.markets import MarketRules, Pair

# Kraken keeps its first names for these two; everywhere else they are known by the others.
COMMON_NAME = {"XBT": "BTC", "XDG": "DOGE"}
KRAKEN_NAME = {common: kraken for kraken, common in COMMON_NAME.items()}

_MAIN_QUOTES = ("USD", "EUR", "USDT")
_DEFAULT_COST_MINIMUM = Decimal(0)
_DEFAULT_ASSET_DECIMALS = 10


@dataclass(frozen=True, slots=True)
class KrakenPair:
    """One row of `AssetPairs`.

    Attributes:
        id: internal name, `XXBTZUSD`.
        altname: `XBTUSD`, which order descriptions use.
        wsname: `XBT/USD`.
        base_id: asset id of the base, `XXBT`.
        quote_id: asset id of the quote, `ZUSD`.
    """

    id: str
    altname: str
    wsname: str
    base_id: str
    quote_id: str
    rules: MarketRules

    @property
    def pair(self) -> Pair:
        """The pair by the names people use."""
        return self.rules.pair

    @property
    def names(self) -> tuple[str, ...]:
        """Every name Kraken takes for it."""
        return (self.id, self.altname, self.wsname, str(self.pair))


class KrakenNames:
    """All pairs and assets of one moment.

    Args:
        assets: the result of `Assets`.
        pairs: the result of `AssetPairs`.
        before: what was known; a pair that cannot be read any more keeps its old row.

    Raises:
        UnexpectedAnswer: if no pair can be read.
    """

    def __init__(
        self,
        assets: Mapping[str, Any],
        pairs: Mapping[str, Any],
        before: KrakenNames | None = None,
    ) -> None:
        self._common: dict[str, str] = {}
        self._decimals: dict[str, int] = {}
        for asset_id, row in assets.items():
            self._add_asset(asset_id, row)
        self._by_name: dict[str, KrakenPair] = {}
        self._by_pair: dict[Pair, KrakenPair] = {}
        self._unreadable: dict[str, str] = {}
        self._before = {} if before is None else {row.id: row for row in before.pairs()}
        for pair_id, row in pairs.items():
            self._add_pair(pair_id, row)
        if not self._by_pair:
            faults = "; ".join(list(self._unreadable.values())[:3])
            raise UnexpectedAnswer(f"Kraken lists no pair that can be read {faults}".rstrip())
        self._asset_ids = {common: asset_id for asset_id, common in self._common.items()}

    def _add_asset(self, asset_id: str, row: Any) -> None:
        try:
            altname, decimals = str(row["altname"]), int(row["decimals"])
        except (KeyError, TypeError, ValueError):
            return  # what is not told of it is taken from the pairs
        self._decimals[asset_id] = decimals
        self._common[asset_id] = COMMON_NAME.get(altname, altname)

    def _add_pair(self, pair_id: str, row: Any) -> None:
        """Know a pair; one that cannot be read is an error when it is wanted, not before."""
        try:
            found = self._read_pair(pair_id, row)
        except (KeyError, TypeError, ValueError, InvalidOperation, AttributeError) as fault:
            if pair_id in self._before:
                self._know(self._before[pair_id])
                return
            name = row.get("wsname") if isinstance(row, Mapping) else pair_id
            self._unreadable[_common_form(str(name))] = (
                f"pair '{pair_id}' of Kraken: {type(fault).__name__} in its rules"
            )
            return
        if found is not None:
            self._know(found)

    def _know(self, found: KrakenPair) -> None:
        self._by_pair.setdefault(found.pair, found)
        for name in found.names:
            self._by_name.setdefault(name.upper(), found)

    def _read_pair(self, pair_id: str, row: Any) -> KrakenPair | None:
        wsname = row.get("wsname")
        if not wsname:  # dark-pool pairs have none and cannot be traded by API
            return None
        base_id, quote_id = str(row["base"]), str(row["quote"])
        base_altname, _, quote_altname = str(wsname).partition("/")
        for asset_id, altname in ((base_id, base_altname), (quote_id, quote_altname)):
            self._common.setdefault(asset_id, COMMON_NAME.get(altname, altname))
        rules = self._read_rules(row, Pair(self._common[base_id], self._common[quote_id]))
        return KrakenPair(pair_id, str(row["altname"]), str(wsname), base_id, quote_id, rules)

    def _read_rules(self, row: Mapping[str, Any], pair: Pair) -> MarketRules:
        price_decimals = int(row["pair_decimals"])
        tick = Decimal(row.get("tick_size") or Decimal(1).scaleb(-price_decimals))
        if not (tick.is_finite() and tick > 0):
            raise ValueError("tick_size")
        return MarketRules(
            pair=pair,
            tick=tick,
            lot=Decimal(1).scaleb(-int(row["lot_decimals"])),
            order_minimum=_amount(row.get("ordermin") or 0),
            cost_minimum=_amount(row.get("costmin") or _DEFAULT_COST_MINIMUM),
            cost_decimals=int(row.get("cost_decimals", price_decimals)),
            base_decimals=self._decimals.get(str(row["base"]), _DEFAULT_ASSET_DECIMALS),
            quote_decimals=self._decimals.get(str(row["quote"]), _DEFAULT_ASSET_DECIMALS),
            status=str(row.get("status", "online")),
        )

    def __contains__(self, pair: Pair) -> bool:
        return pair in self._by_pair

    def pairs(self) -> Iterable[KrakenPair]:
        """Every pair, in Kraken's order."""
        return self._by_pair.values()

    def of(self, pair: Pair) -> KrakenPair:
        """The row of a pair.

        Raises:
            UnknownPair: if Kraken does not list it.
            UnexpectedAnswer: if what Kraken says of it cannot be read.
        """
        found = self._by_pair.get(pair)
        if found is None and str(pair) in self._unreadable:
            raise UnexpectedAnswer(self._unreadable[str(pair)])
        if found is None:
            raise UnknownPair(f"Kraken has no market {pair}", self._suggestion(pair))
        return found

    def named(self, name: str) -> KrakenPair | None:
        """The row that Kraken knows by this name (any of the four), None if there is none."""
        return self._by_name.get(name.upper())

    def asset(self, asset_id: str) -> str:
        """The common name of an asset: `XXBT` → `BTC`; `.S` and the like stay: `XBT.S` → `BTC.S`.

        `.F` earns rewards by itself and is traded as the asset itself: `XBT.F` → `BTC`. An asset
        that is not listed keeps its name, so that no balance disappears.
        """
        stem, dot, suffix = asset_id.partition(".")
        if asset_id in self._common and suffix != "F":
            return self._common[asset_id]
        common = self._common.get(stem) or COMMON_NAME.get(stem, stem)
        return common if suffix == "F" else f"{common}{dot}{suffix}"

    def asset_id(self, asset: str) -> str:
        """Kraken's id of an asset by its common name: `BTC` → `XXBT`.

        Raises:
            UnknownPair: if Kraken does not list the asset.
        """
        try:
            return self._asset_ids[asset]
        except KeyError:
            raise UnknownPair(f"Kraken has no asset {asset}") from None

    def _suggestion(self, pair: Pair) -> str:
        near = [p for p in self._by_pair if p.base == pair.base]
        near = near or [p for p in self._by_pair if p.quote == pair.quote]
        near.sort(key=lambda p: (p.quote not in _MAIN_QUOTES, str(p)))
        return f"It has for example {', '.join(map(str, near[:6]))}." if near else ""


def _common_form(name: str) -> str:
    """`XBT/USD` → `BTC/USD`."""
    return "/".join(COMMON_NAME.get(part, part) for part in name.split("/"))


def _amount(value: Any) -> Decimal:
    amount = Decimal(str(value))
    if not (amount.is_finite() and amount >= 0):
        raise ValueError(f"amount {value}")
    return amount
