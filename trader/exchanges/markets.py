"""The markets of the built-in exchange: Kraken's names and rules of its main pairs.

The table `markets.json` holds what Kraken's AssetPairs answered on the date inside it. The real
exchange changes minima and decimals without notice, so that a client asks it again; the table
serves the sandbox and the translation of names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from trader.domain.errors import UnknownPair
from trader.domain.markets import MarketRules, Pair
from trader.exchanges.kraken_names import COMMON_NAME


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset by Kraken's names.

    Attributes:
        id: key of balances and ledger entries (`XXBT`, `ZUSD`, `SOL`).
        altname: Kraken's short name (`XBT`).
        name: the name people use (`BTC`).
        decimals: precision of balances and ledger entries.
        facts: the entry of Kraken's Assets.
    """

    id: str
    altname: str
    name: str
    decimals: int
    display_decimals: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Market:
    """One pair by Kraken's names, with the rules for its orders.

    Attributes:
        id: key of public answers (`XXBTZUSD`).
        altname: name in order descriptions (`XBTUSD`).
        wsname: `XBT/USD`.
        facts: the entry of Kraken's AssetPairs, without the fee tables.
    """

    pair: Pair
    id: str
    altname: str
    wsname: str
    base: Asset
    quote: Asset
    rules: MarketRules
    facts: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """Every way to name the pair in a request."""
        return (self.id, self.altname, self.wsname, str(self.pair))


@cache
def assets() -> Mapping[str, Asset]:
    """Every asset of the table by its Kraken id."""
    return MappingProxyType({key: _asset(key, facts) for key, facts in _table()["assets"].items()})


@cache
def markets() -> Mapping[Pair, Market]:
    """Every market of the table."""
    found = (_market(key, facts) for key, facts in _table()["pairs"].items())
    return MappingProxyType({market.pair: market for market in found})


def market(pair: Pair) -> Market:
    """The market of a pair.

    Raises:
        UnknownPair: if the table has none.
    """
    try:
        return markets()[pair]
    except KeyError:
        known = ", ".join(sorted(str(p) for p in markets()))
        near = meant(pair)
        hint = f"Did you mean {near}?" if near else f"Known pairs: {known}."
        raise UnknownPair(f"pair {pair} is not traded here", hint) from None


def meant(pair: Pair, known: Iterable[Pair] = ()) -> Pair | None:
    """The pair that was probably meant by one that is not known: one slip of the finger away.

    >>> str(meant(Pair("BTC", "UDS")))
    'BTC/USD'

    Args:
        pair: as it was typed.
        known: pairs that are known beside those of the table; the first are thought of first.
    """
    all_known = dict.fromkeys((*known, *markets()))
    if pair in all_known:
        return None
    return next((other for other in all_known if _one_slip(str(pair), str(other))), None)


def _one_slip(one: str, other: str) -> bool:
    """Whether a letter was mistyped, left out, added, or two neighbours were swapped."""
    short, long = sorted((one, other), key=len)
    if len(short) == len(long):
        differ = [i for i, letter in enumerate(one) if letter != other[i]]
        first, last = differ[0], differ[-1]
        swapped = one[first : last + 1] == other[first : last + 1][::-1]
        return len(differ) == 1 or (len(differ) == 2 and last == first + 1 and swapped)
    return len(long) == len(short) + 1 and any(
        long[:i] + long[i + 1 :] == short for i in range(len(long))
    )


def market_named(name: str) -> Market:
    """The market by any of Kraken's names or the common one, upper or lower case.

    >>> market_named("xbtusd").id
    'XXBTZUSD'

    Raises:
        UnknownPair: if no market bears the name.
    """
    found = _by_name().get(name.strip().upper())
    if found is None:
        raise UnknownPair(f"no pair is called '{name}'", "Write the pair as BASE/QUOTE.")
    return found


def asset_named(name: str) -> Asset | None:
    """The asset by id, short name or common name; None if there is none."""
    wanted = name.strip().upper()
    for asset in assets().values():
        if wanted in (asset.id, asset.altname, asset.name):
            return asset
    return None


def rules_of_all() -> dict[Pair, MarketRules]:
    """The rules of every market of the table."""
    return {pair: found.rules for pair, found in markets().items()}


@cache
def _table() -> dict[str, Any]:
    text = files("trader.exchanges").joinpath("markets.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def _by_name() -> dict[str, Market]:
    return {name: found for found in markets().values() for name in found.names}


def _asset(key: str, facts: dict[str, Any]) -> Asset:
    altname = facts["altname"]
    return Asset(
        key,
        altname,
        COMMON_NAME.get(altname, altname),
        facts["decimals"],
        facts["display_decimals"],
        MappingProxyType(facts),
    )


def _market(key: str, facts: dict[str, Any]) -> Market:
    base, quote = assets()[facts["base"]], assets()[facts["quote"]]
    pair = Pair(base.name, quote.name)
    rules = MarketRules(
        pair,
        tick=Decimal(facts["tick_size"]),
        lot=Decimal(1).scaleb(-facts["lot_decimals"]),
        order_minimum=Decimal(facts["ordermin"]),
        cost_minimum=Decimal(facts["costmin"]),
        cost_decimals=facts["cost_decimals"],
        base_decimals=base.decimals,
        quote_decimals=quote.decimals,
        status=facts["status"],
    )
    return Market(
        pair, key, facts["altname"], facts["wsname"], base, quote, rules, MappingProxyType(facts)
    )
