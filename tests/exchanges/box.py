"""A small exchange under Kraken's paths for tests: two markets, one account, a clock at hand."""

import json
import urllib.parse
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.market_making import START, candles_of
from trader.clocks import ManualClock
from trader.domain.candles import Timeframe
from trader.domain.markets import Pair
from trader.exchanges.feeds import ReplayFeed
from trader.exchanges.kraken_limits import Tier
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire
from trader.exchanges.wire.keys import ApiKey, sign
from trader.simulation.costs import Costs

BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")
MINUTE = Timeframe(60)
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
KEY = ApiKey("BOXKEY" + "x" * 50, SECRET)


class Box:
    """Flat prices by default: 40,000 for BTC/USD and 2,000 for ETH/USD, minute by minute."""

    def __init__(
        self,
        *,
        closes: list[float] | None = None,
        minutes: int = 3000,
        at: int | None = None,
        key: ApiKey = KEY,
        tier: Tier | None = None,
        usd: str = "100000",
        btc: str = "2",
        start: datetime = START,
        timeframe: Timeframe = MINUTE,
    ) -> None:
        prices = closes or [40_000.0] * minutes
        self.clock = ManualClock(start + timedelta(minutes=len(prices) // 2 if at is None else at))
        feed = ReplayFeed(
            {
                BTC: candles_of(prices, timeframe, start),
                ETH: candles_of([price / 20 for price in prices], timeframe, start),
            }
        )
        self.exchange = SandboxExchange(
            feed,
            self.clock,
            balances={"USD": Decimal(usd), "BTC": Decimal(btc)},
            costs=Costs(slippage=Decimal("0.0005")),
        )
        self.key = key
        self.wire = KrakenWire(self.exchange, [key], tier)
        self.nonce = 0

    def forward(self, **span: float) -> None:
        self.clock.sleep_until(self.clock.now() + timedelta(**span))

    # ── requests as a client makes them ─────────────────────────────────────────────────────

    def get(self, method: str, **query: Any) -> Any:
        """A public call: the whole answer."""
        return self._answer("GET", f"/0/public/{method}", urllib.parse.urlencode(query), {}, b"")

    def post(self, method: str, /, **form: Any) -> Any:
        """A private call with a form body: the whole answer."""
        self.nonce += 1
        body = urllib.parse.urlencode({"nonce": self.nonce, **form}).encode()
        return self.send(method, body, str(self.nonce))

    def post_json(self, method: str, /, **fields: Any) -> Any:
        self.nonce += 1
        body = json.dumps({"nonce": self.nonce, **fields}).encode()
        return self.send(method, body, str(self.nonce), "application/json")

    def send(
        self,
        method: str,
        body: bytes,
        nonce: str,
        content_type: str = "application/x-www-form-urlencoded",
    ) -> Any:
        path = f"/0/private/{method}"
        headers = {
            "API-Key": self.key.key,
            "API-Sign": sign(self.key.secret, path, nonce, body),
            "Content-Type": content_type,
        }
        return self._answer("POST", path, "", headers, body)

    def _answer(
        self, verb: str, path: str, query: str, headers: dict[str, str], body: bytes
    ) -> Any:
        status, content_type, content = self.wire.handle(verb, path, query, headers, body)
        assert (status, content_type) == (200, "application/json")
        return json.loads(content)

    # ── answers that must be good ───────────────────────────────────────────────────────────

    def read(self, method: str, **query: Any) -> Any:
        return _result(self.get(method, **query))

    def ask(self, method: str, /, **form: Any) -> Any:
        return _result(self.post(method, **form))

    def order(self, **form: Any) -> str:
        """Place an order; its id."""
        fields = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01"}
        txid: str = self.ask("AddOrder", **(fields | form))["txid"][0]
        return txid

    def refusal(self, method: str, /, **form: Any) -> str:
        answer = self.post(method, **form)
        assert "result" not in answer
        (text,) = answer["error"]
        return str(text)


def _result(answer: Any) -> Any:
    assert answer["error"] == [], answer
    return answer["result"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
