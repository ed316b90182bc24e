"""What the running bot shows: a banner, a line for each decision, a summary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import click

from main import PairReport, Parts, StepReport
from trader.domain.events import (
    Event,
    OrderFilled,
    OrderIntended,
    Reconciled,
    SessionStarted,
    TradeRefused,
    Troubled,
)
from trader.domain.orders import OrderType, Purpose, Side
from trader.domain.signals import Action, Approval, Refusal

_COLOURS = {Action.BUY: "green", Action.SELL: "red", Action.HOLD: "white"}


class Screen:
    """Lines on stdout.

    Args:
        parts: the running program.
        quiet: show nothing.
        every: show every decision; else only those that lead to an order.
    """

    def __init__(self, parts: Parts, *, quiet: bool, every: bool) -> None:
        self._parts = parts
        self._quiet = quiet
        self._every = every
        self._trouble = ""

    def line(self, text: str = "") -> None:
        """One line; one that cannot be shown, as on a full disk, is no reason to end trading."""
        if not self._quiet:
            with suppress(OSError):
                click.echo(text)

    def note(self, text: str) -> None:
        """A line about what goes on beside the decisions."""
        self.line(f"{self._parts.trader.clock.now():%Y-%m-%d %H:%M}  {text}")

    def banner(self) -> None:
        """What runs, and whether the money is real: before anything else."""
        venue, config = self._parts.venue, self._parts.config
        mode = click.style(venue.mode, bold=True, fg="green" if venue.mode == "PAPER" else "red")
        self.line(f"{mode}  {venue.label}")
        for note in venue.notes:
            self.line(f"       {note}")
        pairs = ", ".join(map(str, venue.pairs))
        self.line(f"pairs      {pairs}; {config.timeframe} candles, strategy {config.strategy}")
        self.line(f"pace       {_pace(self._parts)}")

    def account(self, reconciled: Reconciled) -> None:
        """What the account holds at the start."""
        portfolio = self._parts.trader.portfolio
        held = ", ".join(f"{p.quantity.normalize():f} {p.pair.base}" for p in
                         portfolio.positions.values()) or "no position"  # fmt: skip
        self.line(f"account    {money(portfolio.cash)} {portfolio.quote}, {held}")
        stop = self._parts.trader.stop_request()
        if stop is not None:
            words = click.style("STOPPED", bold=True, fg="red")
            lifted = (
                "take it out of the settings" if stop.who == "settings" else "`resume` lifts it"
            )
            self.line(f"{words}    nothing is bought: {stop.reason}; {lifted}")
        for difference in reconciled.differences:
            self.line(f"           since the last time: {difference}")

    def step(self, report: StepReport) -> None:
        """What a pass over all pairs did."""
        for pair in report.pairs:
            if pair.signal is not None and (self._every or pair.order is not None):
                self.line(decision(pair))
        if self._every and not report.decided and not report.troubles:
            stopped = "stopped; " if self._parts.trader.stopped else ""
            self.line(
                f"{report.at:%Y-%m-%d %H:%M}  {stopped}no new candle; the next closes at "
                f"{report.next_close_at:%H:%M} UTC"
            )
        for trouble in report.troubles:
            if trouble != self._trouble:
                self.line(
                    click.style(f"{report.at:%Y-%m-%d %H:%M}  trouble: {trouble}", fg="yellow")
                )
            self._trouble = trouble

    def farewell(self, document: dict[str, Any]) -> None:
        """How it ended."""
        quote = self._parts.trader.portfolio.quote
        self.line()
        self.line(f"ended      {document['reason']}")
        self.line(
            f"this run   orders {document['orders']} (stops included), fills "
            f"{document['fills']}, refused by a rule {document['refusals']}, troubles "
            f"{document['troubles']}"
        )
        self.line(
            f"equity     {money(document['equity'])} {quote}: cash {money(document['cash'])}, "
            + (", ".join(_holding(p) for p in document["positions"]) or "no position")
        )
        self.line(f"exchange   {_agreement(document)}")
        for line in _purchases(document):
            self.line(line)
        self.line(f"journal    {document['book']}, digest {document['digest'][:16]}")


def decision(report: PairReport) -> str:
    """One decision in one line: pair, candle, action, confidence, why, plan or refusal."""
    signal = report.signal
    if signal is None:
        return f"{report.pair}: {report.note}"
    held = isinstance(report.verdict, Refusal) and report.verdict.holds
    shown = Action.HOLD if held else signal.action
    action = click.style(f"{shown.upper():<4}", fg=_COLOURS[shown], bold=True)
    why = signal.reasons[0] if signal.reasons else ""
    text = (
        f"{signal.closed_at:%Y-%m-%d %H:%M}  {report.pair!s:<9} {report.price:>12,.6g}  {action} "
        f"{signal.confidence:.2f}  {why}"
    )
    outcome = _outcome(report)
    return f"{text}; {outcome}" if outcome else text


def _outcome(report: PairReport) -> str:
    match report.verdict:
        case Refusal(holds=True, reason=reason):
            # The figures are the same at every candle; `why` has them.
            return reason.partition(":")[0]
        case Refusal(rule=rule, reason=reason):
            return f"not done, {rule}: {reason}"
        case Approval() if report.order is None and report.verdict.side is Side.BUY:
            return "not sent: an order of the pair is on its way"
        case Approval():
            return plan(report.verdict)
    return ""


def plan(approval: Approval) -> str:
    """An approval in words."""
    quote = approval.pair.quote
    text = (
        f"{approval.side} {approval.quantity.normalize():f} {approval.pair.base} for about "
        f"{money(approval.cost_quote)} {quote}"
    )
    if approval.order_type is OrderType.LIMIT and approval.limit_price is not None:
        text += f" at {approval.limit_price:f}"
    if approval.stop is not None:
        text += f", stop {approval.stop:f}, at risk {money(approval.risk_quote)} {quote}"
    if approval.take_profit is not None:
        text += f", target {approval.take_profit:f}"
    return text


def money(amount: Decimal | float) -> str:
    """An amount with two decimals and thousands."""
    return f"{amount:,.2f}"


def summary(
    parts: Parts, cycles: int, reason: str, differences: tuple[str, ...] | None
) -> dict[str, Any]:
    """How a session ended, as a document; the counts are this session's alone."""
    trader = parts.trader
    events = _session_events(parts)
    portfolio = trader.portfolio
    prices = {p: trader.prices.get(p, h.entry_price) for p, h in portfolio.positions.items()}
    stops = {o.pair: o.request.price for o in trader.executor.orders.live(None, Purpose.STOP)}
    return {
        "mode": parts.venue.mode,
        "feed": parts.venue.feed,
        "book": parts.venue.book,
        "reason": reason,
        "cycles": cycles,
        "orders": sum(isinstance(event, OrderIntended) for event in events),
        "fills": sum(isinstance(event, OrderFilled) for event in events),
        "refusals": sum(isinstance(e, TradeRefused) and not e.refusal.holds for e in events),
        "troubles": sum(isinstance(event, Troubled) for event in events),
        "equity": portfolio.equity(prices),
        "cash": portfolio.cash,
        "positions": [
            {"pair": str(pair), "quantity": held.quantity, "stop": stops.get(pair)}
            for pair, held in sorted(portfolio.positions.items())
        ],
        "open_orders": len(trader.executor.orders.live()),
        "differences": None if differences is None else list(differences),
        "digest": parts.journal.digest(),
    }


