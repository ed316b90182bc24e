"""`run_trader.py trade`: one order by hand, through the same rules as the bot's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from commands.common import print_json, say
from trader.domain.errors import (
    ExitStatus,
    OutcomeUnknown,
    RuleError,
    TraderError,
    Unreachable,
    UsageError,
)

if TYPE_CHECKING:
    from commands.manual import Wanted
    from config import Config

Ask = Callable[[dict[str, Any]], dict[str, Any]]


@click.command(
    name="trade",
    context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True},
)
@click.argument("pair")
@click.argument("side", type=click.Choice(["buy", "sell"], case_sensitive=False))
@click.argument("volume")
@click.option("--type", "kind", type=click.Choice(["market", "limit"]), default="market",
              show_default=True)  # fmt: skip
@click.option("--price", help="Limit price.")
@click.option("--stop-loss", help="Protective stop; the usual distance if not given.")
@click.option("--take-profit", help="Target; none if not given and RISK_REWARD is 0.")
@click.option("--validate", is_flag=True, help="Show the plan and send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(
    pair: str,
    side: str,
    volume: str,
    kind: str,
    price: str | None,
    stop_loss: str | None,
    take_profit: str | None,
    validate: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Send one order by hand. VOLUME is in base (BTC of BTC/USD).

    Cost, fee and break-even are shown before it asks. While the bot runs, the order goes through
    the bot, so that two never trade one account.

    \b
    Example:
      python run_trader.py trade BTC/USD buy 0.01 --validate
      python run_trader.py trade BTC/USD sell 0.01 --type limit --price 99000 --yes
    """
    from commands.manual import Wanted
    from config import load_config

    wanted = Wanted(pair, side.lower(), volume, kind, price, stop_loss, take_profit)
    wanted.order()
    if not (validate or yes or sys.stdin.isatty()):
        raise UsageError(
            "nothing was sent: there is no terminal to ask on",
            "Add --yes to send, or --validate to see the plan.",
        )
    config = load_config()
    with_account = _through_the_loop(config)
    if with_account is not None:
        document = _trade(with_account, wanted, validate, yes, as_json)
    else:
        document = _by_ourselves(config, wanted, validate, yes, as_json)
    if as_json:
        print_json(document)


def _through_the_loop(config: Config) -> Ask | None:
    """A way to ask the running loop, None if none runs."""
    from commands.running import Heartbeat, of_settings

    beat = Heartbeat.read(config.data_dir, of_settings(config))
    if not beat.running or not beat.book:
        return None
    from trader.storage.inbox import Inbox

    inbox = Inbox(config.data_dir, beat.book)

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        answer = inbox.ask(request)
        if answer is None:
            raise Unreachable(
                "the running bot did not take the order; nothing was sent",
                "Look at: python run_trader.py status. If it hangs, end it and try again.",
            )
        return answer

    return ask


def _by_ourselves(
    config: Config, wanted: Wanted, validate: bool, yes: bool, as_json: bool
) -> dict[str, Any]:
    from commands.manual import Desk
    from commands.running import Heartbeat, of_settings, same_account
    from main import assemble
    from venues import Wishes

    config = same_account(config, Heartbeat.read(config.data_dir, of_settings(config)))
    if config.sandbox and config.sandbox_feed == "replay":
        raise UsageError(
            "a replay has no account between two runs",
            "Start it (python run_trader.py start), then trade while it runs; or choose "
            "SANDBOX_FEED=simulated.",
        )
    parts = assemble(config, Wishes(standing=True, unlicensed=True))
    try:
        parts.trader.recover()
        desk = Desk(parts)
        document = _trade(desk.handle, wanted, validate, yes, as_json)
        parts.trader.executor.audit(parts.trader.clock.now())
    finally:
        parts.close()
    return document


def _trade(ask: Ask, wanted: Wanted, validate: bool, yes: bool, quiet: bool) -> dict[str, Any]:
    planned = _checked(ask({"order": asdict(wanted)}))
    _show(planned, quiet=quiet)
    if validate:
        say("nothing was sent (--validate)", quiet=quiet)
        return {**planned, "validated": True, "order": None}
    if not yes and not click.confirm("Send it?", err=True):
        raise RuleError("not-confirmed", "nothing was sent")
    done = _checked(ask({"order": asdict(wanted), "send": True}))
    _tell(done, quiet=quiet)
    return {**done, "validated": False}


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise _Told(answer["error"], int(answer["exit"]))
    for refusal in answer["refusals"]:
        raise RuleError(refusal["rule"], f"{refusal['rule']}: {refusal['reason']}")
    return answer


class _Told(TraderError):
    """An error another process, or our own desk, has told us in words."""

    def __init__(self, error: dict[str, Any], status: int) -> None:
        super().__init__(str(error["message"]), str(error.get("hint", "")))
        self._error = error
        self.exit_status = ExitStatus(status)  # type: ignore[misc]

    def as_dict(self) -> dict[str, str | bool]:
        return dict(self._error)


def _show(document: dict[str, Any], *, quiet: bool) -> None:
    if quiet:
        return
    plan, mode = document["plan"], document["mode"]
    base, quote = plan["pair"].split("/")
    click.echo(
        f"{mode}  {plan['side']} {plan['quantity']} {base} of {plan['pair']}, {plan['type']}"
    )
    at = plan["limit_price"] or plan["entry"]
    word = "cost" if plan["side"] == "buy" else "proceeds"
    click.echo(f"price       {at} {quote}{'' if plan['limit_price'] else ' (expected)'}")
    click.echo(f"{word:<11} {plan['cost_quote']} {quote}, fee of {plan['fee_quote']} included")
    if plan["break_even_price"]:
        click.echo(f"break-even  {plan['break_even_price']} {quote}, after the fee of selling")
    if plan["stop"]:
        click.echo(f"stop        {plan['stop']}, {plan['risk_quote']} {quote} lost if it is hit")
    if plan["take_profit"]:
        click.echo(f"target      {plan['take_profit']}")
    for reason in plan["reasons"]:
        click.echo(f"note        {reason}")


def _tell(document: dict[str, Any], *, quiet: bool) -> None:
    order = document.get("order")
    if order is None:
        say("accepted: the sale follows as soon as the stop is out of its way", quiet=quiet)
        return
    if order["state"] == "unknown":
        raise OutcomeUnknown(
            f"order {order['id']}: no clear answer came; it is looked up and never sent again",
            "Look at: python run_trader.py status",
        )
    if order["state"] == "rejected":
        raise RuleError("exchange", f"the exchange refused the order: {order['reason']}")
    if not quiet:
        filled = (
            f", {order['filled']} filled at {order['average_price']}, fee {order['fee_quote']}"
        )
        click.echo(
            f"order       {order['state']}{filled if order['average_price'] else ''} "
            f"({order['exchange_id']})"
        )
