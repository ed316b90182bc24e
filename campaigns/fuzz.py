"""Bytes nobody thought of, on both sides of the wire, led by what code they reach (Atheris).

`python -m campaigns.fuzz --seconds 300 --seed 1` fuzzes the exchange with requests and the client
with answers. A request must be answered in Kraken's form and may place only the orders its answer
names; an answer must become a value, a clean error or an unknown outcome, and an order is sent
once. Each side runs in a process of its own, which ends at the first input that breaks a rule.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from campaigns.output import Pace, show

SIDES = ("requests", "answers")
ROOT = Path(__file__).resolve().parents[1]
_MADE_ANEW = 5_000
"""An exchange that has seen so many inputs is made anew: it remembers all its orders."""
_LONGEST_INPUT = 600
_PROGRESS = re.compile(rb"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+)")
_GOOD = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "30000"}
_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"
_TXID = re.compile("[0-9A-Z]{6}-[0-9A-Z]{5}-[0-9A-Z]{6}")
_NOT_INSTALLED = """Coverage-guided fuzzing needs the package atheris, which is not installed.
Install it with the other optional tools: make peers
"""


class Broken(AssertionError):
    """An input that broke a rule; the words say which."""


# -- what is fuzzed (in a child process, whose modules Atheris instruments) -----------------------


class Exchange:
    """A small exchange with an account, made anew now and then."""

    def __init__(self) -> None:
        from trader.exchanges.wire.keys import ApiKey

        self.key = ApiKey("FUZZKEY" + "x" * 49, base64.b64encode(bytes(range(64))).decode())
        self._renew()

    def _renew(self) -> None:
        import numpy as np

        from trader.clocks import ManualClock
        from trader.domain.candles import Candles, Timeframe
        from trader.domain.markets import Pair
        from trader.exchanges.feeds.replay import ReplayFeed
        from trader.exchanges.sandbox import SandboxExchange
        from trader.exchanges.sandbox_server import KrakenWire

        pair, count = Pair("BTC", "USD"), 300
        begin = datetime(2024, 1, 1, tzinfo=UTC)
        price = np.full(count, 40_000.0)
        times = int(begin.timestamp()) + 60 * np.arange(count, dtype=np.int64)
        candles = Candles(
            Timeframe(60), times, price, price + 40, price - 40, price, np.full(count, 2.0),
            np.full(count, 20, dtype=np.int64),
        )  # fmt: skip
        self.pair, self.seen, self.nonce = pair, 0, 0
        self.clock = ManualClock(begin + timedelta(minutes=150))
        money = {"USD": Decimal(100_000), "BTC": Decimal(2)}
        self.sandbox = SandboxExchange(ReplayFeed({pair: candles}), self.clock, balances=money)
        self.wire = KrakenWire(self.sandbox, [self.key])
        self.methods = sorted(self.wire._private)

    def next(self) -> None:
        """One more input."""
        self.seen += 1
        if self.seen > _MADE_ANEW:
            self._renew()

    def post(self, method: str, body: bytes, nonce: str, kind: str, honest: bool) -> Any:
        """The answer to a request with our signature, or with a wrong one."""
        from trader.exchanges.wire.keys import sign

        path = f"/0/private/{method}"
        signature = sign(self.key.secret, path, nonce, body) if honest else "QUJD"
        headers = {"API-Key": self.key.key, "API-Sign": signature, "Content-Type": kind}
        return self._read(*self.wire.handle("POST", path, "", headers, body))

    def get(self, method: str, query: str) -> Any:
        """The answer to a public call."""
        return self._read(*self.wire.handle("GET", f"/0/public/{method}", query, {}, b""))

    def _read(self, status: int, kind: str, content: bytes) -> Any:
        if (status, kind) != (200, _JSON):
            raise Broken(f"answered with {status} {kind}")
        answer = json.loads(content)
        if "EGeneral:Internal error" in answer["error"]:
            raise Broken(f"internal error: {content[:300]!r}")
        return answer


class Requests:
    """Any bytes as a request: a clean answer, and no order but those the answer names."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.public = sorted(self.exchange.wire.public.methods)

    def seeds(self) -> list[bytes]:
        """Good requests to begin with."""
        form = urllib.parse.urlencode(_GOOD).encode()
        body = json.dumps(_GOOD).encode()[1:]
        batch = b'"pair":"XBTUSD","orders":[%s,%s]}' % ((json.dumps(_GOOD).encode(),) * 2)
        found = [bytes([m, k]) + form for m in range(len(self.exchange.methods)) for k in (0, 1)]
        found += [bytes([m, 2]) + body for m in range(len(self.exchange.methods))]
        found.append(bytes([self.exchange.methods.index("AddOrderBatch"), 2]) + batch)
        found += [bytes([m, 4]) + b"pair=XBTUSD&count=5&since=1" for m in range(len(self.public))]
        return found

    def take(self, data: bytes) -> None:
        """One input: its first bytes choose the method and the way, the others are sent."""
        if len(data) < 2:
            return
        exchange, rest = self.exchange, data[2:]
        exchange.next()
        if data[1] % 5 == 4:
            query = rest.decode("utf-8", "replace")
            exchange.get(self.public[data[0] % len(self.public)], query)
            return
        method = exchange.methods[data[0] % len(exchange.methods)]
        honest, as_json = data[1] % 5 != 1, data[1] % 5 == 2
        exchange.nonce += 1
        body = (b'{"nonce": %d, ' if as_json else b"nonce=%d&") % exchange.nonce + rest
        before = len(exchange.sandbox.engine.orders)
        answer = exchange.post(
            method, body, str(exchange.nonce), _JSON if as_json else _FORM, honest
        )
        made = len(exchange.sandbox.engine.orders) - before
        told = len(_TXID.findall(json.dumps(answer.get("result", "")))) if honest else 0
        # A conditional close is one more order, named by no answer.
        if made > (2 * told if method.startswith(("Add", "Edit")) else 0):
            raise Broken(f"{method}: {made} orders were made, {told} named: {body[:300]!r}")
        if not honest and not answer["error"]:
            raise Broken(f"{method}: let in without a signature: {body[:300]!r}")


