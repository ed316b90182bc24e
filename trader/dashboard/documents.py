"""The dashboard's answers as plain data: one function a page, from a `Reading`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from trader.dashboard.reading import Reading
from trader.domain.account import AccountView, Decision, Mark, OrderRecord
from trader.domain.events import CashAdjusted, OrderFilled
from trader.domain.markets import Pair
from trader.domain.orders import Liquidity, Purpose, Side
from trader.domain.plain import plain
from trader.domain.portfolio import ZERO, Position, Trade
from trader.periods import Length, account_figures, periods
from trader.reports.decision import DecisionStory, OrderStory
from trader.reports.ledger import Entry, ledger, rows, totals

MOST_POINTS = 1000
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
        "ended": state.get("ended"),
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
    """One chip a check: the loop first, then what it found at its last beat, then the journal."""
    view = reading.view
    found = {check: (event.state, event.detail) for check, event in view.health.items()}
    told = reading.state.get("vitals")
    if isinstance(told, dict):
        found |= {c: (f[0], f[1]) for c, f in told.items() if isinstance(f, list) and len(f) == 2}
    found |= _account_health(view)
    if reading.journal is not None:
        found["journal"] = ("ok", f"{view.seen:,} events, readable")
    if view.models:
        found["model"] = _model_health(reading)
    # Limits have gauges of their own; here they are worth a place when they are reached.
    chips = [_loop_health(reading)]
    chips += [
        {"check": check, "state": state, "detail": detail}
        for check, (state, detail) in sorted(found.items())
        if state != "ok" or not check.startswith("limit ")
    ]
    return chips


def _account_health(view: AccountView) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    bare = [str(p.pair) for p in view.portfolio.positions.values() if p.stop is None]
    if bare:
        found["stops"] = ("fail", f"no stop for {', '.join(bare)}")
    elif view.portfolio.positions and "stops" not in view.health:
        found["stops"] = ("ok", "every position has its stop")
    if view.reconciled is not None:
        differences = view.reconciled.differences
        state = "warn" if differences else "ok"
        found["accounts"] = (state, "; ".join(differences) or "journal and exchange agree")
    return found


def _model_health(reading: Reading) -> tuple[str, str]:
    used = {found.model_id for found in reading.view.models.values()} - {""}
    doubted = [model for model in used if model in reading.doubts]
    if doubted:
        return "warn", f"{doubted[0]} is doubted: {reading.doubts[doubted[0]]}"
    if not used:
        return "ok", "none: the plain trend rule decides"
    return "ok", f"{len(used)} in use, none doubted"


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
    """The equity curve and, beside it, the same money simply held; at most 1,000 points."""
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


def decisions(
    view: AccountView, pair: str, needle: str, limit: int, verdict: str = ""
) -> list[dict[str, Any]]:
    """The newest decisions first, of one pair if named, containing every word of a text.

    A question such as "why not at 14:00?" is understood: its small words are left out.
    """
    words = wanted_words(needle)
    found: list[dict[str, Any]] = []
    for decision in reversed(view.decisions):
        if pair and str(decision.signal.pair) != pair:
            continue
        row = decision_row(decision)
        if verdict and row["verdict"] != verdict:
            continue
        if words and not _contains(row, words):
            continue
        found.append(row)
        if len(found) >= limit:
            break
    return found


_SMALL_WORDS = frozenset({
    "a", "an", "and", "any", "at", "did", "do", "does", "for", "in", "is", "it", "no", "not",
    "nothing", "of", "on", "or", "the", "then", "to", "was", "were", "what", "when", "why",
})  # fmt: skip


def wanted_words(text: str) -> list[str]:
    """What a search text asks for, in lower case.

    >>> wanted_words("Why not at 14:00?")
    ['14:00']
    """
    words = [word.strip("?!.,;'\"") for word in text.lower().split()]
    kept = [word for word in words if word and word not in _SMALL_WORDS]
    return kept or [word for word in words if word]


def _contains(row: dict[str, Any], words: list[str]) -> bool:
    moment = str(row["closed_at"])
    parts = [row["pair"], moment.replace("T", " "), moment, row["verdict"], row["action"],
             row["strategy"], row["model"] or "", *row["reasons"]]  # fmt: skip
    parts += [f"{refusal['rule']} {refusal['reason']}" for refusal in row["refusals"]]
    text = " ".join(map(str, parts)).lower()
    return all(word in text for word in words)


def story(found: DecisionStory) -> dict[str, Any]:
    """One decision, gate by gate: candle, strategy, rules, orders, fills."""
    made = found.made
    signal = made.signal
    gates = [
        _gate("candle", "ok", f"closed {signal.closed_at:%Y-%m-%d %H:%M} UTC, {made.price:,.8g}; "
              f"seen as {made.snapshot_digest}"),
        _gate("strategy", "ok" if signal.action.value != "hold" else "hold",
              f"{signal.strategy} says {signal.action.value}: {'; '.join(signal.reasons)}"),
        *_rule_gates(found),
        *[gate for order in found.orders for gate in _order_gates(order)],
    ]  # fmt: skip
    if found.interruption is not None:
        what = type(found.interruption).__name__
        gates.append(_gate("since then", "stop", f"{what} at {found.interruption.at:%H:%M} UTC"))
    return {
        "pair": str(signal.pair),
        "closed_at": plain(signal.closed_at),
        "verdict": found.verdict,
        "outcome": found.outcome,
        "probability": signal.probability,
        "confidence": signal.confidence,
        "model": signal.model_id,
        "gates": gates,
    }


def _gate(name: str, state: str, detail: str) -> dict[str, str]:
    return {"gate": name, "state": state, "detail": detail}


def _rule_gates(found: DecisionStory) -> list[dict[str, str]]:
    gates = [
        _gate(f"rule {r.rule}", "hold" if r.holds else "stop", r.reason) for r in found.refusals
    ]
    approval = found.approval
    if approval is not None:
        stop = f", stop {plain(approval.stop)}" if approval.stop else ""
        gates.append(
            _gate("rules", "ok", f"{approval.side.value} {plain(approval.quantity)} at about "
                  f"{plain(approval.entry)}{stop}; {approval.risk_quote:,.2f} at risk")
        )  # fmt: skip
    if not gates:
        gates.append(_gate("rules", "none", "were not asked: there was nothing to decide on"))
    return gates


def _order_gates(order: OrderStory) -> list[dict[str, str]]:
    record = order.record
    good = {"filled", "open", "cancelled"}
    detail = "; ".join(filter(None, [record.reason, record.detail]))
    gates = [
        _gate(f"{record.purpose.value} order", "ok" if record.state.value in good else "stop",
              f"{record.request.side.value} {record.request.type.value} "
              f"{plain(record.request.quantity)}: {record.state.value}. {detail}")
    ]  # fmt: skip
    gates += [
        _gate("fill", "ok", f"{plain(f.quantity)} at {plain(f.price)}, fee {plain(f.fee_quote)}, "
              f"{f.filled_at:%H:%M:%S} UTC")
        for f in order.fills
    ]  # fmt: skip
    return gates


def trades(view: AccountView) -> dict[str, Any]:
    """Closed trades with what fees and slippage cost, newest first, and the sums of both."""
    slips = _slippages(view)
    return {
        "quote": view.quote,
        "trades": [_trade(trade) for trade in reversed(view.portfolio.trades[-500:])],
        "costs": _costs(view, slips),
    }


def orders(view: AccountView, state: str = "") -> dict[str, Any]:
    """The orders, newest first; `state` is `open`, `over` or empty for all."""
    slipped = _mean_slips(view)
    chosen = [
        order
        for order in view.orders.values()
        if not state or (state == "over") == order.state.is_final
    ]
    return {
        "quote": view.quote,
        "orders": [
            {**order_row(order), "slippage_bp": slipped.get(order.request.order_id)}
            for order in reversed(chosen[-500:])
        ],
    }


def _slippages(view: AccountView) -> dict[str, float]:
    """Trade id → basis points lost against the price decided on; unknown ones are left out."""
    prices = {(d.signal.pair, d.signal.closed_at): d.price for d in view.decisions}
    found: dict[str, float] = {}
    for fill in view.fills:
        order = view.orders.get(fill.order_id)
        if order is None or order.purpose not in _AT_THE_DECISION:
            continue
        price = prices.get((fill.pair, order.decided_for))
        if price:
            against = 1 if fill.side is Side.BUY else -1
            found[fill.trade_id] = against * (float(fill.price) / price - 1) * 1e4
    return found


_AT_THE_DECISION = frozenset({Purpose.ENTRY, Purpose.EXIT})


def _mean_slips(view: AccountView) -> dict[str, float]:
    """Order id → basis points lost, weighted by quantity."""
    slips = _slippages(view)
    sums: dict[str, tuple[float, float]] = {}
    for fill in view.fills:
        if fill.trade_id in slips:
            lost, quantity = sums.get(fill.order_id, (0.0, 0.0))
            weight = float(fill.quantity)
            sums[fill.order_id] = (lost + slips[fill.trade_id] * weight, quantity + weight)
    return {key: round(lost / quantity, 2) for key, (lost, quantity) in sums.items() if quantity}


def _trade(trade: Trade) -> dict[str, Any]:
    cost = trade.entry_price * trade.quantity
    return {
        **plain(trade),
        "return": float(trade.profit_quote / cost) if cost else 0.0,
        "hours": (trade.exit_at - trade.entry_at).total_seconds() / 3600,
    }


def _costs(view: AccountView, slips: dict[str, float]) -> dict[str, Any]:
    traded = sum((f.cost_quote for f in view.fills), ZERO)
    maker = sum((f.cost_quote for f in view.fills if f.liquidity is Liquidity.MAKER), ZERO)
    slipped = sum(
        float(f.cost_quote) * slips[f.trade_id] / 1e4 for f in view.fills if f.trade_id in slips
    )
    return {
        "traded": str(traded),
        "fees": str(view.portfolio.fees_quote),
        "slippage": round(slipped, 2),
        "maker_share": float(maker / traded) if traded else None,
        "profit": str(sum((t.profit_quote for t in view.portfolio.trades), ZERO)),
    }


def account_ledger(reading: Reading, limit: int) -> dict[str, Any]:
    """The newest lines of the ledger and the sums that must agree."""
    entries = ledger_entries(reading)
    return {
        "quote": reading.view.quote,
        "lines": len(entries),
        "totals": totals(reading.view.quote, entries),
        "entries": list(reversed(rows(entries[-limit:]))),
    }


def ledger_entries(reading: Reading) -> list[Entry]:
    """The ledger of the account that is shown."""
    if reading.journal is None:
        return []
    found = reading.journal.events(0, kinds=(CashAdjusted, OrderFilled))
    return ledger(reading.view.quote, (event for _, event in found))


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
    """What belongs on a candle chart: fills, stops over time, the lines of the open position."""
    position = view.portfolio.position(pair)
    return {
        "fills": [
            {
                "time": int(fill.filled_at.timestamp()),
                "side": fill.side.value,
                "price": float(fill.price),
                "quantity": f"{fill.quantity:f}",
                "purpose": _purpose(view, fill.order_id),
            }
            for fill in view.fills
            if fill.pair == pair
        ],
        "stops": [
            {
                "from": int(order.intended_at.timestamp()),
                "to": int(order.ended_at.timestamp()) if order.ended_at else None,
                "price": float(order.request.price),
            }
            for order in view.orders.values()
            if order.request.pair == pair
            and order.purpose is Purpose.STOP
            and order.request.price is not None
        ],
        "lines": {
            "entry": float(position.entry_price) if position else None,
            "stop": float(position.stop) if position and position.stop else None,
            "target": float(position.take_profit) if position and position.take_profit else None,
        },
        "beliefs": [
            {
                "time": int(d.signal.closed_at.timestamp()),
                "value": d.signal.confidence if p is None else p,
                "model": p is not None,
            }
            for d in view.decisions
            if d.signal.pair == pair
            for p in (d.signal.probability,)
        ],
    }


def _purpose(view: AccountView, order_id: str) -> str:
    order = view.orders.get(order_id)
    return order.purpose.value if order else ""
