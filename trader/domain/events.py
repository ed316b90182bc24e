"""Everything that can happen, as frozen records: the vocabulary of the journal.

Each event is one line of the journal: a kind, a moment, and plain fields. `encode` and `decode`
are each other's inverse; Decimals travel as text, so money stays exact.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Union

from trader.domain.errors import JournalError
from trader.domain.markets import Pair
from trader.domain.orders import Fill, OrderRequest, OrderState, Purpose
from trader.domain.signals import Approval, Refusal, Signal


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The loop began. `mode` is PAPER or LIVE; `feed` says where prices come from."""

    at: datetime
    mode: str
    feed: str
    pairs: tuple[Pair, ...]
    timeframe: str
    strategy: str
    version: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The loop ended in order."""

    at: datetime
    reason: str


ROUNDING = "rounding of amounts at the exchange"
"""Why cash is adjusted where the exchange booked a fill to fewer decimals than we count."""


@dataclass(frozen=True, slots=True)
class CashAdjusted:
    """Quote currency came or went other than by our fills.

    The first deposit, a transfer, a hand trade of the user's, or a difference on reconciling.
    """

    at: datetime
    asset: str
    amount: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class SignalMade:
    """A strategy spoke about a closed candle; `snapshot_digest` says on what it was based."""

    at: datetime
    signal: Signal
    price: float
    snapshot_digest: str


@dataclass(frozen=True, slots=True)
class TradeRefused:
    """A risk rule said no to a signal or to a manual order."""

    at: datetime
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class TradeApproved:
    """The risk rules allowed an order."""

    at: datetime
    approval: Approval


@dataclass(frozen=True, slots=True)
class OrderIntended:
    """An order is about to be sent: written before anything leaves the machine.

    Attributes:
        decided_for: the close of the candle it was decided on.
        stop: protective stop to place once it fills, None for none.
        take_profit: target to place or watch once it fills, None for none.
        expected: price that was expected when it was decided, quote per base; what the fills are
            held against. None where nothing was expected.
    """

    at: datetime
    request: OrderRequest
    purpose: Purpose
    decided_for: datetime
    reason: str
    stop: Decimal | None = None
    take_profit: Decimal | None = None
    expected: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderAccepted:
    """The exchange has the order."""

    at: datetime
    order_id: str
    exchange_id: str


@dataclass(frozen=True, slots=True)
class OrderRefused:
    """The exchange refused the order; it never lived there."""

    at: datetime
    order_id: str
    category: str
    reason: str


@dataclass(frozen=True, slots=True)
class OrderUnclear:
    """A request about the order got no clear answer; the exchange must be asked."""

    at: datetime
    order_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CancelIntended:
    """A cancel is about to be sent."""

    at: datetime
    order_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CancelRefused:
    """The exchange refused a cancel for now: the order lives on as it was."""

    at: datetime
    order_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class AmendIntended:
    """An open order is about to be changed in place.

    To this quantity (base, what has executed included) and this price.
    """

    at: datetime
    order_id: str
    quantity: Decimal
    price: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class OrderAmended:
    """The terms an open order has at the exchange now.

    `reason` says why they are not the ones that were wanted; empty if they are.
    """

    at: datetime
    order_id: str
    quantity: Decimal
    price: Decimal
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OrderFilled:
    """A fill, seen for the first time."""

    at: datetime
    fill: Fill
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class OrderEnded:
    """The order is over: filled, cancelled or expired, with so much executed."""

    at: datetime
    order_id: str
    state: OrderState
    filled_quantity: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class EquityMarked:
    """What the account was worth at a candle's close, in quote."""

    at: datetime
    equity: Decimal
    cash: Decimal
    prices: tuple[tuple[Pair, Decimal], ...]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Journal and exchange were compared; `differences` is empty when they agree."""

    at: datetime
    orders: int
    fills: int
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EmergencyStopped:
    """Trading was stopped; `flatten` says whether positions were to be closed."""

    at: datetime
    reason: str
    flatten: bool
    who: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """Trading was allowed again."""

    at: datetime
    who: str


@dataclass(frozen=True, slots=True)
class RiskStateChanged:
    """What the account as a whole may do has changed (`trading`, `no new risk`, `reduce only`).

    Attributes:
        reason: the rules that made it so.
        recovering_to: equity up to which purchases are smaller, where a pause after a drawdown
            is over: the highest equity begins anew here. None leaves both as they are.
    """

    at: datetime
    state: str
    reason: str
    recovering_to: Decimal | None = None


@dataclass(frozen=True, slots=True)
class StopMoved:
    """The protective stop of a position is raised to this price; never lowered."""

    at: datetime
    pair: Pair
    stop: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class DustLeft:
    """What is left of a position is too little to be sold: it ends, and the rest waits.

    It takes no place, has no stop, and is sold along with what is bought of the pair next.
    """

    at: datetime
    pair: Pair
    quantity: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class ModelAdopted:
    """From now on this model speaks for the pair; empty `model_id` means the plain trend rule."""

    at: datetime
    pair: Pair
    model_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class StatedChance:
    """What a model says of one horizon, before anybody knows how it will end.

    Attributes:
        horizon_hours: how far it looks.
        probability: calibrated chance of a rise from the next open to the horizon's end.
        base_rate: how often that was so in the training rows.
        expected_return: gross, as a fraction.
    """

    horizon_hours: float
    probability: float
    base_rate: float
    expected_return: float


@dataclass(frozen=True, slots=True)
class FeatureMove:
    """How far one feature moved a vote: probability."""

    feature: str
    moved: float


@dataclass(frozen=True, slots=True)
class VoteExplained:
    """Where a vote comes from: start + the moves + rest = vote, exactly.

    Attributes:
        horizon_hours: the horizon explained.
        start: the members' mean expectation before they saw the candle.
        moves: the strongest features, strongest first.
        rest: what all the others moved together.
        vote: the members' mean probability, before calibration.
        calibrated: the probability after it.
    """

    horizon_hours: float
    start: float
    moves: tuple[FeatureMove, ...]
    rest: float
    vote: float
    calibrated: float


@dataclass(frozen=True, slots=True)
class ForecastMade:
    """A model spoke about a closed candle, whether or not anything was done on it.

    Attributes:
        chances: one a horizon, shortest first.
        buckets: one sign a feature: which tenth of its training values the value lies in, `0` to
            `9`, `-` where it is not known; empty for a model that does not know its tenths.
        strange: share of the features outside their training range.
        explained: of the horizon that decides; None where nobody asked.
    """

    at: datetime
    pair: Pair
    closed_at: datetime
    model_id: str
    chances: tuple[StatedChance, ...]
    buckets: str = ""
    strange: float = 0.0
    explained: VoteExplained | None = None


@dataclass(frozen=True, slots=True)
class ForecastOutcome:
    """What came of one stated chance.

    Attributes:
        closed_at: the close of the candle it was made for.
        gained: gross return from the next open to the horizon's end; above 0 is a rise.
    """

    closed_at: datetime
    model_id: str
    horizon_hours: float
    probability: float
    base_rate: float
    gained: float


@dataclass(frozen=True, slots=True)
class ForecastScored:
    """Outcomes of earlier forecasts on the pair that are known by now."""

    at: datetime
    pair: Pair
    outcomes: tuple[ForecastOutcome, ...]


@dataclass(frozen=True, slots=True)
class ModelDoubted:
    """The live record speaks against the model: from here on the plain trend rule decides."""

    at: datetime
    model_id: str
    horizon_hours: float
    reason: str


@dataclass(frozen=True, slots=True)
class ModelTrusted:
    """The model is believed again."""

    at: datetime
    model_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelCompared:
    """A challenger was held against the model in use on data neither has seen.

    Attributes:
        verdict: `promoted`, `kept` (the challenger is dropped) or `undecided`.
        blocks: independent pieces of evidence so far.
        lead: mean log-loss advantage of the challenger per forecast, nats; below 0 is worse.
        evidence: e-value for the challenger: 20 and more decide for it.
    """

    at: datetime
    pair: Pair
    champion: str
    challenger: str
    verdict: str
    blocks: int
    lead: float
    evidence: float
    reason: str


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """A health check changed its state (`ok`, `warn`, `fail`)."""

    at: datetime
    check: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class Troubled:
    """Something went wrong and the loop went on; `category` as in `domain.errors`."""

    at: datetime
    category: str
    message: str


Event = Union[  # noqa: UP007 - get_args reads the members
    SessionStarted, SessionEnded, CashAdjusted, SignalMade, TradeRefused, TradeApproved,
    OrderIntended, OrderAccepted, OrderRefused, OrderUnclear, CancelIntended, CancelRefused,
    OrderFilled,
    OrderEnded, EquityMarked, Reconciled, EmergencyStopped, Resumed, RiskStateChanged,
    StopMoved, DustLeft, AmendIntended, OrderAmended,
    ModelAdopted, ForecastMade, ForecastScored, ModelDoubted, ModelTrusted, ModelCompared,
    HealthChanged, Troubled,
]  # fmt: skip

EVENT_TYPES: dict[str, type[Any]] = {cls.__name__: cls for cls in typing.get_args(Event)}


def encode(event: Event) -> str:
    """One line of JSON in ASCII, keys sorted, the same for the same event."""
    body = {"kind": type(event).__name__, **_plain(event)}
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def decode(line: str) -> Event:
    """The event of a line written by `encode`.

    Raises:
        JournalError: if the line is no event of this program.
    """
    try:
        body = json.loads(line)
        return typing.cast(Event, _event_reader(body.pop("kind"))(body))
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as fault:
        raise JournalError(f"journal line cannot be read: {line[:80]!r} ({fault})") from fault


def _plain(value: Any) -> Any:
    if isinstance(value, Pair | Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


_Reader = Callable[[Any], Any]


@functools.cache
def _event_reader(name: str) -> _Reader:
    """What turns a journal line's fields into its event; made once a kind, not once a line."""
    return _reader(EVENT_TYPES[name])


def _reader(kind: Any) -> _Reader:
    """What turns a plain JSON value into one of this type."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(_reader(next(arg for arg in args if arg is not type(None))))
    if origin is tuple:
        return _sequence(args)
    if kind is Pair:
        return _pair
    if kind is datetime:
        return datetime.fromisoformat
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _record(kind)
    if kind is Decimal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return typing.cast(_Reader, kind)
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


@functools.lru_cache(maxsize=4096)
def _pair(text: str) -> Pair:
    base, quote = text.rsplit("/", 1)
    return Pair(base, quote)


def _optional(inner: _Reader) -> _Reader:
    return lambda value: None if value is None else inner(value)


def _sequence(args: tuple[Any, ...]) -> _Reader:
    if len(args) == 2 and args[1] is Ellipsis:
        inner = _reader(args[0])
        return lambda value: tuple([inner(item) for item in value])
    each = [_reader(arg) for arg in args]
    return lambda value: tuple([read(item) for read, item in zip(each, value, strict=True)])


def _record(kind: type[Any]) -> _Reader:
    fields = {name: _reader(hint) for name, hint in typing.get_type_hints(kind).items()}
    return lambda value: kind(**{name: fields[name](item) for name, item in value.items()})
