"""Faults on demand for the sandbox: what networks, gateways and exchanges really do, seeded.

`FaultyWire` stands before a `KrakenWire` and lets some requests meet a fault of `FAULTS`. The same
seed and the same requests give the same faults. A fault that says `after` happens although the
request was carried out; one that says `before` prevents it.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from trader.domain.errors import OrderNotFound, OrderRejected, UsageError
from trader.domain.orders import Side
from trader.exchanges.sandbox_server import JSON, MODES, KrakenWire
from trader.exchanges.transport import NoReply
from trader.exchanges.wire.forms import Form, Refused
from trader.simulation.orders import LIMIT_TYPES, STOP_TYPES, OrderRecord

ORDER_CALLS = frozenset({"AddOrder", "CancelOrder", "CancelAll"})
READS_OF_ORDERS = frozenset({"OpenOrders", "ClosedOrders", "QueryOrders", "TradesHistory"})
CANDLE_CALLS = frozenset({"OHLC"})
_HTML = b"<html><head><title>%d</title></head><body><center>cloudflare</center></body></html>"
_SKEW_S = 7200
_HIDDEN_FOR = timedelta(seconds=20)
_MODE_LASTS = timedelta(seconds=20)

Reply = tuple[int, str, bytes]


class Hang(NoReply):
    """The server says nothing for a long time."""


class Cut(NoReply):
    """The connection breaks off after some bytes of the answer."""

    def __init__(self, sent_bytes: bytes = b"") -> None:
        super().__init__("the connection broke off")
        self.sent_bytes = sent_bytes


@dataclass(slots=True)
class Request:
    """One request on its way."""

    wire: KrakenWire
    call: str
    arguments: tuple[str, str, str, Mapping[str, str], bytes]
    chance: random.Random
    memory: dict[str, Any]

    def carry_out(self) -> Reply:
        """What the exchange really answers."""
        return self.wire.handle(*self.arguments)

    def form(self) -> Form:
        """Its fields."""
        _, _, query, headers, body = self.arguments
        try:
            return (
                Form.of_body(headers.get("Content-Type", ""), body)
                if body
                else (Form.of_query(query))
            )
        except Refused:
            return Form({})


Misfortune = Callable[[Request], Reply]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        calls: methods that can meet it; None for all.
    """

    name: str
    happen: Misfortune
    calls: frozenset[str] | None = None


FAULTS: dict[str, Fault] = {}


def fault(name: str, calls: Iterable[str] | None = None) -> Callable[[Misfortune], Misfortune]:
    """Enter a kind of fault."""

    def enter(happen: Misfortune) -> Misfortune:
        FAULTS[name] = Fault(name, happen, None if calls is None else frozenset(calls))
        return happen

    return enter


def _answer(document: Any) -> Reply:
    return 200, JSON, json.dumps(document, separators=(",", ":")).encode()


def _refusal(text: str) -> Reply:
    return _answer({"error": [text]})


# ── connection ─────────────────────────────────────────────────────────────────────────────


@fault("timeout_before")
def _timeout_before(request: Request) -> Reply:
    raise Hang("no answer in time")


@fault("timeout_after")
def _timeout_after(request: Request) -> Reply:
    request.carry_out()
    raise Hang("no answer in time")


@fault("reset_before")
def _reset_before(request: Request) -> Reply:
    raise Cut


@fault("reset_after")
def _reset_after(request: Request) -> Reply:
    request.carry_out()
    raise Cut


