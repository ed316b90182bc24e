"""How much: quantities from risk, weight, volatility or odds; pure arithmetic in Decimals.

Prices are quote per base, quantities base, amounts quote, fractions fractions (0.01 is 1 %).
Nothing is rounded in here; the caller brings results onto the lot grid, downwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

ZERO = Decimal(0)
ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """What buying and later selling costs, as fractions.

    Attributes:
        entry_fee: of the purchase's cost.
        exit_fee: of the sale's proceeds.
        entry_slippage: by which the purchase fills above the expected price.
        exit_slippage: by which the sale fills below the stop or target.
    """

    entry_fee: Decimal
    exit_fee: Decimal
    entry_slippage: Decimal = ZERO
    exit_slippage: Decimal = ZERO

    def paid(self, entry: Decimal) -> Decimal:
        """Quote paid for one base bought at an expected price."""
        return entry * (1 + self.entry_slippage) * (1 + self.entry_fee)

    def received(self, price: Decimal) -> Decimal:
        """Quote received for one base sold when the price is touched."""
        return price * (1 - self.exit_slippage) * (1 - self.exit_fee)

    def loss(self, entry: Decimal, stop: Decimal) -> Decimal:
        """Quote lost on one base if the stop is hit, costs included.

        >>> costs = RoundTrip(Decimal("0.01"), Decimal("0.01"))
        >>> costs.loss(Decimal(100), Decimal(90))
        Decimal('11.90')
        """
        return self.paid(entry) - self.received(stop)

    def gain(self, entry: Decimal, target: Decimal) -> Decimal:
        """Quote earned on one base if the target is hit, costs included; may be negative."""
        return self.received(target) - self.paid(entry)


def risk_quantity(budget: Decimal, loss_per_unit: Decimal) -> Decimal:
    """Base quantity that loses the budget when each unit loses so much.

    quantity = budget / loss per unit; 0 for an empty budget.

    Args:
        budget: quote that may be lost.
        loss_per_unit: quote per base, > 0.

    Source: fixed-fractional sizing, Vince (1990), Portfolio Management Formulas.

    >>> risk_quantity(Decimal(100), Decimal("11.90")).quantize(Decimal("0.001"))
    Decimal('8.403')
    """
    return max(ZERO, budget) / loss_per_unit


def weight_quantity(weight: Decimal, equity: Decimal, held_quote: Decimal, price: Decimal) -> (
    Decimal
):  # fmt: skip
    """Base quantity that lifts what is held to a weight; 0 if it is there already.

    >>> weight_quantity(Decimal("0.5"), Decimal(1000), Decimal(200), Decimal(100))
    Decimal('3.0')
    """
    return max(ZERO, weight * equity - held_quote) / price


def affordable_quantity(cash: Decimal, paid_per_unit: Decimal) -> Decimal:
    """Base quantity that the cash pays, fee and slippage included."""
    return max(ZERO, cash) / paid_per_unit


def volatility_weight(target: Decimal, volatility: Decimal) -> Decimal:
    """The weight at which a holding of that volatility has the target's, at most 1.

    Args:
        target: wanted annualised volatility, for example 0.4.
        volatility: of the pair, annualised, > 0.

    Source: volatility-managed portfolios, Moreira & Muir (2017).

    >>> volatility_weight(Decimal("0.4"), Decimal("0.8"))
    Decimal('0.5')
    """
    return min(ONE, target / volatility)


def kelly_risk_fraction(
    probability: Decimal, gain: Decimal, loss: Decimal, share: Decimal, cap: Decimal
) -> Decimal:
    """The fraction of equity to put at risk by the odds: a share of Kelly's, never above the cap.

    Kelly's fraction for a bet that wins `gain` with the probability and else loses `loss` is
    p − (1 − p) · loss / gain, as a fraction of equity *lost* when it goes wrong. A share of a
    half or a quarter is customary, since probabilities are estimates. 0 when the odds are bad.

    Args:
        probability: calibrated chance of the gain, in [0, 1].
        gain: after costs, any unit; ≤ 0 gives 0.
        loss: after costs, same unit, > 0.
        share: part of the full fraction, for example 0.25.
        cap: upper bound of the result.

    Source: Kelly (1956), A New Interpretation of Information Rate; MacLean, Thorp & Ziemba
    (2010) on fractional Kelly.

    >>> kelly_risk_fraction(Decimal("0.6"), Decimal(1), Decimal(1), Decimal("0.5"), Decimal(1))
    Decimal('0.10')
    """
    if gain <= 0:
        return ZERO
    full = probability - (1 - probability) * loss / gain
    return max(ZERO, min(cap, share * full))


def break_even_probability(gain: Decimal, loss: Decimal) -> Decimal:
    """The chance of the target before the stop at which nothing is earned after costs.

    p = loss / (gain + loss); 1 when even the target earns nothing.

    >>> break_even_probability(Decimal(3), Decimal(1))
    Decimal('0.25')
    """
    if gain <= 0:
        return ONE
    return loss / (gain + loss)
