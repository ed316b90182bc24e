"""The built-in exchange: requests a second in this process and over HTTP, and a year replayed."""

from __future__ import annotations

import http.client
import itertools
import multiprocessing
import time
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing.queues import Queue

from benchmarks.registry import Measurement, benchmark, measured
from kraken_client import KrakenClient
from trader.clocks import ManualClock, ScaledClock
from trader.domain.candles import Timeframe
from trader.domain.markets import Pair
from trader.domain.orders import OrderRequest, OrderType, Purpose, Side, make_order_id
from trader.exchanges.feeds import ReplayFeed, SimulatedFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire, Server
from trader.exchanges.wire.keys import ApiKey, sign
from trader.ports import Clock

NOW = datetime(2026, 5, 1, 12, 34, tzinfo=UTC)
PAIRS = tuple(Pair(base, "USD") for base in ("BTC", "ETH", "SOL"))
BTC = PAIRS[0]
HOUR = Timeframe(3600)
YEAR = 8760
REQUESTS = 1000
OPEN_ORDERS = 200

Call = tuple[str, dict[str, object]]


class Desk:
    """An exchange with a busy account, and requests signed as a client signs them."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.key = ApiKey.generate()
        balances = {"USD": Decimal(10**9), "BTC": Decimal(10**4)}
        self.exchange = SandboxExchange(
            SimulatedFeed(1, PAIRS), clock or ScaledClock(NOW, 1.0), balances=balances
        )
        self.wire = KrakenWire(self.exchange, [self.key])
        self._nonces = itertools.count(1)
        self.low = int(self.exchange.ticker(BTC).last * 7 / 10)

    def read(self, method: str, **query: object) -> bytes:
        """A public call."""
        text = urllib.parse.urlencode(query)
        return self._good(self.wire.handle("GET", f"/0/public/{method}", text, {}, b""))

    def ask(self, method: str, **form: object) -> bytes:
        """A private call."""
        headers, body = signed(self.key, method, next(self._nonces), form)
        path = f"/0/private/{method}"
        return self._good(self.wire.handle("POST", path, "", headers, body))

    def order(self, **changes: object) -> str:
        """A new order; its id."""
        form = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01",
                "price": self.low}  # fmt: skip
        answer = self.ask("AddOrder", **(form | changes))
        return answer.partition(b'"txid":["')[2][:19].decode()

    @staticmethod
    def _good(answer: tuple[int, str, bytes]) -> bytes:
        if not answer[2].startswith(b'{"error":[],'):
            raise RuntimeError(f"refused: {answer[2][:200]!r}")
        return answer[2]


def signed(
    key: ApiKey, method: str, nonce: int, form: dict[str, object]
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a private request."""
    body = urllib.parse.urlencode({"nonce": nonce, **form}).encode()
    headers = {
        "API-Key": key.key,
        "API-Sign": sign(key.secret, f"/0/private/{method}", str(nonce), body),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return headers, body


def _calls(desk: Desk) -> dict[str, Callable[[], object]]:
    """What is called, by name; the account has orders open throughout."""
    ids = [desk.order() for _ in range(OPEN_ORDERS)]
    prices = itertools.cycle(range(desk.low - 50, desk.low))
    return {
        "Time": lambda: desk.read("Time"),
        "Ticker": lambda: desk.read("Ticker", pair="XBTUSD"),
        "OHLC of 721 rows": lambda: desk.read("OHLC", pair="XBTUSD", interval=60),
        "Depth of 100 levels": lambda: desk.read("Depth", pair="XBTUSD"),
        "Trades, 50": lambda: desk.read("Trades", pair="XBTUSD", count=50),
        "Balance": lambda: desk.ask("Balance"),
        "QueryOrders": lambda: desk.ask("QueryOrders", txid=ids[0]),
        "AmendOrder": lambda: desk.ask("AmendOrder", txid=ids[0], limit_price=next(prices)),
        "AddOrder, CancelOrder": lambda: desk.ask("CancelOrder", txid=desk.order()),
        "AddOrder at market": lambda: desk.order(ordertype="market", volume="0.001"),
    }


@benchmark("exchange.requests", "requests in this process, 200 orders open, the clock running")
def requests(runs: int) -> Iterator[Measurement]:
    """Kraken's words in and out, signature included, without a socket."""
    for item, call in _calls(Desk()).items():
        spent = [_seconds(call) for _ in range(runs)]
        yield _rate(item, "in process", REQUESTS, spent)


def _seconds(call: Callable[[], object]) -> float:
    call()
    began = time.perf_counter()
    for _ in range(REQUESTS):
        call()
    return time.perf_counter() - began


def _rate(item: str, tool: str, count: int, spent: list[float]) -> Measurement:
    return measured(item, tool, count, spent, notes=f"{count / min(spent):,.0f} a second at best")


@benchmark("exchange.http", "private requests over HTTP, from another process")
def over_http(runs: int) -> Iterator[Measurement]:
    """One connection kept open, requests one after the other, as a bot sends them."""
    desk = Desk()
    spawned = multiprocessing.get_context("spawn")
    with Server(desk.wire) as address:
        for method in ("Balance", "OpenOrders"):
            spent = []
            for _ in range(runs):
                told: Queue[float] = spawned.Queue()
                nonce = time.time_ns()
                client = spawned.Process(
                    target=_client, args=(address.port, desk.key, method, nonce, told)
                )
                client.start()
                spent.append(told.get(timeout=120))
                client.join()
            yield _rate(method, "over HTTP", REQUESTS, spent)


def _client(port: int, key: ApiKey, method: str, nonce: int, told: Queue[float]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    began = time.perf_counter()
    for number in range(REQUESTS):
        headers, body = signed(key, method, nonce + number, {})
        connection.request("POST", f"/0/private/{method}", body, headers)
        if not connection.getresponse().read().startswith(b'{"error":[],'):
            raise RuntimeError("refused")
    told.put(time.perf_counter() - began)
    connection.close()


@benchmark("exchange.replay", "a year of hourly candles, looked at candle by candle")
def replay(runs: int) -> Iterator[Measurement]:
    """Each hour: candles, balances and open orders; each day an order and each tenth a fill."""
    for tool, look in (("in process", _directly), ("over the wire", _by_client)):
        spent = []
        for _ in range(runs):
            began = time.perf_counter()
            look()
            spent.append(time.perf_counter() - began)
        yield measured(
            "a year of hours", tool, YEAR, spent, notes=f"{YEAR / min(spent):,.0f} hours a second"
        )


def _year() -> tuple[SandboxExchange, ManualClock]:
    candles = SimulatedFeed(1, (BTC,)).history(BTC, HOUR, NOW, YEAR + 800)
    clock = ManualClock(NOW - timedelta(hours=YEAR))
    exchange = SandboxExchange(
        ReplayFeed({BTC: candles}), clock, balances={"USD": Decimal(10**6), "BTC": Decimal(100)}
    )
    return exchange, clock


def _directly() -> None:
    exchange, clock = _year()
    _drive(exchange, clock)


def _by_client() -> None:
    exchange, clock = _year()
    key = ApiKey.generate()
    client = KrakenClient(
        key.key, key.secret, url="http://sandbox", handler=KrakenWire(exchange, [key]),
        now=clock.now, metadata_s=float("inf"),
    )  # fmt: skip
    _drive(client, clock)
    client.close()


def _drive(exchange: SandboxExchange | KrakenClient, clock: ManualClock) -> None:
    for hour in range(YEAR):
        now = clock.now()
        candles = exchange.candles(BTC, HOUR)
        exchange.balances()
        exchange.open_orders()
        if hour % 24 == 0:
            exchange.cancel_all()
            price = Decimal(int(candles.close[-1] * (1 if hour % 240 == 0 else 0.97)))
            own_id = make_order_id(BTC, now, Side.BUY, Purpose.ENTRY)
            exchange.place(
                OrderRequest(own_id, BTC, Side.BUY, OrderType.LIMIT, Decimal("0.01"), price), now
            )
        clock.sleep_until(now + HOUR.delta)
