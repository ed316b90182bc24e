"""The dashboard's answers as plain data: one function a page, from a `Reading`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from trader.dashboard.reading import Reading
from trader.domain.account import AccountView, Decision, Mark, OrderRecord
from trader.domain.markets import Pair
from trader.domain.plain import plain
from trader.domain.portfolio import ZERO, Position
from trader.learning.model import ModelCard
from trader.periods import Length, account_figures, periods

MOST_POINTS = 2000
MOST_PERIODS = 400


def overview(reading: Reading) -> dict[str, Any]:
    """Health, worth, positions, orders, the last decision of each pair, the model."""
    view, state = reading.view, reading.state
    session = view.session
    stopped = view.stopped
    pairs = session.pairs if session else ()
    return {
        "mode": session.mode if session else None,
        "feed": state.get("label") or (session.feed if session else None),
        "strategy": session.strategy if session else None,
        "timeframe": session.timeframe if session else None,
        "pairs": [str(pair) for pair in pairs],
        "book": reading.book,
        "running": reading.running,
        "beat_age_seconds": reading.age_seconds,
        "now": state.get("at"),
        "next_decision_at": state.get("next_decision_at"),
        "next_decision_in_seconds": _seconds_left(reading),
        "quote": view.quote,
        "money": _money(view),
        "health": _health(reading),
        "limits": state.get("limits", []),
        "training": state.get("training"),
        "stopped": plain(stopped) if stopped else None,
        "decisions": [decision_row(found) for pair in pairs if (found := view.decision_for(pair))],
        "positions": [_position(p, view) for p in view.portfolio.positions.values()],
        "open_orders": [order_row(order) for order in view.open_orders()],
        "models": {str(pair): plain(model) for pair, model in view.models.items()},
    }


def _seconds_left(reading: Reading) -> float | None:
    """Real seconds to the next decision; the loop's own time may run faster than that."""
    due, at = reading.state.get("next_decision_at"), reading.state.get("at")
    if not reading.running or not due or not at:
        return None
    ahead = (datetime.fromisoformat(due) - datetime.fromisoformat(at)).total_seconds()
    speed = float(reading.state.get("speed") or 1.0)
    return max(0.0, ahead / speed - (reading.age_seconds or 0.0))


def _money(view: AccountView) -> dict[str, Any]:
    portfolio = view.portfolio
    equity = view.equity
    exposure = equity - portfolio.cash
    start_of_day = portfolio.day_start_equity
    return {
        "equity": str(equity),
        "cash": str(portfolio.cash),
        "exposure": float(exposure / equity) if equity > 0 else 0.0,
        "paid_in": str(portfolio.transfers_quote),
        "profit": str(equity - portfolio.transfers_quote),
        "profit_today": str(equity - start_of_day) if start_of_day else "0",
        "fees": str(portfolio.fees_quote),
        "drawdown": float(portfolio.drawdown),
        "trades": len(portfolio.trades),
        "hold_profit": str(
            round(portfolio.transfers_quote * Decimal(view.marks[-1].hold - 1), 2)
            if view.marks
            else ZERO
        ),
    }


def _health(reading: Reading) -> list[dict[str, str]]:
    view = reading.view
    chips = [_loop_health(reading)]
    chips += [
        {"check": check, "state": event.state, "detail": event.detail}
        for check, event in sorted(view.health.items())
    ]
    bare = [str(p.pair) for p in view.portfolio.positions.values() if p.stop is None]
    if view.portfolio.positions:
        chips.append(
            {"check": "stops", "state": "fail", "detail": f"no stop for {', '.join(bare)}"}
            if bare
            else {"check": "stops", "state": "ok", "detail": "every position has its stop"}
        )
    if view.reconciled is not None:
        differences = view.reconciled.differences
        chips.append(
            {
                "check": "accounts",
                "state": "warn" if differences else "ok",
                "detail": "; ".join(differences) or "journal and exchange agree",
            }
        )
    return chips


def _loop_health(reading: Reading) -> dict[str, str]:
    if reading.running:
        return {"check": "loop", "state": "ok", "detail": "the bot is running"}
    if reading.age_seconds is None:
        return {"check": "loop", "state": "warn", "detail": "the bot has not been started yet"}
    if reading.state.get("ended"):
        return {"check": "loop", "state": "warn", "detail": f"stopped: {reading.state['ended']}"}
    return {
        "check": "loop",
        "state": "fail",
        "detail": f"no sign of life for {reading.age_seconds:.0f} s",
    }


def _position(position: Position, view: AccountView) -> dict[str, Any]:
    price = view.prices.get(position.pair, position.entry_price)
    return {
        **plain(position),
        "price": str(price),
        "value": str(position.quantity * price),
        "unrealised": str(position.unrealised(price)),
    }


