"""A challenger takes the champion's place when it has forecast better, on candles neither knew.

Both models say their chances of the same candles, all of them later than anything either has
learned from. The difference of their log losses is evidence, gathered by processes that may be
looked at every day (`sequential.BlockEvidence`): a challenger that is at no candle expected to
forecast better is ever promoted with a chance of at most 5 %, however often and however long one
looks. Horizons keep processes of their own; their mean decides. Bold forecasts count for less in
the evidence than in the loss; so the challenger must lead in the plain mean as well.

A champion is also replaced without a test where its own evidence ends: when it cannot speak, and
when it is older than the walk forward ever let a model grow before the next refit. Those are no
claims of being better, and are said as what they are. A doubted champion is silent meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from trader.domain.candles import Candles, FloatArray, IntArray
from trader.domain.errors import ModelError
from trader.domain.markets import Pair
from trader.learning.dataset import Dataset, build_dataset
from trader.learning.model import DIRECTION, TradingModel
from trader.learning.sequential import ENOUGH, BlockEvidence, within

PROMOTED, KEPT, UNDECIDED = "promoted", "kept", "undecided"
LOSS_BOUND = 0.7
"""What a pair of forecasts can count at most, nats: that of 0.5 against 0.75.

Where what they say lies so far apart that the difference of their log losses could be larger, it
is scaled down whatever comes, so that it never favours either (`sequential.within`).
"""

SHADOW_DAYS = 91
"""After so long a challenger that has not shown itself better is dropped."""

_EDGE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class PairedChances:
    """What both models said of one horizon, and what came; pairs side by side, in any order.

    Attributes:
        decided_at: close of the candle, Unix seconds.
        champion, challenger: stated chances of a rise.
        rose: 1 where it came true.
    """

    decided_at: IntArray
    champion: FloatArray
    challenger: FloatArray
    rose: FloatArray


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the challenger stands.

    Attributes:
        verdict: `promoted`, `kept` (the challenger is dropped) or `undecided`.
        forecasts: paired forecasts, overlapping ones included.
        blocks: independent pieces of evidence, all horizons together.
        lead: mean log-loss advantage of the challenger, nats per forecast.
        evidence, against: e-values for and against the challenger; `ENOUGH` decides.
    """

    champion: str
    challenger: str
    verdict: str
    forecasts: int
    blocks: int
    lead: float
    evidence: float
    against: float
    reason: str


def weigh(paired: Mapping[float, PairedChances]) -> tuple[float, float, int, float]:
    """Evidence for and against the challenger, independent pieces, and its mean lead.

    Args:
        paired: horizon in hours → what was said and what came.
    """
    best, worst, blocks, leads = [], [], 0, []
    for hours, rows in sorted(paired.items()):
        if not len(rows.rose):
            continue
        moments, gaps = _by_moment(rows)
        weights = np.minimum(np.diff(moments, prepend=moments[0]) / (hours * 3600), 1.0)
        leads.append(float(_by_moment(rows, bound=math.inf)[1].mean()))
        ours, theirs = BlockEvidence.bounded(LOSS_BOUND), BlockEvidence.bounded(LOSS_BOUND)
        for gap, weight in zip(gaps.tolist(), weights.tolist(), strict=True):
            ours.take(gap, weight)
            theirs.take(-gap, weight)
        best.append(ours)
        worst.append(theirs)
        blocks += round(ours.independent)
    if not best:
        return 1.0, 1.0, 0, 0.0
    return (
        float(np.mean([e.wealth for e in best])), float(np.mean([e.wealth for e in worst])),
        blocks, float(np.mean(leads)),
    )  # fmt: skip


def evidence_over_time(paired: Mapping[float, PairedChances], looks: IntArray) -> FloatArray:
    """The evidence for the challenger that `weigh` would have found at each look.

    Args:
        paired: horizon in hours → what was said and what came.
        looks: Unix seconds; a forecast counts once its outcome is known.
    """
    found = []
    for hours, rows in sorted(paired.items()):
        moments, gaps = _by_moment(rows)
        weights = np.minimum(np.diff(moments, prepend=moments[0]) / (hours * 3600), 1.0)
        process = BlockEvidence.bounded(LOSS_BOUND)
        path = [process.take(g, w) for g, w in zip(gaps.tolist(), weights.tolist(), strict=True)]
        known = np.searchsorted(moments + round(hours * 3600), looks, side="right")
        found.append(np.array([1.0, *path])[known])
    return np.asarray(np.mean(found, axis=0))


