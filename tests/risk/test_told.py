"""Every rule that can refuse or bound a purchase is among those that `status` tells of."""

import re
from pathlib import Path

from risk_manager import RiskManager
from tests.trading_box import START
from trader.domain.portfolio import Portfolio
from trader.risk.limits import RiskLimits
from trader.risk.told import decision_rules

ROOT = Path(__file__).resolve().parents[2]
NOT_RULES = {"cash", "holdings", "no-stop", "minimum-size", "target-weight"}
"""Bounds of arithmetic, not of the owner: nothing to set, nothing to tell beforehand."""


def test_no_rule_of_the_code_is_left_out():
    limits = RiskLimits(kelly_share=1, volatility_target=1)
    told = {rule for rule, _ in decision_rules(limits)}
    told |= {row["rule"] for row in RiskManager(limits).limits_status(Portfolio("USD"), START)}
    text = "".join(
        (ROOT / name).read_text("utf-8")
        for name in ("trader/risk/limits.py", "trader/risk/caps.py", "risk_manager.py")
    )
    used = set(re.findall(r'(?:refuse|Cap|_by_weight)\(\s*"([a-z-]+)"', text))
    assert used - NOT_RULES <= told
    assert len(used) > 15


def test_the_figures_are_those_in_force_and_what_is_off_is_not_told():
    told = dict(decision_rules(RiskLimits(drawdown_pause_days=0)))
    assert "at most 4 % of equity lost" in told["risk-per-trade"]
    assert "when a person has let it go on" in told["recovery"]
    assert "kelly" not in told
    assert "after a pause of 30 days" in dict(decision_rules(RiskLimits()))["recovery"]
