"""Exchanges and the way to them.

Adding one touches one place: a class with the methods of `ports.Exchange` and a class method
`from_settings`, named in the setting `EXCHANGE=module:Class`. tests/contracts/test_exchange.py
holds it to what the rest of the program relies on.
"""

from __future__ import annotations

from trader.domain.errors import UsageError
from trader.extensions import demand_methods, load_part
from trader.ports import Exchange, ExchangeSettings, methods_of

OWN = "kraken"
"""The exchange that comes with the program."""


def open_own_exchange(text: str, settings: ExchangeSettings) -> Exchange:
    """The user's exchange behind `module:Class`.

    Raises:
        UsageError: if there is none, or it lacks a method of `ports.Exchange`.
    """
    if ":" not in text:
        raise UsageError(
            f"EXCHANGE={text}: this program trades at {OWN}",
            f"Write EXCHANGE={OWN}, or module:Class of your own.",
        )
    found = load_part("EXCHANGE", text, "a class with the methods of ports.Exchange")
    demand_methods("EXCHANGE", text, found, ("from_settings", *methods_of(Exchange)))
    exchange: Exchange = found.from_settings(settings)
    return exchange