def _session_events(parts: Parts) -> list[Event]:
    kinds = (SessionStarted,)
    begun = next((number for number, _ in parts.journal.backwards(kinds=kinds)), 0)
    return [event for _, event in parts.journal.events(begun)]


def _holding(position: dict[str, Any]) -> str:
    guard = f"stop {position['stop']:f}" if position["stop"] is not None else "NO STOP"
    return f"{position['pair']} {position['quantity'].normalize():f} ({guard} at the exchange)"


def _agreement(document: dict[str, Any]) -> str:
    if document["differences"] is None:
        return "could not be asked"
    orders = document["open_orders"]
    left = f"; {orders} order{'s' if orders != 1 else ''} left open there" if orders else ""
    if not document["differences"]:
        return f"agrees with the journal{left}"
    return "; ".join(document["differences"]) + left


def _purchases(document: dict[str, Any]) -> Iterator[str]:
    """What became of purchases that waited when the bot was ended."""
    given_up = document.get("given_up")
    if given_up:
        pairs = ", ".join(given_up)
        yield f"given up   what waited to buy {pairs}: while the bot is off no stop would guard it"
    for order in document.get("left_buying", ()):
        at = f" at {order['price']:f}" if order["price"] is not None else ""
        yield click.style(
            f"LEFT OPEN  order {order['order']} (buy {order['quantity'].normalize():f} "
            f"{order['pair']}{at}) could not be cancelled: if it fills while the bot is off, "
            "no stop guards it.",
            fg="red",
        )
        yield "           Cancel it at the exchange, or start again: that places the stop."


def _pace(parts: Parts) -> str:
    venue, config = parts.venue, parts.config
    match venue.pace:
        case "jump":
            return "as fast as it can, from candle to candle"
        case "scaled":
            seconds = config.timeframe.seconds / venue.speed
            return f"one {config.timeframe} candle every {seconds:g} s ({venue.speed:g} times)"
    return f"real time, a look every {config.poll_seconds:g} s"
