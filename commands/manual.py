"""Orders by hand: planned, shown and sent by whoever holds the account."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from commands.common import parse_amount
from main import Parts, Trader
from risk_manager import ManualOrder
from trader.domain.errors import TraderError, UnknownPair, UsageError
from trader.domain.markets import Pair
from trader.domain.order_life import TrackedOrder
from trader.domain.orders import OrderType, Side
from trader.domain.signals import Approval, Refusal


@dataclass(frozen=True, slots=True)
class Wanted:
    """A manual order as it was typed; numbers stay text until they are checked."""

    pair: str
    side: str
    volume: str
    kind: str = "market"
    price: str | None = None
    stop_loss: str | None = None
    take_profit: str | None = None

    def order(self) -> tuple[Pair, ManualOrder]:
        """Checked and typed.

        Raises:
            UsageError: if a number is none or the type does not fit the price.
        """
        kind = OrderType(self.kind)
        if kind is OrderType.LIMIT and self.price is None:
            raise UsageError("a limit order needs --price")
        if kind is OrderType.MARKET and self.price is not None:
            raise UsageError("a market order takes no --price", "Add --type limit.")
        return Pair.parse(self.pair), ManualOrder(
            Side(self.side),
            parse_amount("VOLUME", self.volume),
            kind,
            _maybe("--price", self.price),
            _maybe("--stop-loss", self.stop_loss),
            _maybe("--take-profit", self.take_profit),
        )


def _maybe(name: str, text: str | None) -> Decimal | None:
    return None if text is None else parse_amount(name, text)


class Desk:
    """Answers requests for manual orders with plain documents.

    Args:
        parts: the running program, which holds the account.
    """

    def __init__(self, parts: Parts) -> None:
        self._trader: Trader = parts.trader
        self._mode = parts.venue.mode
        self._pairs = parts.venue.pairs

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Plan an order, and send it if the request says so. Never raises for a known fault."""
        try:
            pair, wanted = Wanted(**request["order"]).order()
            verdict = self._plan_order(pair, wanted)
            if not request.get("send"):
                return self._document(verdict, None)
            order = self._trader.carry_out_manual(verdict)
            return self._document(verdict, order)
        except TraderError as fault:
            return {"error": fault.as_dict(), "exit": int(fault.exit_status)}
        except (KeyError, TypeError, ValueError) as fault:
            return {"error": {"category": "usage", "message": f"bad request: {fault}",
                              "hint": "", "retryable": False}, "exit": 2}  # fmt: skip

    def _plan_order(self, pair: Pair, wanted: ManualOrder) -> Approval | Refusal:
        """The plan, or the rule that forbids it; a market the paper exchange lacks is its own."""
        try:
            return self._trader.plan_manual(pair, wanted)
        except UnknownPair as fault:
            if self._mode == "LIVE":
                raise
            served = ", ".join(map(str, self._pairs))
            raise UnknownPair(
                f"this paper market has no {pair}; it has {served}",
                f"Add {pair} to PAIRS in .env, if Kraken has it, and start the bot again.",
            ) from fault

    def _document(self, verdict: Approval | Refusal, order: TrackedOrder | None) -> dict[str, Any]:
        document: dict[str, Any] = {"mode": self._mode, "plan": None, "refusals": []}
        if isinstance(verdict, Refusal):
            document["refusals"] = [{"rule": verdict.rule, "reason": verdict.reason}]
        else:
            document["plan"] = self._plan(verdict)
        if order is not None:
            document["order"] = self._order(order)
        return document

    def _plan(self, approval: Approval) -> dict[str, Any]:
        fees = self._trader.exchange.fee_rates(approval.pair)
        gross = approval.quantity * approval.entry
        fee = gross * fees.taker
        # A purchase has to be sold again: the price at which both fees are earned back.
        even = approval.entry * (1 + fees.taker) / (1 - fees.taker)
        return {
            "pair": str(approval.pair),
            "side": str(approval.side),
            "type": str(approval.order_type),
            "quantity": str(approval.quantity),
            "entry": str(approval.entry),
            "limit_price": _text(approval.limit_price),
            "stop": _text(approval.stop),
            "take_profit": _text(approval.take_profit),
            "cost_quote": str(approval.cost_quote),
            "fee_quote": f"{fee:.4f}",
            "risk_quote": str(approval.risk_quote),
            "break_even_price": f"{even:.8g}" if approval.side is Side.BUY else None,
            "break_even_probability": approval.break_even_probability,
            "reasons": list(approval.reasons),
        }

    def _order(self, order: TrackedOrder) -> dict[str, Any]:
        return {
            "id": order.order_id,
            "exchange_id": order.exchange_id,
            "state": str(order.state),
            "reason": order.refusal,
            "filled": str(order.filled),
            "average_price": f"{order.cost_quote / order.filled:.8g}" if order.filled else None,
            "fee_quote": str(order.fee_quote),
        }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)
