"""The day's log: one event a line, for eyes and for grep, and the same as JSON lines beside it.

`trading_YYYY-MM-DD.log` bears the date of the machine's day (UTC) on which it was written; each
line begins with the moment of the event, which in a replay is the replay's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from trader.domain import events as ev

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_Line = tuple[str, str, dict[str, Any]]


def describe(event: ev.Event) -> _Line:
    """(level, name, fields) of an event, the fields in the order a reader wants them."""
    match event:
        case ev.SessionStarted():
            return "INFO", "session_started", {
                "mode": event.mode, "feed": event.feed, "strategy": event.strategy,
                "timeframe": event.timeframe, "pairs": ",".join(map(str, event.pairs)),
                "version": event.version,
            }  # fmt: skip
        case ev.SessionEnded():
            return "INFO", "session_ended", {"reason": event.reason}
        case ev.CashAdjusted():
            return "INFO", "cash_adjusted", {
                "asset": event.asset, "amount": event.amount, "reason": event.reason
            }  # fmt: skip
        case ev.SignalMade(signal=s):
            return "INFO", "signal", {
                "pair": s.pair, "closed_at": _time(s.closed_at), "action": s.action.value,
                "confidence": round(s.confidence, 4), "price": event.price,
                "strategy": s.strategy, "model": s.model_id or "-",
                "reason": s.reasons[0] if s.reasons else "",
            }  # fmt: skip
        case ev.TradeRefused(refusal=r):
            return "INFO", "position_held" if r.holds else "trade_refused", {
                "pair": r.pair, "rule": r.rule, "reason": r.reason
            }  # fmt: skip
        case ev.TradeApproved(approval=a):
            return "INFO", "trade_approved", {
                "pair": a.pair, "side": a.side.value, "quantity": a.quantity, "entry": a.entry,
                "stop": a.stop or "-", "risk_quote": a.risk_quote,
            }  # fmt: skip
        case ev.OrderFilled(fill=f):
            return "INFO", "order_filled", {
                "pair": f.pair, "side": f.side.value, "quantity": f.quantity, "price": f.price,
                "fee_quote": f.fee_quote, "liquidity": f.liquidity.value,
                "purpose": event.purpose.value, "id": f.order_id, "trade": f.trade_id,
            }  # fmt: skip
        case _:
            return _describe_order(event)


def _describe_order(event: ev.Event) -> _Line:
    match event:
        case ev.OrderIntended(request=q):
            return "INFO", "order_intended", {
                "pair": q.pair, "side": q.side.value, "type": q.type.value,
                "quantity": q.quantity, "price": q.price or "-",
                "purpose": event.purpose.value, "id": q.order_id, "reason": event.reason,
            }  # fmt: skip
        case ev.OrderAccepted():
            return "INFO", "order_accepted", {"id": event.order_id, "txid": event.exchange_id}
        case ev.OrderRefused():
            return "ERROR", "order_refused", {
                "id": event.order_id, "category": event.category, "reason": event.reason
            }  # fmt: skip
        case ev.OrderUnclear():
            return "WARNING", "order_unclear", {"id": event.order_id, "reason": event.reason}
        case ev.CancelIntended():
            return "INFO", "cancel_intended", {"id": event.order_id, "reason": event.reason}
        case ev.CancelRefused():
            return "WARNING", "cancel_refused", {"id": event.order_id, "reason": event.reason}
        case ev.AmendIntended() | ev.OrderAmended():
            said = "amend_intended" if isinstance(event, ev.AmendIntended) else "order_amended"
            return "INFO", said, {
                "id": event.order_id, "quantity": event.quantity, "price": event.price,
                "reason": event.reason or "-",
            }  # fmt: skip
        case ev.OrderEnded():
            return "INFO", "order_ended", {
                "id": event.order_id, "state": event.state.value,
                "filled": event.filled_quantity, "reason": event.reason or "-",
            }  # fmt: skip
        case _:
            return _describe_state(event)


def _describe_state(event: ev.Event) -> _Line:
    match event:
        case ev.EquityMarked():
            return "DEBUG", "equity", {"equity": event.equity, "cash": event.cash}
        case ev.Reconciled():
            level = "WARNING" if event.differences else "INFO"
            return level, "reconciled", {
                "orders": event.orders, "fills": event.fills,
                "differences": "; ".join(event.differences) or "none",
            }  # fmt: skip
        case ev.EmergencyStopped():
            return "CRITICAL", "emergency_stop", {
                "reason": event.reason, "flatten": event.flatten, "who": event.who
            }  # fmt: skip
        case ev.Resumed():
            return "WARNING", "resumed", {"who": event.who}
        case ev.StopMoved():
            return "INFO", "stop_moved", {
                "pair": event.pair, "stop": event.stop, "reason": event.reason
            }  # fmt: skip
        case ev.DustLeft():
            return "INFO", "dust_left", {
                "pair": event.pair, "quantity": event.quantity, "reason": event.reason
            }  # fmt: skip
        case ev.RiskStateChanged():
            level = "INFO" if event.state == "trading" else "WARNING"
            return level, "risk_state", {"state": event.state, "reason": event.reason}
        case ev.HealthChanged():
            level = {"ok": "INFO", "warn": "WARNING"}.get(event.state, "ERROR")
            return level, "health", {
                "check": event.check, "state": event.state, "detail": event.detail
            }  # fmt: skip
        case ev.Troubled():
            return "ERROR", "trouble", {"category": event.category, "message": event.message}
        case _:
            return _describe_model(event)


def _describe_model(event: ev.Event) -> _Line:
    match event:
        case ev.ModelAdopted():
            return "INFO", "model", {
                "pair": event.pair, "model": event.model_id or "none", "reason": event.reason
            }  # fmt: skip
        case ev.ForecastMade():
            chances = {f"{c.horizon_hours:g}h": f"{c.probability:.3f}" for c in event.chances}
            return "DEBUG", "forecast", {"pair": event.pair, "model": event.model_id, **chances}
        case ev.ForecastScored():
            return "DEBUG", "forecasts_scored", {
                "pair": event.pair, "outcomes": len(event.outcomes)
            }  # fmt: skip
        case ev.ModelDoubted():
            return "WARNING", "model_doubted", {
                "model": event.model_id, "horizon": f"{event.horizon_hours:g}h",
                "reason": event.reason,
            }  # fmt: skip
        case ev.ModelTrusted():
            return "INFO", "model_trusted", {"model": event.model_id, "reason": event.reason}
        case ev.ModelCompared():
            return "INFO", "model_compared", {
                "pair": event.pair, "champion": event.champion, "challenger": event.challenger,
                "verdict": event.verdict, "reason": event.reason,
            }  # fmt: skip
        case _:
            raise TypeError(f"no log line is known for {type(event).__name__}")


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that hides each of these secrets wherever it occurs in a text."""
    plain_forms = {s for s in secrets if len(s) >= 4}
    # In a line of JSON, or quoted, a secret may be written otherwise than it is.
    forms = plain_forms | {json.dumps(s)[1:-1] for s in plain_forms}
    forms |= {json.dumps(s, ensure_ascii=False)[1:-1] for s in plain_forms}
    known = sorted(forms, key=len, reverse=True)

    def hide(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "***")
        return text

    return hide


