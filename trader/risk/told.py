"""The rules that look at each decision, in words, with the figures in force: what `status` shows.

The rules for the account as a whole (`RiskManager.limits_status`) also tell how far they are used.
"""

from __future__ import annotations

from decimal import Decimal

from trader.risk.limits import RiskLimits


def decision_rules(limits: RiskLimits) -> list[tuple[str, str]]:
    """(rule, what it asks of a purchase), in the order in which they are looked at."""
    return _gates(limits) + _caps(limits)


def _gates(limits: RiskLimits) -> list[tuple[str, str]]:
    return [
        ("market-status", "the market takes such an order"),
        ("stale-data", f"the newest candle is at most {limits.max_data_age} candles old, and "
                       "every held pair has a price"),
        ("pending-order", "one purchase of a pair at a time"),
        ("spread", f"bid and ask are at most {_percent(limits.max_spread)} apart"),
        ("model-health", "a model that speaks for itself is not doubted by its live record"),
        ("confidence", f"its probability is at least {limits.confidence_threshold:g}"),
        ("minimum-edge", f"and {limits.edge_margin:g} above break-even after fees and slippage, "
                         "where there is a target"),
        ("smallest-addition", "an addition is worth at least "
                              f"{_percent(limits.smallest_addition)} of equity"),
    ]  # fmt: skip


def _caps(limits: RiskLimits) -> list[tuple[str, str]]:
    volatility = _percent(limits.volatility_target)
    back = (
        f"after a pause of {limits.drawdown_pause_days} days"
        if limits.drawdown_pause_days
        else "when a person has let it go on"
    )
    found = [
        ("risk-per-trade", f"at most {_percent(limits.risk_per_trade)} of equity lost at the stop",
         limits.risk_per_trade),
        ("max-position-fraction", f"at most {_percent(limits.max_position_fraction)} of equity "
                                  "in one pair", limits.max_position_fraction),
        ("max-correlated-exposure", f"at most {_percent(limits.max_correlated_exposure)} in pairs "
                                    "that move together", limits.max_correlated_exposure),
        ("recovery", f"{_percent(limits.recovery_share)} of the usual size after a drawdown, "
                     f"{back}, until half of it is made good", limits.max_drawdown),
        ("volatility", f"one position brings at most {volatility} a year to the account",
         limits.volatility_target),
        ("kelly", f"at most {limits.kelly_share:g} of Kelly's fraction", limits.kelly_share),
        ("depth", f"at most {_percent(limits.depth_share)} of what is offered near the best ask",
         limits.depth_share),
    ]  # fmt: skip
    return [(rule, words) for rule, words, in_force in found if in_force]


def _percent(fraction: Decimal) -> str:
    return f"{100 * float(fraction):g} %"