@fault("reset_mid_body")
def _reset_mid_body(request: Request) -> Reply:
    body = request.carry_out()[2]
    raise Cut(body[: len(body) // 2])


@fault("slow_drip")
def _slow_drip(request: Request) -> Reply:
    """One byte after the other, slower than anybody waits: no answer in time."""
    request.carry_out()
    raise Hang("the answer was not complete in time")


@fault("delivered_twice")
def _delivered_twice(request: Request) -> Reply:
    """A gateway repeats the request; the client sees only the second answer."""
    request.carry_out()
    return request.carry_out()


# ── gateway ────────────────────────────────────────────────────────────────────────────────


def _gateway(status: int, *, after: bool) -> Misfortune:
    def happen(request: Request) -> Reply:
        if after:
            request.carry_out()
        return status, "text/html", _HTML % status

    return happen


for _status in (502, 504, 520):
    fault(f"http_{_status}_before")(_gateway(_status, after=False))
    fault(f"http_{_status}_after")(_gateway(_status, after=True))
fault("http_403_before")(_gateway(403, after=False))
fault("http_429_before")(_gateway(429, after=False))


# ── damaged answers ────────────────────────────────────────────────────────────────────────


@fault("truncated_json")
def _truncated(request: Request) -> Reply:
    status, kind, body = request.carry_out()
    return status, kind, body[: request.chance.randrange(max(1, len(body)))]


@fault("html_with_status_200")
def _html(request: Request) -> Reply:
    request.carry_out()
    return 200, "text/html", _HTML % 200


@fault("empty_body")
def _empty(request: Request) -> Reply:
    request.carry_out()
    return 200, JSON, b""


@fault("no_result")
def _no_result(request: Request) -> Reply:
    request.carry_out()
    return _answer({"error": []})


@fault("wrong_json")
def _wrong(request: Request) -> Reply:
    request.carry_out()
    return _answer({"error": [], "result": request.chance.choice([None, [], 7, "x", {"a": {}}])})


# ── the exchange says no, or something else ────────────────────────────────────────────────


def _says(text: str, *, after: bool = False) -> Misfortune:
    def happen(request: Request) -> Reply:
        if after:
            request.carry_out()
        return _refusal(text)

    return happen


PRIVATE = frozenset({*ORDER_CALLS, *READS_OF_ORDERS, "BalanceEx", "TradeVolume", "Balance"})

fault("lost_nonce", PRIVATE)(_says("EAPI:Invalid nonce"))
fault("rate_limit")(_says("EAPI:Rate limit exceeded"))
fault("lockout", PRIVATE)(_says("EGeneral:Temporary lockout"))
fault("unavailable_before")(_says("EService:Unavailable"))
fault("unavailable_after")(_says("EService:Unavailable", after=True))
fault("busy")(_says("EService:Busy"))
fault("internal_error_after")(_says("EGeneral:Internal error", after=True))
fault("unknown_error_after")(_says("EFuture:Nobody has seen this", after=True))
fault("deadline_elapsed", ["AddOrder"])(_says("EService:Deadline elapsed"))
fault("trading_limit", ["AddOrder"])(_says("EOrder:Rate limit exceeded"))
fault("cancel_only", ["AddOrder"])(_says("EService:Market in cancel_only mode"))


def _enters(mode: str) -> Misfortune:
    """The whole exchange goes into a mode of maintenance for a while, from this request on."""

    def happen(request: Request) -> Reply:
        request.wire.set_mode(mode)
        request.memory["mode_until"] = request.wire.exchange.server_time() + _MODE_LASTS
        return request.carry_out()

    return happen


for _mode in MODES[1:]:
    fault(f"mode_{_mode}", ["AddOrder", "CancelOrder"])(_enters(_mode))


@fault("throttled")
def _throttled(request: Request) -> Reply:
    until = int(request.wire.exchange.server_time().timestamp()) + 3
    return _refusal(f"EService: Throttled: {until}")


# ── answers that are true, and odd ─────────────────────────────────────────────────────────


def _edited(edit: Callable[[Any, Request], Any]) -> Misfortune:
    """Carry out, and change the result of a good answer."""

    def happen(request: Request) -> Reply:
        status, kind, body = request.carry_out()
        document = json.loads(body)
        if "result" not in document:
            return status, kind, body
        return _answer(document | {"result": edit(document["result"], request)})

    return happen


def _with_unknown_fields(value: Any, request: Request) -> Any:
    if isinstance(value, dict):
        richer = {key: _with_unknown_fields(item, request) for key, item in value.items()}
        # A map from names to rows gets no odd row: its keys are data, not fields.
        fields = all(not isinstance(item, dict) for item in value.values())
        return {**richer, "new_in_2030": None} if fields and "last" not in value else richer
    return value


fault("unknown_fields", ["OpenOrders", "ClosedOrders", "QueryOrders", "TradesHistory"])(
    _edited(_with_unknown_fields)
)


@fault("reordered", [*READS_OF_ORDERS, "BalanceEx", "AssetPairs"])
def _reordered(request: Request) -> Reply:
    def turn(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turn(value[key]) for key in reversed(value)}
        return value

    return _edited(lambda result, _: turn(result))(request)


@fault("numbers_without_quotes", ["BalanceEx"])
def _bare_numbers(request: Request) -> Reply:
    def bare(result: Any, _: Request) -> Any:
        return {k: {n: float(v) for n, v in row.items()} for k, row in result.items()}

    return _edited(bare)(request)


@fault("warning_beside_result")
def _warned(request: Request) -> Reply:
    status, kind, body = request.carry_out()
    document = json.loads(body)
    if document["error"]:
        return status, kind, body
    return _answer(document | {"error": ["WGeneral:Danger ahead"]})


@fault("clock_skew", ["Time"])
def _skewed(request: Request) -> Reply:
    return _edited(lambda result, _: result | {"unixtime": result["unixtime"] - _SKEW_S})(request)


def _drop_rows(keep: Callable[[int, int, random.Random], bool]) -> Misfortune:
    def edit(result: Any, request: Request) -> Any:
        edited = {}
        for key, rows in result.items():
            if key == "last" or not isinstance(rows, list):
                edited[key] = rows
                continue
            size = len(rows)
            edited[key] = [r for i, r in enumerate(rows) if keep(i, size, request.chance)]
        return edited

    return _edited(edit)


fault("missing_candles", CANDLE_CALLS)(
    _drop_rows(lambda i, size, chance: i >= size - 3 or chance.random() > 0.05)
)


@fault("stale_candles", CANDLE_CALLS)
def _stale(request: Request) -> Reply:
    """The newest finished candle is not there yet, and `last` says so."""

    def edit(result: Any, _: Request) -> Any:
        key, rows = next((k, v) for k, v in result.items() if k != "last")
        if len(rows) < 3:
            return result
        return {key: rows[:-1], "last": rows[-3][0]}

    return _edited(edit)(request)


@fault("empty_fees", ["AssetPairs", "TradeVolume"])
def _without_fees(request: Request) -> Reply:
    def edit(result: Any, _: Request) -> Any:
        if request.call == "TradeVolume":
            return result | {"fees": None, "fees_maker": None}
        return {k: row | {"fees": [], "fees_maker": []} for k, row in result.items()}

    return _edited(edit)(request)


@fault("changed_minimum", ["AssetPairs", "AddOrder"])
def _minimum(request: Request) -> Reply:
    """Kraken moves a minimum without notice: doubled, and back the next time."""
    exchange = request.wire.exchange
    doubled = request.memory["doubled"] = not request.memory.get("doubled", False)
    for pair, market in exchange.markets.items():
        lowest = market.rules.order_minimum
        exchange.change_rules(pair, order_minimum=lowest * 2 if doubled else lowest / 2)
    return request.carry_out()


@fault("repeated_answer", ["Ticker", "OHLC", "Depth", "Trades", "AssetPairs", "BalanceEx"])
def _repeated(request: Request) -> Reply:
    """A cache gives the answer that the same question had a while ago."""
    key = f"answer {request.call} {request.arguments[2]}"
    fresh = request.carry_out()
    stale: Reply = request.memory.get(key, fresh)
    request.memory[key] = fresh
    return stale


# ── orders that surprise ───────────────────────────────────────────────────────────────────


@fault("order_visible_late", ["AddOrder"])
def _visible_late(request: Request) -> Reply:
    """The order lives, no answer comes, and nobody sees it for a while."""
    before = set(request.wire.exchange.engine.orders)
    request.carry_out()
    until = request.wire.exchange.server_time() + _HIDDEN_FOR
    hidden = request.memory.setdefault("hidden", {})
    hidden.update(dict.fromkeys(set(request.wire.exchange.engine.orders) - before, until))
    raise Hang("no answer in time")


@fault("cancel_that_does_not", ["CancelOrder"])
def _false_cancel(request: Request) -> Reply:
    """`count: 1`, pending; the order lives on and may fill."""
    record = _named(request)
    if record is None or not record.is_open:
        return request.carry_out()
    request.wire.exchange.record(record.id)
    return _answer({"error": [], "result": {"count": 1, "pending": True}})


@fault("fill_before_cancel", ["CancelOrder"])
def _fill_first(request: Request) -> Reply:
    """The order fills between the decision to cancel it and the cancel."""
    record = _named(request)
    if record is not None and record.is_open:
        _fill(request, record)
    return request.carry_out()


def _named(request: Request) -> OrderRecord | None:
    txid = request.form().text("txid")
    return request.wire.exchange.engine.orders.get(txid)


def _fill(request: Request, record: OrderRecord) -> None:
    exchange = request.wire.exchange
    ticker = exchange.ticker(record.spec.pair)
    rules = exchange.market_rules(record.spec.pair)
    buys = record.spec.side is Side.BUY
    try:
        if record.spec.type in LIMIT_TYPES:
            beyond = rules.price_up(ticker.ask) if buys else rules.price_down(ticker.bid)
            exchange.amend_record(record.id, limit=beyond, post_only=False)
        elif record.spec.type in STOP_TYPES and record.triggered_at is None:
            exchange.amend_record(record.id, stop=rules.price_nearest(ticker.last))
    except (OrderRejected, OrderNotFound):
        return  # it cannot fill, for lack of funds perhaps


# ── the wire with its faults ───────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class FaultRule:
    """How often which faults strike which methods.

    Attributes:
        rate: share of the requests, 0 to 1.
        kinds: names of `FAULTS`; empty for all.
        calls: methods; empty for all that a kind can strike.
        times: how often at most, None for no limit.
    """

    rate: float
    kinds: tuple[str, ...] = ()
    calls: frozenset[str] = frozenset()
    times: int | None = None


@dataclass(slots=True)
class _State:
    struck: Counter[str] = field(default_factory=Counter)
    left: dict[int, int] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)


class FaultyWire:
    """A Kraken wire some of whose requests meet a fault.

    Args:
        wire: the true exchange.
        rules: which faults, how often; the first rule that strikes counts.
        seed: of all chance.

    Attributes:
        active: False lets everything through.
    """

    def __init__(self, wire: KrakenWire, rules: Iterable[FaultRule], seed: int = 0) -> None:
        self.wire = wire
        self.active = True
        self._rules = tuple(rules)
        self._chance = random.Random(seed)
        self._state = _State()
        self._lock = threading.Lock()

    @property
    def struck(self) -> dict[str, int]:
        """Kind of fault → how often it has struck."""
        return dict(self._state.struck)

    def handle(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Answer, or let a fault happen.

        Raises:
            NoReply: where no complete answer is to come.
        """
        request = Request(
            self.wire, path.rsplit("/", 1)[-1], (method, path, query, headers, body),
            self._chance, self._state.memory,
        )  # fmt: skip
        self._end_mode()
        chosen = self._choose(request.call) if self.active else None
        if chosen is None:
            return self._without_hidden(request.call, request.carry_out())
        with self._lock:
            self._state.struck[chosen.name] += 1
        return self._without_hidden(request.call, chosen.happen(request))

    def change(self, rules: Iterable[FaultRule], seed: int) -> None:
        """Other faults from now on; counts go on."""
        with self._lock:
            self._rules = tuple(rules)
            self._chance = random.Random(seed)
            self._state.left.clear()

    def _end_mode(self) -> None:
        until = self._state.memory.get("mode_until")
        if until is not None and self.wire.exchange.server_time() >= until:
            del self._state.memory["mode_until"]
            self.wire.set_mode("online")

    def _choose(self, call: str) -> Fault | None:
        with self._lock:
            for number, rule in enumerate(self._rules):
                found = self._struck_by(number, rule, call)
                if found is not None:
                    return found
        return None

    def _struck_by(self, number: int, rule: FaultRule, call: str) -> Fault | None:
        if rule.calls and call not in rule.calls:
            return None
        left = self._state.left.get(number, rule.times)
        if left == 0 or self._chance.random() >= rule.rate:
            return None
        kinds = [FAULTS[name] for name in rule.kinds or FAULTS]
        fitting = [kind for kind in kinds if kind.calls is None or call in kind.calls]
        if not fitting:
            return None
        if left is not None:
            self._state.left[number] = left - 1
        return self._chance.choice(fitting)

    def _without_hidden(self, call: str, reply: Reply) -> Reply:
        """Leave out orders that nobody can see yet."""
        hidden: dict[str, Any] = self._state.memory.get("hidden", {})
        if not hidden or call not in READS_OF_ORDERS:
            return reply
        now = self.wire.exchange.server_time()
        for txid in [txid for txid, until in hidden.items() if until <= now]:
            del hidden[txid]
        try:
            document = json.loads(reply[2])
            result = document["result"]
            for rows in (result, result.get("open", {}), result.get("closed", {})):
                for txid in hidden:
                    rows.pop(txid, None)
        except (ValueError, KeyError, AttributeError):
            return reply
        return _answer(document)


def load_rules(path: Path) -> tuple[tuple[FaultRule, ...], int]:
    """Rules and seed from a JSON file.

    `{"seed": 1, "rules": [{"rate": 0.2, "kinds": ["timeout_after"], "calls": ["AddOrder"]}]}`;
    `kinds`, `calls` and `times` may be left out.

    Raises:
        UsageError: if the file is missing or says something else.
    """
    try:
        return rules_of(json.loads(path.read_text(encoding="utf-8")))
    except OSError as fault_:
        raise UsageError(f"cannot read {path}: {fault_.strerror}") from fault_
    except (ValueError, KeyError, TypeError, AttributeError) as fault_:
        raise UsageError(
            f"{path}: {fault_ if isinstance(fault_, ValueError) else 'rules are missing'}",
            'Write {"seed": 1, "rules": [{"rate": 0.2, "kinds": ["timeout_after"]}]}.',
        ) from fault_


def rules_of(document: Mapping[str, Any]) -> tuple[tuple[FaultRule, ...], int]:
    """Rules and seed of a document as `load_rules` reads it.

    Raises:
        ValueError: if a kind or rate does not exist; `KeyError` or `TypeError` for other shapes.
    """
    return tuple(_rule(entry) for entry in document["rules"]), int(document.get("seed", 0))


def _rule(entry: Mapping[str, Any]) -> FaultRule:
    rate = float(entry["rate"])
    kinds = tuple(str(name) for name in entry.get("kinds", ()))
    unknown = sorted(set(kinds) - set(FAULTS))
    if unknown:
        raise ValueError(f"unknown kind {unknown[0]}; known: {', '.join(sorted(FAULTS))}")
    if not 0 <= rate <= 1:
        raise ValueError(f"rate {rate}: expected 0 to 1")
    times = entry.get("times")
    return FaultRule(
        rate, kinds, frozenset(entry.get("calls", ())), None if times is None else int(times)
    )
