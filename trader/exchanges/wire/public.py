"""Kraken's public methods, answered from a sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from trader.domain.candles import KRAKEN_MINUTES, Candle, Candles, Timeframe
from trader.domain.errors import UsageError
from trader.domain.markets import MarketRules, PublicTrade
from trader.exchanges.markets import Asset, Market, asset_named, assets
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.wire.forms import Form, Refused, invalid
from trader.exchanges.wire.words import fixed, shown_price
from trader.simulation.book import candles_in, trades_in
from trader.simulation.costs import STABLE_BASES, Tier, fee_table
from trader.simulation.path import to_us
from trader.simulation.waiting import INFINITE

NEWEST = 720
_DAY = timedelta(days=1)
_SPREADS = 200
_NS = 1_000_000_000
_MICROSECOND = 1_000_000
# From this many on, `since` of Trades is taken for nanoseconds.
_FIRST_NS = 10**14
_FEES_EMPTY_SINCE = 2026, 7, 9
_LEVERAGE = ("leverage_buy", "leverage_sell")


class PublicMethods:
    """What everybody may ask."""

    def __init__(self, exchange: SandboxExchange) -> None:
        self._exchange = exchange
        self.status = "online"
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
            _Figures(candles.between(midnight, None), forming, last),
            _Figures(candles.between(now - _DAY, None), forming, last),
        )

    def ohlc(self, form: Form) -> dict[str, Any]:
        """At most 720 finished candles and the one still forming."""
        key, market = self._one(form)
        minutes = form.integer("interval", 1, 1, 21600)
        if minutes not in KRAKEN_MINUTES:
            raise invalid("interval")
        timeframe = Timeframe(minutes * 60)
        since = form.integer("since", -1, -(10**12), 10**12)
        rows = list(self._ohlc_rows(market, timeframe))
        newest = rows[-1][0] - timeframe.seconds if rows else 0
        return {key: [row for row in rows if row[0] > since], "last": newest}

    def _ohlc_rows(self, market: Market, timeframe: Timeframe) -> Iterator[list[Any]]:
        opened = int(timeframe.floor(self._exchange.server_time()).timestamp())
        step, decimals = timeframe.seconds, market.rules.price_decimals
        known, before, begins = self._known(market, timeframe, opened - NEWEST * step)
        for time in range(max(opened - NEWEST * step, begins), opened + step, step):
            traded = known.get(time)
            if traded is not None or before is not None:
                yield _ohlc_row(time, traded, before or 0.0, decimals)
            before = before if traded is None else traded.close

    def _known(
        self, market: Market, timeframe: Timeframe, since: int
    ) -> tuple[dict[int, _Traded], float | None, int]:
        """What was traded by opening, the last close before, and where the prices begin."""
        base = self._exchange.feed.base_timeframe(market.pair)
        finer = timeframe.seconds < base.seconds
        try:
            candles = self._exchange.candles(market.pair, base if finer else timeframe)
            forming = self._exchange.forming(market.pair, base if finer else timeframe)
        except UsageError:
            raise invalid("interval") from None
        found = {} if finer else _columns(candles)
        single = self._along_the_path(market, timeframe, since) if finer else [forming]
        found |= {int(c.opened_at.timestamp()): _traded(c) for c in single if c is not None}
        begins = int(candles.opened_at[0]) if len(candles) else min(found, default=2**62)
        return found, _close_before(candles, since), max(begins, since)

    def _along_the_path(self, market: Market, timeframe: Timeframe, since: int) -> list[Candle]:
        """Candles finer than those of the feed, cut out of the path that orders fill on."""
        step, until = timeframe.seconds * _MICROSECOND, self._now_us()
        stretches = self._exchange.feed.stretches(
            market.pair, since * _MICROSECOND, until, INFINITE, -INFINITE
        )
        return [c for s in stretches for c in candles_in(s, step, until, market.rules)]

    def depth(self, form: Form) -> dict[str, Any]:
        """The order book."""
        key, market = self._one(form)
        count = form.integer("count", 100, 1, 500)
        book = self._exchange.order_book(market.pair, count)
        now = int(book.at.timestamp())
        asks, bids = (
            [[shown_price(x.price, market.rules), fixed(x.quantity, 3), now] for x in side]
            for side in (book.asks, book.bids)
        )
        return {key: {"asks": asks, "bids": bids}}

    def trades(self, form: Form) -> dict[str, Any]:
        """Public trades, oldest first, from a cursor on or the newest."""
        key, market = self._one(form)
        count = form.integer("count", 1000, 1, 1000)
        since = form.text("since")
        if since:
            found = self._trades_since(market, _cursor(since), count)
        else:
            found = list(self._exchange.recent_trades(market.pair, count))
        rows = [_trade_row(trade, market) for trade in found]
        last = str(_ns(found[-1])) if found else since or str(self._now_us() * 1000)
        return {key: rows, "last": last}

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


class _Figures:
    """Volume, mean price, range and count of a span; where nothing traded, of the last price."""

    __slots__ = ("high", "low", "open", "trades", "volume", "vwap")

    def __init__(self, candles: Candles, forming: Candle | None, last: Decimal) -> None:
        rows = list(candles.rows()) + ([forming] if forming is not None else [])
        self.open = rows[0].open if rows else last
        self.high = max((row.high for row in rows), default=last)
        self.low = min((row.low for row in rows), default=last)
        self.volume = sum((row.volume for row in rows), Decimal(0))
        self.trades = sum(row.trades for row in rows)
        turnover = sum((_mean(row) * row.volume for row in rows), Decimal(0))
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


class _Traded(NamedTuple):
    """The figures of a row."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int


def _columns(candles: Candles) -> dict[int, _Traded]:
    opened, *columns = (column.tolist() for column in candles.columns())
    return dict(zip(opened, map(_Traded, *columns), strict=True))


def _traded(candle: Candle) -> _Traded:
    prices = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    opened, high, low, close, volume = map(float, prices)
    return _Traded(opened, high, low, close, volume, candle.trades)


def _close_before(candles: Candles, time: int) -> float | None:
    index = int(np.searchsorted(candles.opened_at, time)) - 1
    return float(candles.close[index]) if index >= 0 else None


def _ohlc_row(time: int, traded: _Traded | None, before: float, decimals: int) -> list[Any]:
    """One row; an interval in which nothing traded repeats the close before it."""
    if traded is None or not (traded.volume or traded.trades):
        return [time, *[f"{before:.{decimals}f}"] * 4, f"{0:.{decimals}f}", "0.00000000", 0]
    opened, high, low, close, volume, trades = traded
    prices = (opened, high, low, close, (high + low + close) / 3)
    return [time, *[f"{p:.{decimals}f}" for p in prices], f"{volume:.8f}", trades]


def _ns(trade: PublicTrade) -> int:
    return to_us(trade.at) * 1000


def _cursor(text: str) -> int:
    """`since` of Trades in nanoseconds; seconds are taken too."""
    digits, _, fraction = text.partition(".")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20 and len(fraction) < 20):
        raise invalid("since")
    number = int(digits)
    return number if number >= _FIRST_NS else number * _NS


def _trade_row(trade: PublicTrade, market: Market) -> list[Any]:
    return [
        shown_price(trade.price, market.rules),
        fixed(trade.quantity, 8),
        trade.at.timestamp(),
        "b" if trade.side == "buy" else "s",
        "m" if trade.trade_id % 2 else "l",
        "",
        trade.trade_id,
    ]