class Answers:
    """Any bytes as an answer: a value, a clean error or an unknown outcome."""

    def __init__(self) -> None:
        from kraken_client import KrakenClient
        from trader.domain.markets import Pair
        from trader.domain.orders import OrderRequest, OrderType, Side
        from trader.domain.timeframes import Timeframe

        self.exchange = Exchange()
        self.method, self.body, self.status, self.sent = "", b"", 200, 0
        client = KrakenClient(
            self.exchange.key.key, self.exchange.key.secret, url="http://sandbox", handler=self,
            sleep=lambda _: None, now=self.exchange.clock.now, metadata_s=1e9,
        )  # fmt: skip
        self.client, pair = client, Pair("BTC", "USD")
        long_ago = datetime(2015, 1, 1, tzinfo=UTC)
        self.reads: dict[str, Callable[[], Any]] = {
            "OHLC": lambda: client.candles(pair, Timeframe(60)),
            "Ticker": lambda: client.ticker(pair),
            "Depth": lambda: client.order_book(pair),
            "Trades": lambda: client.recent_trades(pair),
            "BalanceEx": client.balances,
            "OpenOrders": client.open_orders,
            "ClosedOrders": lambda: client.closed_orders(long_ago),
            "QueryOrders": lambda: client.order("OABCDE-ABCDE-ABCDEF"),
            "TradesHistory": lambda: client.fills(long_ago),
            "TradeVolume": lambda: client.fee_rates(pair),
            "GetApiKeyInfo": client.key_permissions,
            "Time": client.server_time,
            "CancelOrder": lambda: client.cancel("OABCDE-ABCDE-ABCDEF"),
            "AddOrder": self._place,
        }
        self.names = sorted(self.reads)
        self.order = OrderRequest(
            "ab" * 16, pair, Side.BUY, OrderType.LIMIT, Decimal("0.01"), Decimal(30_000)
        )
        client.market_rules(pair)

    def handle(
        self, verb: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        """The exchange for the client: bytes of ours for the method that is tried."""
        name = path.rsplit("/", 1)[1]
        self.sent += name == "AddOrder"
        if name == self.method:
            return self.status, _JSON, self.body
        return self.exchange.wire.handle(verb, path, query, dict(headers), body)

    def seeds(self) -> list[bytes]:
        """What the exchange really answers."""
        exchange, found = self.exchange, []
        for fields in ({"ordertype": "market", "price": ""}, {}):
            exchange.nonce += 1
            form = {"nonce": exchange.nonce, **_GOOD, **fields}
            body = urllib.parse.urlencode({k: v for k, v in form.items() if v != ""}).encode()
            exchange.post("AddOrder", body, str(exchange.nonce), _FORM, True)
        for number, name in enumerate(self.names):
            if name in exchange.wire.public.methods:
                answer = exchange.get(name, "pair=XBTUSD&count=3")
                if name == "OHLC":
                    answer["result"]["XXBTZUSD"] = answer["result"]["XXBTZUSD"][-3:]
            else:
                exchange.nonce += 1
                body = b"nonce=%d&pair=XBTUSD" % exchange.nonce
                answer = exchange.post(name, body, str(exchange.nonce), _FORM, True)
            found.append(bytes([number, 0]) + json.dumps(answer).encode())
        good = b'{"error":[],"result":{"descr":{"order":"x"},"txid":["OABCDE-ABCDE-ABCDEF"]}}'
        return [*found, bytes([self.names.index("AddOrder"), 0]) + good]

    def take(self, data: bytes) -> None:
        """One input: its first bytes choose what is asked and the status, the others answer."""
        from trader.domain.errors import ExchangeError

        if len(data) < 2:
            return
        self.method, self.body = self.names[data[0] % len(self.names)], data[2:]
        self.status = (200, 200, 200, 502, 429, 520)[data[1] % 6]
        with contextlib.suppress(ExchangeError):
            self.reads[self.method]()

    def _place(self) -> None:
        from trader.domain.errors import ExchangeError, OutcomeUnknown

        self.sent, found = 0, ""
        try:
            found = self.client.place(self.order, self.exchange.clock.now())
        except OutcomeUnknown:
            if self.sent != 1:
                raise Broken(f"sent {self.sent} times: {self.body[:300]!r}") from None
            return
        except ExchangeError as fault:
            if not json.loads(self.body).get("error"):
                raise Broken(f"{fault.category} without an error: {self.body[:300]!r}") from None
            return
        if self.status != 200 or not _TXID.fullmatch(found):
            raise Broken(f"took {found!r} for an order's id: {self.body[:300]!r}")


def child(side: str, folder: Path, words: list[str]) -> None:
    """Fuzz one side in this process; ends it."""
    import atheris

    with atheris.instrument_imports(
        include=["kraken_client", "trader"], enable_loader_override=False
    ):
        import kraken_client  # noqa: F401
        import trader.exchanges.sandbox_server  # noqa: F401
    target: Requests | Answers = Requests() if side == "requests" else Answers()
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (folder / f"seed-{number:03d}").write_bytes(seed)
    atheris.Setup([sys.argv[0], str(folder), *words], target.take)
    atheris.Fuzz()


# -- the campaign ---------------------------------------------------------------------------------


def fuzz(side: str, seconds: int, seed: int, pace: Pace) -> dict[str, Any]:
    """Run one side for a time; how much was tried and reached, and what broke."""
    with tempfile.TemporaryDirectory(prefix="campaign-fuzz-") as folder:
        words = [
            sys.executable, "-m", "campaigns.fuzz", "--side", side, "--corpus", f"{folder}/corpus",
            "--",  # else a letter of the folder's name may be taken for an option of ours
            f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={_LONGEST_INPUT}",
            f"-artifact_prefix={folder}/broken-", "-rss_limit_mb=0", "-timeout=20",
        ]  # fmt: skip
        inputs = reached = ways = 0
        tail: list[bytes] = []
        with subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as run:
            for line in run.stdout or ():
                tail = [*tail[-30:], line]
                if found := _PROGRESS.match(line):
                    inputs, reached, ways = map(int, found.groups())
                    pace.tell(f"{side}: {inputs} inputs, {reached} edges")
        broken = [base64.b64encode(f.read_bytes()).decode() for f in Path(folder).glob("broken-*")]
    told = b"".join(tail).decode("utf-8", "replace") if run.returncode else ""
    return {"inputs": inputs, "edges": reached, "features": ways, "broken": len(broken),
            "breaking_inputs": broken, "why": told}  # fmt: skip


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True}
)
@click.option("--seconds", type=click.IntRange(min=5), default=60, show_default=True,
              help="For each side.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--side", type=click.Choice(SIDES), help="Only this one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--corpus", type=click.Path(path_type=Path), hidden=True)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="")
def main(
    seconds: int, seed: int, side: str | None, as_json: bool, corpus: Path | None,
    words: tuple[str, ...],
) -> None:  # fmt: skip
    """Fuzz both sides of the wire, led by the code that is reached."""
    if corpus is not None and side is not None:
        child(side, corpus, list(words))
        return
    import importlib.util

    if importlib.util.find_spec("atheris") is None:
        click.echo(_NOT_INSTALLED, err=True, nl=False)
        sys.exit(2)
    pace = Pace()
    found = {name: fuzz(name, seconds, seed, pace) for name in SIDES if side in (None, name)}
    show({"seed": seed, "seconds_each": seconds, **found}, as_json=as_json)
    sys.exit(1 if any(part["why"] or part["broken"] for part in found.values()) else 0)


if __name__ == "__main__":
    main()