class DayLog:
    """Appends events to the log of the machine's day.

    Args:
        folder: where the logs lie; made if absent.
        today: the machine's date, asked at each line.
        level: the least important level that is written (DEBUG, INFO, WARNING, ERROR).
        hide: removes secrets from a line.
        keep_days: logs older than this are removed when a new day begins.
    """

    def __init__(
        self,
        folder: Path,
        today: Callable[[], date],
        level: str = "INFO",
        hide: Callable[[str], str] = lambda text: text,
        keep_days: int = 90,
    ) -> None:
        self._folder = folder
        self._today = today
        self._level = LEVELS[level]
        self._hide = hide
        self._keep = timedelta(days=keep_days)
        self._day: date | None = None

    def take(self, number: int, event: ev.Event) -> None:
        """Write one event.

        Raises:
            OSError: if it cannot be written; the journal has it all the same.
        """
        level, name, fields = describe(event)
        if LEVELS[level] < self._level:
            return
        self._turn_page()
        words = [f"{key}={_quoted(value)}" for key, value in fields.items()]
        line = " ".join([_time(event.at), level, name, *words])
        record = {
            "at": _time(event.at), "level": level, "event": name, "number": number,
            **{key: _plain(value) for key, value in fields.items()},
        }  # fmt: skip
        self._write(".log", line)
        self._write(".jsonl", json.dumps(record, ensure_ascii=False))

    def _write(self, suffix: str, line: str) -> None:
        path = self._folder / f"trading_{self._day}{suffix}"
        with path.open("a", encoding="utf-8") as file:
            file.write(self._hide(line) + "\n")

    def _turn_page(self) -> None:
        today = self._today()
        if today == self._day:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._day = today
        oldest = today - self._keep
        for path in self._folder.glob("trading_*.*"):
            try:
                written = date.fromisoformat(path.stem.removeprefix("trading_"))
            except ValueError:
                continue
            if written < oldest:
                path.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float) else str(value)


def _quoted(value: Any) -> str:
    text = str(value).replace("\n", " ")
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text
