"""docs/risk-states.md says what the program does: each cell of its table is tried."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from risk_manager import ManualOrder, RiskLimits, RiskManager
from tests.risk.drawn import BTC, ETH, HOUR, MARKET, NOW, D, account, holding, signal
from trader.domain.orders import Side
from trader.domain.signals import Action, Approval
from trader.risk import caps, limits

DOC = (Path(__file__).resolve().parents[2] / "docs" / "risk-states.md").read_text()
LIMITS = RiskLimits(max_position_fraction=D(1), smallest_addition=D(0))
EQUITY = {"daily loss": 960, "drawdown": 800}


def table(heading):
    """The rows of the table whose header begins with the heading."""
    lines = DOC.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def situations():
    found = []
    for state, causes, *allowed, _ in table("state"):
        for cause in causes.split(", "):
            found.append(pytest.param(state, cause, allowed, id=cause.replace("–", "nothing")))
    return found


def portfolio(cause):
    found = account(equity=EQUITY.get(cause))
    if cause == "losing streak":
        found.losing_streak, found.last_loss_at = 5, NOW
    return found


def allowed(manager, wish, held, market):
    if isinstance(wish, ManualOrder):
        return isinstance(manager.review_manual(wish, held, market, NOW), Approval)
    return isinstance(manager.review(wish, held, market, NOW), Approval)


@pytest.mark.parametrize(("state", "cause", "cells"), situations())
def test_each_state_does_what_its_row_says(state, cause, cells):
    manager = RiskManager(LIMITS)
    emergency = "test" if cause == "emergency stop" else ""
    market = replace(MARKET, emergency=emergency, prices={ETH: D(100)})
    empty, held = portfolio(cause), holding(portfolio(cause), quantity="0.1")
    assert manager.state(empty, NOW, emergency).value == state
    tried = [
        allowed(manager, signal(), empty, market),
        allowed(manager, signal(), held, market),
        allowed(manager, signal(Action.SELL, 0.0), held, market),
        True,  # stop and target lie at the exchange: no rule is asked
        allowed(manager, ManualOrder(Side.BUY, D("0.1")), empty, market),
        allowed(manager, ManualOrder(Side.SELL, D("0.1")), held, market),
    ]
    assert [{"yes": True, "no": False}[cell] for cell in cells] == tried


def names_in(*modules):
    """The names that refusals and caps bear in the sources."""
    text = "".join(Path(m.__file__).read_text() for m in modules)
    found = re.findall(r'(?:refuse|Cap|_by_weight)\(\s*"([a-z-]+)"', text)
    named = re.findall(r"refuse\(\s*([A-Z_]+)\b", text)
    return {
        *found,
        *(getattr(module, n) for n in named for module in modules if hasattr(module, n)),
    }


def test_every_rule_and_every_cap_is_documented():
    import risk_manager

    rules = {row[0].strip("`") for row in table("rule")}
    known = {row[0].strip("`") for row in table("cap")}
    assert names_in(risk_manager, limits) == rules
    assert names_in(caps) == known


def test_the_rules_of_the_documents_stand_in_the_order_they_are_asked():
    broken = replace(
        MARKET, rules=replace(MARKET.rules, status="cancel_only"), emergency="test",
        data_closed_at=NOW - 9 * HOUR, bid=D(50), ask=D(150), pending={BTC: D(1)},
        model_trouble="test",
    )  # fmt: skip
    poor = account(equity=500)
    poor.losing_streak, poor.last_loss_at = 9, NOW
    manager = RiskManager(replace(LIMITS, max_open_positions=0))
    found = [r.rule for r in manager.refusals(signal(probability=0.1), poor, broken, NOW)]
    told = [row[0].strip("`") for row in table("rule")]
    # A pair with a purchase under way has its place already.
    assert found == [rule for rule in told[: len(found) + 1] if rule != "max-open-positions"]
