"""The box of `trading_box` through Kraken's wire, where every request can be seen and refused."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import parse_qs

from kraken_client import KrakenClient
from tests.trading_box import CALM, Box
from trader.domain.errors import ExchangeError
from trader.domain.portfolio import Portfolio
from trader.exchanges.kraken_nonces import MemoryNonces
from trader.exchanges.sandbox_server import JSON, KrakenWire
from trader.exchanges.wire.keys import ApiKey
from trading_executor import TradingExecutor

Reply = tuple[int, str, bytes]
Meddler = Callable[[str, dict[str, str], Callable[[], Reply]], Reply | None]


def refusal(text: str) -> Reply:
    return 200, JSON, json.dumps({"error": [text]}).encode()


def result(document: object) -> Reply:
    return 200, JSON, json.dumps({"error": [], "result": document}).encode()


def refuses(text: str, *calls: str, times: int | None = None) -> Meddler:
    """Refuses some calls with these words, the first `times` or always."""
    left = [times]

    def meddle(call, form, go):
        if call not in calls or left[0] == 0:
            return None
        if left[0] is not None:
            left[0] -= 1
        return refusal(text)

    return meddle


class _Wire:
    """Hands requests on unless somebody meddles."""

    def __init__(self, wire: KrakenWire) -> None:
        self.wire = wire
        self.meddle: Meddler | None = None
        self.calls: list[str] = []

    def handle(self, method, path, query, headers, body):
        call = path.rsplit("/", 1)[-1]
        form = {k: v[0] for k, v in parse_qs((body or b"").decode() or query).items()}
        self.calls.append(call)

        def go() -> Reply:
            return self.wire.handle(method, path, query, headers, body)

        found = self.meddle(call, form, go) if self.meddle else None
        return go() if found is None else found


class WireBox(Box):
    """Executor → KrakenClient → wire → sandbox; `skew_s` is how far the local clock is ahead."""

    def __init__(self, rows=CALM, *, metadata_s=3600.0, **options) -> None:
        self.metadata_s = metadata_s
        self.skew_s = 0.0
        self.wire: _Wire | None = None
        self.nonces = MemoryNonces()
        super().__init__(rows, **options)

    @property
    def now(self) -> datetime:
        """This machine's clock."""
        return self.clock.now() + timedelta(seconds=self.skew_s)

    def client(self) -> KrakenClient:
        if self.wire is None:
            self.key = ApiKey.generate()
            self.wire = _Wire(KrakenWire(self.real, [self.key]))
        return KrakenClient(
            self.key.key, self.key.secret, url="http://sandbox", now=lambda: self.now,
            metadata_s=self.metadata_s, handler=self.wire, nonces=self.nonces, seed=1,
            sleep=self.forward,
        )  # fmt: skip

    def new_executor(self) -> TradingExecutor:
        box = self

        class LocalClock:
            def now(self) -> datetime:
                return box.now

            def sleep_until(self, moment: datetime) -> None:
                raise AssertionError("the executor does not sleep")

        return TradingExecutor(self.client(), self.journal, Portfolio("USD"), clock=LocalClock())

    def forward(self, seconds: float) -> None:
        """Let the exchange's time pass."""
        self.clock.sleep_until(self.clock.now() + timedelta(seconds=seconds))

    def settle(self, seconds: float = 0.0) -> str:
        """Let time pass, then settle; what went wrong, empty for nothing."""
        self.forward(seconds)
        try:
            self.executor.settle(self.now)
        except ExchangeError as fault:
            return fault.message
        return ""

    def flatten(self, *, seconds: int) -> bool:
        """Stand down flat, tried once a second."""
        for _ in range(seconds):
            try:
                if self.executor.stand_down(self.now, "drill", flatten=True):
                    return True
            except ExchangeError:
                pass
            self.settle(1)
        return False
