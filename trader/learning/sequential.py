"""Tests that may be looked at after every new piece of evidence.

An ordinary test is valid for one look at a fixed time; a bot looks after every candle. Two that
allow it:

- `ShiftChart` waits for a change: the risk-adjusted cumulative sum (Page 1954, Continuous
  inspection schemes; Steiner, Cook, Farewell & Treasure 2000, Monitoring surgical performance
  using risk-adjusted cumulative sum charts). Among all tests with the same rate of false alarms
  none finds the shift it is made for sooner (Moustakides 1986).
- `EvidenceProcess` grows when one side is better: a betting e-process (Waudby-Smith & Ramdas
  2024, Estimating means of bounded random variables by betting; for forecasts Henzi & Ziegel
  2022, Valid sequential inference on probability forecast performance). If the other side is as
  good, it ever reaches 1/α with a chance of at most α (Ville 1939).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trader.domain.candles import FloatArray

SHIFT = 0.10
"""The shift of a probability that the chart is made for: ten points."""

ALARM = 3.65
"""Evidence (nats) at which the chart alarms.

Measured (`python -m campaigns.drift`): a planted shift of ten points is found within 200
independent forecasts in at least four of five worlds, after some 120 at the median; calibrated
forecasts raise a false alarm about once in 1,000.
"""

ENOUGH = 20.0
"""Evidence that decides: a chance of at most 1/20 that it is ever reached by luck."""

GATHERED = 6.0
"""Independent differences in a block of overlapping ones."""

_BOLDEST = 0.75
_PRIOR_BETS = 100.0
_PRIOR_MEAN = 0.01
_PRIOR_SPREAD = 0.04
_WHOLE = 1e-9
_SMALL = 1e-3


@dataclass(slots=True)
class ShiftChart:
    """Waits for outcomes that come true more, or less, often than was said.

    For each forecast the log-likelihood ratio of "the chance is SHIFT higher" against "the chance
    is as said" is added, and the sum never falls below zero; likewise for lower. Overlapping
    forecasts repeat each other: their `weight` is the share that is new.

    Attributes:
        higher, lower: evidence so far that outcomes are more, less frequent than said; nats.
        seen: weight of the forecasts taken in.
    """

    higher: float = 0.0
    lower: float = 0.0
    seen: float = 0.0

    def take(self, probability: float, rose: float, weight: float = 1.0) -> bool:
        """One forecast and its outcome; whether the chart alarms.

        Args:
            probability: that was stated, in [0, 1].
            rose: 1 if it came true, 0 if not; the mean of several that belong together.
            weight: in [0, 1].
        """
        self.seen += weight
        self.higher = max(0.0, self.higher + weight * evidence_of_shift(probability, SHIFT, rose))
        self.lower = max(0.0, self.lower + weight * evidence_of_shift(probability, -SHIFT, rose))
        return self.alarm

    @property
    def alarm(self) -> bool:
        """Whether a shift is found."""
        return self.evidence >= ALARM

    @property
    def evidence(self) -> float:
        """The stronger of the two sides; `ALARM` decides."""
        return max(self.higher, self.lower)


def evidence_of_shift(probability: float, shift: float, rose: float) -> float:
    """Log-likelihood ratio of "the chance is `shift` higher" against "it is as said", nats."""
    said = min(max(probability, _SMALL), 1 - _SMALL)
    other = min(max(said + shift, _SMALL), 1 - _SMALL)
    return rose * math.log(other / said) + (1 - rose) * math.log((1 - other) / (1 - said))


def within(bound: float, first: FloatArray, second: FloatArray) -> FloatArray:
    """The share of a difference of log losses that counts, so that it lies within the bound.

    It is known before the outcome, so a difference whose mean is not above zero keeps such a mean
    (Henzi & Ziegel 2022 scale their bets the same way).

    Args:
        bound: of what counts, nats.
        first: chances of a rise that one states, inside (0, 1).
        second: those that the other states.
    """
    most = np.maximum(np.abs(np.log(first / second)), np.abs(np.log((1 - first) / (1 - second))))
    return np.asarray(np.minimum(1.0, bound / np.maximum(most, _SMALL * bound)))


@dataclass(slots=True)
class EvidenceProcess:
    """Evidence that the mean of bounded differences is above zero.

    Before each difference a share of the wealth is bet on its being positive, chosen from the
    differences before it: about mean / variance, as a gambler who wants to grow fastest would.
    Wealth is the evidence.

    The differences must lie within the bound by themselves, as those scaled by `within` do: a
    difference cut off after its outcome is known has another mean, and the promise is gone. (A
    challenger that says 0.75 where 0.6 is true loses 0.69 nats in four of ten cases against one
    that says 0.5, and wins 0.41 in six: it is worse, but cut off at 0.25 it looks better.)

    Attributes:
        bound: of the differences, on both sides; fixed beforehand.
        wealth: evidence so far; 1 at the start, `ENOUGH` decides.
        count: differences taken in.
    """

    bound: float
    wealth: float = 1.0
    best: float = 1.0
    count: int = 0
    _sum: float = 0.0
    _squares: float = 0.0

    def take(self, difference: float) -> float:
        """Take in one difference; the evidence now."""
        # For rounding only; see above.
        x = min(max(difference / self.bound, -1.0), 1.0)
        self.wealth *= 1.0 + self._bet() * x
        self.best = max(self.best, self.wealth)
        self.count += 1
        self._sum += x
        self._squares += x * x
        return self.wealth

    @property
    def mean(self) -> float:
        """Mean difference so far, in its own unit."""
        return self.bound * self._sum / self.count if self.count else 0.0

    @property
    def decided(self) -> bool:
        """Whether the evidence has ever been enough."""
        return self.best >= ENOUGH

    def _bet(self) -> float:
        n = self.count + _PRIOR_BETS
        mean = (self._sum + _PRIOR_BETS * _PRIOR_MEAN) / n
        spread = (self._squares + _PRIOR_BETS * _PRIOR_SPREAD) / n
        return min(max(mean / max(spread, 1e-9), 0.0), _BOLDEST)


@dataclass(slots=True)
class BlockEvidence:
    """`EvidenceProcess` for forecasts whose outcomes overlap.

    Differences that repeat each other are gathered into blocks of `GATHERED` independent ones; as
    much as overlaps is left out before the next block begins, so that every bet is chosen from
    what had ended before. Differences without overlap are taken one by one.

    Attributes:
        process: the evidence itself.
        independent: differences taken in, without overlap.
    """

    process: EvidenceProcess
    independent: float = 0.0
    _weight: float = 0.0
    _total: float = 0.0
    _skip: float = 0.0

    @classmethod
    def bounded(cls, bound: float) -> BlockEvidence:
        """Nothing seen yet; `bound` is that of one difference."""
        return cls(EvidenceProcess(bound))

    def take(self, difference: float, weight: float) -> float:
        """One difference and the share of it that is new; the evidence now."""
        if weight >= 1.0 - _WHOLE:
            self.independent += 1
            return self.process.take(difference)
        if self._skip > _WHOLE:
            self._skip -= weight
            return self.process.wealth
        self._weight += weight
        self._total += weight * difference
        if self._weight >= GATHERED - _WHOLE:
            self.independent += self._weight
            self.process.take(self._total / self._weight)
            self._weight = self._total = 0.0
            self._skip = 1.0
        return self.process.wealth

    @property
    def wealth(self) -> float:
        """Evidence so far; `ENOUGH` decides."""
        return self.process.wealth

    @property
    def mean(self) -> float:
        """Mean difference so far."""
        return self.process.mean

    @property
    def decided(self) -> bool:
        """Whether the evidence has ever been enough."""
        return self.process.decided
