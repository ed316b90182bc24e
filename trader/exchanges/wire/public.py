"""Kraken's public methods, answered from a sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from trader.domain.candles import KRAKEN_MINUTES, Candle, Candles, Timeframe
from trader.domain.markets import MarketRules, Pair, PublicTrade
from trader.exchanges.markets import Asset, Market, asset_named, assets
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.wire.candle_rows import CandleRows
from trader.exchanges.wire.forms import Form, Refused, invalid
from trader.exchanges.wire.words import PRICE_DECIMALS_SHOWN, Rendered, fixed, shown_price
from trader.simulation.book import trades_in
from trader.simulation.costs import STABLE_BASES, Tier, fee_table
from trader.simulation.path import to_us
from trader.simulation.waiting import INFINITE

_DAY = timedelta(days=1)
_PARTS_HELD = 512
_SPREADS = 200
_NS = 1_000_000_000
# From this many on, `since` of Trades is taken for nanoseconds.
_FIRST_NS = 10**14
_FEES_EMPTY_SINCE = 2026, 7, 9
_LEVERAGE = ("leverage_buy", "leverage_sell")


class PublicMethods:
    """What everybody may ask."""

    def __init__(self, exchange: SandboxExchange) -> None:
        self._exchange = exchange
        self._rows = CandleRows(exchange)
        self._days: dict[tuple[Pair, str], tuple[tuple[int, ...], _Closed]] = {}
        self.status = "online"
        self._parts: dict[int, tuple[tuple[PublicTrade, ...], list[str]]] = {}
        self._by_name = {
            name.upper(): pair
            for pair, market in exchange.markets.items()
            for name in market.names
        }
        self.methods: Mapping[str, Callable[[Form], Any]] = {
            "Time": self.time,
            "SystemStatus": self.system_status,
            "Assets": self.assets,
            "AssetPairs": self.asset_pairs,
            "Ticker": self.ticker,
            "OHLC": self.ohlc,
            "Depth": self.depth,
            "Trades": self.trades,
            "Spread": self.spread,
        }

    # ── names ──────────────────────────────────────────────────────────────────────────────

    def market(self, name: str) -> Market:
        """The market by any of its names.

        Raises:
            Refused: if there is none.
        """
        found = self._by_name.get(name.strip().upper())
        if found is None:
            raise Refused("EQuery:Unknown asset pair")
        return self._exchange.markets[found]

    def _asked(self, form: Form) -> list[tuple[str, Market]]:
        """(key of the answer, market) for each pair asked for; all without `pair`.

        A pair asked for by a name with a slash is answered under that very name, else under its
        id.
        """
        names = form.names("pair")
        by_display_name = form.text("assetVersion") == "1"
        if not names:
            found = [(market.id, market) for market in self._exchange.markets.values()]
        else:
            found = [(_answered_as(name, self.market(name)), self.market(name)) for name in names]
        return [(str(m.pair), m) for _, m in found] if by_display_name else found

    def _one(self, form: Form) -> tuple[str, Market]:
        names = form.names("pair")
        if len(names) != 1:
            raise invalid() if not names else Refused("EQuery:Unknown asset pair")
        return self._asked(form)[0]

    # ── the exchange ───────────────────────────────────────────────────────────────────────

    def time(self, form: Form) -> dict[str, Any]:
        """The exchange's clock."""
        now = self._exchange.server_time()
        return {
            "unixtime": int(now.timestamp()),
            "rfc1123": now.strftime("%a, %d %b %y %H:%M:%S +0000"),
        }

    def system_status(self, form: Form) -> dict[str, Any]:
        """`online` or one of the modes of maintenance."""
        now = self._exchange.server_time()
        return {"status": self.status, "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def assets(self, form: Form) -> dict[str, Any]:
        """All assets of the markets here, or those asked for."""
        if form.text("aclass") not in ("", "currency"):
            return {}
        names = form.names("asset")
        found = [self._asset(name) for name in names] if names else self._all_assets()
        by_display_name = form.text("assetVersion") == "1"
        return {(a.name if by_display_name else a.id): dict(a.facts) for a in found}

    def _asset(self, name: str) -> Asset:
        found = asset_named(name)
        if found is None:
            raise Refused("EQuery:Unknown asset")
        return found

    def _all_assets(self) -> list[Asset]:
        used = {
            asset.id for m in self._exchange.markets.values() for asset in (m.base, m.quote)
        } | {asset.id for asset in map(asset_named, self._exchange.balances()) if asset}
        return [asset for key, asset in assets().items() if key in used]

    def asset_pairs(self, form: Form) -> dict[str, Any]:
        """Rules of all pairs here, or of those asked for; in whole or in part (`info`)."""
        if form.text("aclass_base", "currency") != "currency":
            return {}
        info = form.text("info", "info")
        if info not in ("info", "leverage", "fees", "margin"):
            raise invalid("info")
        return {key: self._pair_facts(market, info) for key, market in self._asked(form)}

    def _pair_facts(self, market: Market, info: str) -> dict[str, Any]:
        facts = {**market.facts, **_changeable(market.rules)}
        if info == "leverage":
            return {name: facts.get(name, []) for name in _LEVERAGE}
        if info == "margin":
            return {"margin_call": facts.get("margin_call", 80), "margin_level": 40}
        fees = self._fees(market)
        if info == "fees":
            return {**fees, "fee_volume_currency": "ZUSD"}
        return {**facts, **fees}

    def _fees(self, market: Market) -> dict[str, list[list[float]]]:
        """Fee tiers of the day; since the change of July 2026 Kraken leaves them empty."""
        today = self._exchange.server_time().date()
        if (today.year, today.month, today.day) >= _FEES_EMPTY_SINCE:
            return {"fees": [], "fees_maker": []}
        table = fee_table(today)
        tiers = table.stable_tiers if market.pair.base in STABLE_BASES else table.tiers
        return {"fees": _fee_rows(tiers, 2), "fees_maker": _fee_rows(tiers, 1)}

    # ── prices ─────────────────────────────────────────────────────────────────────────────

    def ticker(self, form: Form) -> dict[str, Any]:
        """Best prices, last trade and the figures of the day."""
        return {key: self._ticker_row(market) for key, market in self._asked(form)}

    def _ticker_row(self, market: Market) -> dict[str, Any]:
        rules = market.rules
        now = self._exchange.ticker(market.pair)
        day = self._day(market, now.last)
        trades = self._exchange.recent_trades(market.pair, 1)
        last_volume = trades[-1].quantity if trades else Decimal(0)

        def best(price: Decimal) -> list[str]:
            return [shown_price(price, rules), "1", "1.000"]

        return {
            "a": best(now.ask),
            "b": best(now.bid),
            "c": [shown_price(now.last, rules), fixed(last_volume, 8)],
            "v": [fixed(part.volume, 8) for part in day],
            "p": [shown_price(part.vwap, rules) for part in day],
            "t": [part.trades for part in day],
            "l": [shown_price(part.low, rules) for part in day],
            "h": [shown_price(part.high, rules) for part in day],
            "o": shown_price(day[0].open, rules),
        }

    def _day(self, market: Market, last: Decimal) -> tuple[_Figures, _Figures]:
        """Figures since midnight UTC and of the last 24 hours."""
        now = self._exchange.server_time()
        timeframe = _at_least(self._exchange.feed.base_timeframe(market.pair), 900)
        candles = self._exchange.candles(market.pair, timeframe)
        forming = self._exchange.forming(market.pair, timeframe)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return (
            _Figures(
                self._closed(market, candles.between(midnight, None), "today"), forming, last
            ),
            _Figures(
                self._closed(market, candles.between(now - _DAY, None), "day"), forming, last
            ),
        )

    def _closed(self, market: Market, candles: Candles, span: str) -> _Closed:
        """The figures of finished candles, added up once while they are the same."""
        size = len(candles)
        state = (size, int(candles.opened_at[0]), int(candles.opened_at[-1])) if size else (0,)
        held = self._days.get((market.pair, span))
        if held is None or held[0] != state:
            held = self._days[market.pair, span] = (state, _Closed.of(candles))
        return held[1]

    def ohlc(self, form: Form) -> Rendered:
        """At most 720 finished candles and the one still forming."""
        key, market = self._one(form)
        minutes = form.integer("interval", 1, 1, 21600)
        if minutes not in KRAKEN_MINUTES:
            raise invalid("interval")
        timeframe = Timeframe(minutes * 60)
        since = form.integer("since", -1, -(10**12), 10**12)
        rows, newest = self._rows.after(market, timeframe, since)
        last = newest - timeframe.seconds if newest else 0
        return Rendered(f'{{{json.dumps(key)}:{rows},"last":{last}}}')

    def depth(self, form: Form) -> Rendered:
        """The order book."""
        key, market = self._one(form)
        count = form.integer("count", 100, 1, 500)
        book = self._exchange.order_book(market.pair, count)
        now = int(book.at.timestamp())
        shown = max(PRICE_DECIMALS_SHOWN, market.rules.price_decimals)
        asks, bids = (
            ",".join([f"{_level_row(x.price, x.quantity, shown)},{now}]" for x in side])
            for side in (book.asks, book.bids)
        )
        return Rendered(f'{{{json.dumps(key)}:{{"asks":[{asks}],"bids":[{bids}]}}}}')

    def trades(self, form: Form) -> Rendered:
        """Public trades, oldest first, from a cursor on or the newest."""
        key, market = self._one(form)
        count = form.integer("count", 1000, 1, 1000)
        since = form.text("since")
        if since:
            found = self._trades_since(market, _cursor(since), count)
        else:
            return self._newest_trades(key, market, count)
        decimals = market.rules.price_decimals
        rows = ",".join([_trade_row(trade, decimals) for trade in found])
        last = str(_ns(found[-1])) if found else since
        return Rendered(f'{{{json.dumps(key)}:[{rows}],"last":{json.dumps(last)}}}')

    def _newest_trades(self, key: str, market: Market, count: int) -> Rendered:
        """The newest trades; those of a candle that is over are written once."""
        decimals = market.rules.price_decimals
        parts = self._exchange.recent_parts(market.pair, count)
        rows = [row for part in parts for row in self._written(part, decimals)][-count:]
        newest = next((part[-1] for part in reversed(parts) if part), None)
        last = str(self._now_us() * 1000 if newest is None else _ns(newest))
        return Rendered(f'{{{json.dumps(key)}:[{",".join(rows)}],"last":"{last}"}}')

    def _written(self, part: tuple[PublicTrade, ...], decimals: int) -> list[str]:
        held = self._parts.get(id(part))
        if held is not None and held[0] is part:
            return held[1]
        rows = [_trade_row(trade, decimals) for trade in part]
        if len(self._parts) >= _PARTS_HELD:
            self._parts.clear()
        self._parts[id(part)] = part, rows
        return rows

    def _trades_since(self, market: Market, since_ns: int, count: int) -> list[PublicTrade]:
        found: list[PublicTrade] = []
        at = self._now_us()
        after = min(since_ns // 1000, at)
        feed = self._exchange.feed
        for stretch in feed.stretches(market.pair, after - 1, at, INFINITE, -INFINITE):
            trades = trades_in(market.pair, stretch, at, market.rules, self._exchange.seed)
            found += [trade for trade in trades if _ns(trade) > since_ns]
            if len(found) >= count:
                break
        return found[:count]

    def spread(self, form: Form) -> dict[str, Any]:
        """The best prices at the moments of the newest trades."""
        key, market = self._one(form)
        since = form.integer("since", 0, 0, 10**12)
        ticker = self._exchange.ticker(market.pair)
        below, above = ticker.bid / ticker.last, ticker.ask / ticker.last
        rules = market.rules
        rows = [
            [
                int(trade.at.timestamp()),
                shown_price(rules.price_down(trade.price * below), rules),
                shown_price(rules.price_up(trade.price * above), rules),
            ]
            for trade in self._exchange.recent_trades(market.pair, _SPREADS)
            if int(trade.at.timestamp()) >= since
        ]
        return {key: rows, "last": rows[-1][0] if rows else since}

    def _now_us(self) -> int:
        return to_us(self._exchange.server_time())


def _changeable(rules: MarketRules) -> dict[str, str]:
    """Facts of a pair that may change while the exchange runs."""
    return {
        "ordermin": f"{rules.order_minimum:f}",
        "costmin": f"{rules.cost_minimum:f}",
        "tick_size": f"{rules.tick:f}",
        "status": rules.status,
    }


@dataclass(frozen=True, slots=True)
class _Closed:
    """Sums and bounds of finished candles; prices are None without any."""

    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    volume: Decimal
    turnover: Decimal
    trades: int

    @classmethod
    def of(cls, candles: Candles) -> _Closed:
        """Added up over the candles."""
        rows = list(candles.rows())
        return cls(
            rows[0].open if rows else None,
            max((row.high for row in rows), default=None),
            min((row.low for row in rows), default=None),
            sum((row.volume for row in rows), Decimal(0)),
            sum((_mean(row) * row.volume for row in rows), Decimal(0)),
            sum(row.trades for row in rows),
        )


class _Figures:
    """Volume, mean price, range and count of a span; where nothing traded, of the last price."""

    __slots__ = ("high", "low", "open", "trades", "volume", "vwap")

    def __init__(self, closed: _Closed, forming: Candle | None, last: Decimal) -> None:
        inside = [] if forming is None else [forming]
        self.open = next((o for o in (closed.open, *(c.open for c in inside)) if o), last)
        highs = [h for h in (closed.high, *(c.high for c in inside)) if h is not None]
        lows = [low for low in (closed.low, *(c.low for c in inside)) if low is not None]
        self.high, self.low = max(highs, default=last), min(lows, default=last)
        self.volume = sum((c.volume for c in inside), closed.volume)
        self.trades = sum((c.trades for c in inside), closed.trades)
        turnover = sum((_mean(c) * c.volume for c in inside), closed.turnover)
        self.vwap = turnover / self.volume if self.volume else last


def _mean(candle: Candle) -> Decimal:
    return (candle.high + candle.low + candle.close) / 3


def _answered_as(name: str, market: Market) -> str:
    return name.strip() if "/" in name else market.id


def _fee_rows(tiers: tuple[Tier, ...], column: int) -> list[list[float]]:
    return [[tier[0], float(tier[column])] for tier in tiers]


def _at_least(timeframe: Timeframe, seconds: int) -> Timeframe:
    """The shortest of Kraken's timeframes that is long enough."""
    wanted = max(timeframe.seconds, seconds)
    return next(
        (Timeframe(m * 60) for m in KRAKEN_MINUTES if m * 60 >= wanted and m * 60 % wanted == 0),
        timeframe,
    )


def _ns(trade: PublicTrade) -> int:
    return to_us(trade.at) * 1000


def _cursor(text: str) -> int:
    """`since` of Trades in nanoseconds; seconds are taken too."""
    digits, _, fraction = text.partition(".")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20 and len(fraction) < 20):
        raise invalid("since")
    number = int(digits)
    return number if number >= _FIRST_NS else number * _NS


@lru_cache(maxsize=1 << 12)
def _level_row(price: Decimal, quantity: Decimal, decimals: int) -> str:
    """A level of the book without its time and end."""
    return f'["{fixed(price, decimals)}","{fixed(quantity, 3)}"'


def _trade_row(trade: PublicTrade, price_decimals: int) -> str:
    row = [
        fixed(trade.price, max(PRICE_DECIMALS_SHOWN, price_decimals)),
        fixed(trade.quantity, 8),
        trade.at.timestamp(),
        "b" if trade.side == "buy" else "s",
        "m" if trade.trade_id % 2 else "l",
        "",
        trade.trade_id,
    ]
    return json.dumps(row, separators=(",", ":"))
