"""`run_trader.py why`: what was decided for a candle and why, gate by gate."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from commands.common import parse_time, print_json, refuse_misspelt
from trader.domain.errors import JournalError

if TYPE_CHECKING:
    from datetime import datetime

    from trader.domain.events import Event, ForecastMade
    from trader.domain.signals import Approval
    from trader.reports.decision import DecisionStory, OrderStory


@click.command(name="why", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("pair")
@click.option("--at", "at_text", metavar="TIME", help="Moment; the newest decision if left out.")
@click.option("--book", help="Account to ask; the one that ran last if left out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(pair: str, at_text: str | None, book: str | None, as_json: bool) -> None:
    """What was decided for a candle of PAIR and why, gate by gate; also why nothing was done.

    \b
    Example:
      python run_trader.py why BTC/USD --at 2024-03-01T13:00Z
    """
    from commands.account import FIRST_STEP, choose_book, mode_of, open_book
    from config import load_config
    from trader.domain.markets import Pair
    from trader.reports.decision import explain

    wanted = Pair.parse(pair)
    moment = None if at_text is None else parse_time(at_text, "--at")
    config = load_config()
    chosen = choose_book(config, book)
    if chosen is None:
        refuse_misspelt(wanted, config.pairs)
        raise JournalError(f"nothing was decided about {wanted} yet", FIRST_STEP)
    with open_book(config, chosen) as journal:
        story = explain(journal, wanted, moment)
        mode = mode_of(journal, config.mode)
    if story is None:
        refuse_misspelt(wanted, config.pairs)
        until = f" at or before {moment:%Y-%m-%d %H:%M} UTC" if moment else ""
        raise JournalError(
            f"nothing was decided about {wanted}{until} in book {chosen}",
            "Pairs that are traded are in PAIRS; `status` shows them and the last decision.",
        )
    if as_json:
        print_json(document(story, mode, chosen, moment))
    else:
        for line in lines(story, mode, moment):
            click.echo(line)


def document(
    story: DecisionStory, mode: str, book: str, moment: datetime | None
) -> dict[str, Any]:
    """The answer for machines."""
    signal = story.made.signal
    return {
        "mode": mode,
        "book": book,
        "pair": str(signal.pair),
        "timeframe": story.session.timeframe if story.session else None,
        "asked_for": moment,
        "closed_at": signal.closed_at,
        "price": story.made.price,
        "snapshot_digest": story.made.snapshot_digest,
        "signal": {
            "action": signal.action.value,
            "confidence": signal.confidence,
            "probability": signal.probability,
            "target_weight": signal.target_weight,
            "reasons": list(signal.reasons),
            "strategy": signal.strategy,
            "model": signal.model_id or None,
        },
        "forecast": asdict(story.forecast) if story.forecast else None,
        "verdict": story.verdict,
        "plan": asdict(story.approval) if story.approval else None,
        "refusals": [{"rule": r.rule, "reason": r.reason} for r in story.refusals],
        "orders": [_order(order) for order in story.orders],
        "outcome": story.outcome,
        "afterwards": _told(story.interruption) if story.interruption else None,
    }


def _order(order: OrderStory) -> dict[str, Any]:
    record = order.record
    return {
        "order_id": record.request.order_id,
        "exchange_id": record.exchange_id,
        "purpose": record.purpose.value,
        "side": record.request.side.value,
        "type": record.request.type.value,
        "quantity": record.request.quantity,
        "price": record.request.price,
        "state": record.state.value,
        "filled": record.filled_quantity,
        "reason": record.reason,
        "detail": record.detail,
        "fills": [
            {"at": f.filled_at, "quantity": f.quantity, "price": f.price, "cost": f.cost_quote,
             "fee": f.fee_quote, "liquidity": f.liquidity.value, "trade_id": f.trade_id}
            for f in order.fills
        ],
    }  # fmt: skip


def lines(story: DecisionStory, mode: str, moment: datetime | None) -> list[str]:
    """The answer for people: one gate after the other."""
    signal = story.made.signal
    frame = f" {story.session.timeframe}" if story.session else ""
    head = f"{signal.pair}{frame}, candle closed {signal.closed_at:%Y-%m-%d %H:%M} UTC"
    told = [f"{head}{mode:>{max(2, 72 - len(head))}}"]
    if moment is not None and story.interruption is not None:
        told.append(f"{'asked':<9}{moment:%Y-%m-%d %H:%M} UTC: no later candle was decided on; "
                    f"after this one: {_told(story.interruption)}")  # fmt: skip
    told.append(f"{'price':<9}{story.made.price:,.8g} {signal.pair.quote}")
    by = f"strategy {signal.strategy}" + (f", model {signal.model_id}" if signal.model_id else "")
    told.append(f"{'signal':<9}{signal.action.upper()}, confidence {signal.confidence:.2f} ({by})")
    told += [f"{'':<9}- {reason}" for reason in signal.reasons]
    if signal.target_weight is not None:
        told.append(f"{'':<9}- wants {signal.target_weight:.1%} of equity in {signal.pair.base}")
    if story.forecast is not None:
        told += _forecast_lines(story.forecast)
    told += _risk_lines(story)
    for order in story.orders:
        told += _order_lines(order)
    told.append(f"{'outcome':<9}{story.outcome}")
    return told


def _forecast_lines(forecast: ForecastMade) -> list[str]:
    told = [
        f"{'model' if not place else '':<9}chance of a rise over {c.horizon_hours:g} h "
        f"{c.probability:.1%} (usual {c.base_rate:.1%}), {c.expected_return:+.2%} expected"
        for place, c in enumerate(forecast.chances)
    ]
    explained = forecast.explained
    if explained is None:
        return told
    from trader.learning.features import feature_texts

    texts = feature_texts()
    told.append(f"{'':<9}the vote over {explained.horizon_hours:g} h, exactly: "
                f"{explained.start:.1%} before anything is known")  # fmt: skip
    told += [
        f"{'':<9}  {move.moved:+.2%}  {texts.get(move.feature, move.feature)}"
        for move in explained.moves
    ]
    told.append(f"{'':<9}  {explained.rest:+.2%}  all other features")
    told.append(f"{'':<9}= {explained.vote:.1%}, calibrated {explained.calibrated:.1%}")
    return told


def _risk_lines(story: DecisionStory) -> list[str]:
    told = [
        f"{'risk':<9}{r.reason}" if r.holds else f"{'risk':<9}refused by {r.rule}: {r.reason}"
        for r in story.refusals
    ]
    if story.approval is not None:
        told += _plan_lines(story.approval)
    elif not story.refusals:
        told.append(f"{'risk':<9}not asked: there was nothing to weigh")
    return told


def _plan_lines(plan: Approval) -> list[str]:
    base, quote = plan.pair.base, plan.pair.quote
    told = [
        f"{'risk':<9}approved: {plan.side} {plan.quantity} {base} ({plan.order_type}) at about "
        f"{plan.entry:,}, {plan.cost_quote:,.2f} {quote}"
    ]
    if plan.stop is not None:
        target = f"   target {plan.take_profit:,}" if plan.take_profit is not None else ""
        told.append(f"{'':<9}stop {plan.stop:,}, {plan.risk_quote:,.2f} {quote} at risk{target}")
    if plan.break_even_probability is not None:
        told.append(f"{'':<9}breaks even at a probability of {plan.break_even_probability:.3f}")
    return told + [f"{'':<9}- {reason}" for reason in plan.reasons]


def _order_lines(order: OrderStory) -> list[str]:
    record = order.record
    price = f" at {record.request.price:,}" if record.request.price is not None else ""
    told = [
        f"{'order':<9}{record.purpose}: {record.request.side} {record.request.quantity} "
        f"{record.request.type}{price}, {record.state}, {record.filled_quantity} filled"
        + (f" ({record.detail})" if record.detail else "")
    ]
    return told + [
        f"{'':<9}  {f.filled_at:%Y-%m-%d %H:%M:%S} {f.quantity} at {f.price:,}, fee "
        f"{f.fee_quote} {f.pair.quote} ({f.liquidity})"
        for f in order.fills
    ]


def _told(event: Event) -> str:
    """An event between two decisions in plain words."""
    from trader.domain.events import EmergencyStopped, SessionEnded, Troubled

    match event:
        case SessionEnded(at=at, reason=reason):
            text = f"the bot was ended ({reason})"
        case EmergencyStopped(at=at, reason=reason):
            text = f"emergency stop ({reason})"
        case Troubled(at=at, message=message):
            text = f"trouble: {message}"
        case _:
            return type(event).__name__
    return f"{text} at {at:%Y-%m-%d %H:%M} UTC"