def decision_row(decision: Decision) -> dict[str, Any]:
    """A decision with its verdict in one word and in full."""
    signal = decision.signal
    verdict = "held"
    if decision.approval is not None:
        verdict = "approved"
    elif not all(refusal.holds for refusal in decision.refusals):
        verdict = "refused"
    return {
        "pair": str(signal.pair),
        "closed_at": plain(signal.closed_at),
        "price": decision.price,
        "action": signal.action.value,
        "confidence": signal.confidence,
        "probability": signal.probability,
        "target_weight": signal.target_weight,
        "reasons": list(signal.reasons),
        "strategy": signal.strategy,
        "model": signal.model_id,
        "verdict": verdict,
        "plan": plain(decision.approval) if decision.approval else None,
        "refusals": [{"rule": r.rule, "reason": r.reason} for r in decision.refusals],
    }


def order_row(order: OrderRecord) -> dict[str, Any]:
    """An order of ours."""
    return {
        "order_id": order.request.order_id,
        "exchange_id": order.exchange_id,
        "pair": str(order.request.pair),
        "side": order.request.side.value,
        "type": order.request.type.value,
        "quantity": str(order.request.quantity),
        "price": plain(order.request.price),
        "purpose": order.purpose.value,
        "state": order.state.value,
        "filled": str(order.filled_quantity),
        "at": plain(order.intended_at),
        "reason": order.reason,
        "detail": order.detail,
    }


def equity(view: AccountView) -> dict[str, Any]:
    """The equity curve and, beside it, the same money simply held; at most 2,000 points."""
    marks = thinned(view.marks)
    start = float(marks[0].equity) if marks else 0.0
    return {
        "quote": view.quote,
        "equity": [{"time": _seconds(m), "value": float(m.equity)} for m in marks],
        "hold": [{"time": _seconds(m), "value": start * m.hold} for m in marks],
    }


def thinned(marks: Sequence[Mark]) -> list[Mark]:
    """Evenly chosen marks, the last one always among them, each second once."""
    step = max(1, len(marks) // MOST_POINTS)
    chosen = list(marks[::step])
    if marks and chosen[-1] is not marks[-1]:
        chosen.append(marks[-1])
    return list({_seconds(mark): mark for mark in chosen}.values())


def _seconds(mark: Mark) -> int:
    return int(mark.at.timestamp())


def decisions(view: AccountView, pair: str, needle: str, limit: int) -> list[dict[str, Any]]:
    """The newest decisions first, of one pair if named, containing a text if given."""
    found: list[dict[str, Any]] = []
    for decision in reversed(view.decisions):
        row = decision_row(decision)
        if pair and row["pair"] != pair:
            continue
        if needle and needle.lower() not in str(row).lower():
            continue
        found.append(row)
        if len(found) >= limit:
            break
    return found


def trades(view: AccountView) -> dict[str, Any]:
    """Closed trades and all orders, newest first."""
    return {
        "quote": view.quote,
        "trades": [plain(trade) for trade in reversed(view.portfolio.trades[-500:])],
        "orders": [order_row(order) for order in reversed(list(view.orders.values())[-500:])],
    }


def model_row(card: ModelCard) -> dict[str, Any]:
    """What a person wants to know of a model: what it knows, how good it is, what it may do."""
    return {
        "id": card.id,
        "type": card.model_type,
        "source": card.source,
        "timeframe": str(card.timeframe),
        "pairs": [str(pair) for pair in card.pairs],
        "trained_from": plain(card.trained_from),
        "known_through": plain(card.known_through),
        "trained_at": plain(card.trained_at),
        "features": list(card.features),
        "licence": plain(card.licence),
        "horizons": [
            {
                "hours": horizon.hours,
                "base_rate": horizon.base_rate,
                "skilled": horizon.skilled,
                "scores": plain(horizon.scores),
            }
            for horizon in card.horizons
        ],
    }


def performance(view: AccountView) -> dict[str, Any]:
    """The account's figures, by the functions the backtest uses, and its days, weeks, months."""
    lengths: tuple[Length, ...] = ("day", "week", "month")
    return {
        "quote": view.quote,
        "metrics": account_figures(view),
        "periods": {
            length: [
                {
                    "begins": period.begins.isoformat(),
                    "profit": str(round(period.profit, 2)),
                    "profit_fraction": period.profit_fraction,
                    "hold_return": period.hold_return,
                    "fees": str(round(period.fees, 2)),
                    "trades": period.trades,
                    "winners": period.winners,
                }
                for period in periods(view, length)[-MOST_PERIODS:]
            ]
            for length in lengths
        },
    }


def markers(view: AccountView, pair: Pair) -> dict[str, Any]:
    """What belongs on a candle chart: fills, and the lines of the open position."""
    position = view.portfolio.position(pair)
    return {
        "fills": [
            {
                "time": int(fill.filled_at.timestamp()),
                "side": fill.side.value,
                "price": float(fill.price),
                "quantity": str(fill.quantity),
            }
            for fill in view.fills
            if fill.pair == pair
        ],
        "lines": {
            "entry": float(position.entry_price) if position else None,
            "stop": float(position.stop) if position and position.stop else None,
            "target": float(position.take_profit) if position and position.take_profit else None,
        },
    }