def compare(
    champion: TradingModel,
    challenger: TradingModel,
    histories: Mapping[Pair, Candles],
    now: datetime,
    leader: Candles | None = None,
) -> Comparison:
    """Hold the challenger against the champion on the candles neither has learned from.

    Args:
        champion: the model in use.
        challenger: the one that wants its place.
        histories: closed candles of each pair, with enough before for the features.
        now: outcomes known later do not count.
        leader: the leader's candles where it is not among the pairs.

    Raises:
        ModelError: if the two cannot be compared.
    """
    dataset = build_dataset(histories, leader=leader)
    paired = paired_chances(champion, challenger, dataset, now)
    evidence, against, blocks, lead = weigh(paired)
    count = sum(len(rows.rose) for rows in paired.values())
    verdict = _verdict(evidence, against, lead, now, challenger)
    reason = _in_words(verdict, evidence, against, blocks, lead)
    return Comparison(
        champion.id, challenger.id, verdict, count, blocks, lead, evidence, against, reason
    )


def paired_chances(
    champion: TradingModel, challenger: TradingModel, dataset: Dataset, now: datetime
) -> dict[float, PairedChances]:
    """What both say of every candle after all that either knows, with outcomes known by `now`.

    Raises:
        ModelError: if they were made for other features, timeframes or horizons.
    """
    for model in (champion, challenger):
        model.check_fits(dataset.timeframe)
        if model.card.label != DIRECTION:
            raise ModelError(f"model {model.id} does not predict rises ({model.card.label})")
    shared = _shared_horizons(champion, challenger, dataset)
    begin = max(champion.known_through, challenger.known_through).timestamp()
    found = {}
    for hours in shared:
        pieces = []
        for table, warm, labels in zip(
            dataset.tables, dataset.warm, dataset.labels[hours], strict=True
        ):
            use = warm & labels.known_before(int(now.timestamp())) & (table.closed_at > begin)
            rows = np.flatnonzero(use)
            said = [model.chances(table.matrix[rows], hours) for model in (champion, challenger)]
            pieces.append((table.closed_at[rows], *said, labels.up[rows]))
        found[hours] = PairedChances(*(np.concatenate(p) for p in zip(*pieces, strict=True)))
    return found


def _shared_horizons(
    champion: TradingModel, challenger: TradingModel, dataset: Dataset
) -> tuple[float, ...]:
    sets = [
        {card.hours for card in model.card.horizons if card.platt is not None}
        for model in (champion, challenger)
    ]
    shared = sets[0] & sets[1] & set(dataset.horizons)
    if not shared:
        raise ModelError(
            f"models {champion.id} and {challenger.id} have no calibrated horizon in common"
        )
    return tuple(sorted(shared))


def _by_moment(rows: PairedChances, bound: float = LOSS_BOUND) -> tuple[IntArray, FloatArray]:
    """The champion's excess loss at each moment, the mean over its pairs, within the bound."""
    ours, theirs = (np.clip(p, _EDGE, 1 - _EDGE) for p in (rows.champion, rows.challenger))
    gap = _loss(ours, rows.rose) - _loss(theirs, rows.rose)
    if math.isfinite(bound):
        gap = gap * within(bound, ours, theirs)
    moments, place, counts = np.unique(rows.decided_at, return_inverse=True, return_counts=True)
    return moments, np.bincount(place, weights=gap) / counts


def _loss(p: FloatArray, rose: FloatArray) -> FloatArray:
    return np.asarray(-np.where(rose > 0.5, np.log(p), np.log(1 - p)))


def _verdict(
    evidence: float, against: float, lead: float, now: datetime, challenger: TradingModel
) -> str:
    if evidence >= ENOUGH and lead > 0:
        return PROMOTED
    waited = (now - challenger.known_through.astimezone(UTC)).days
    return KEPT if against >= ENOUGH or waited >= SHADOW_DAYS else UNDECIDED


def _in_words(verdict: str, evidence: float, against: float, blocks: int, lead: float) -> str:
    seen = f"on {blocks:,} independent forecasts neither had learned from"
    if verdict == PROMOTED:
        return f"better by {lead:.4f} nats {seen} (evidence {evidence:.0f}, {ENOUGH:.0f} decide)"
    if against >= ENOUGH:
        return f"worse by {-lead:.4f} nats {seen} (evidence {against:.0f}, {ENOUGH:.0f} decide)"
    if verdict == KEPT:
        return f"not shown to be better within {SHADOW_DAYS} days (evidence {evidence:.1f})"
    against_it = ", but it loses on the plain mean" if evidence >= ENOUGH else ""
    return f"evidence {evidence:.1f} of {ENOUGH:.0f} {seen}{against_it}"
