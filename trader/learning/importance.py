"""What each feature is worth, out of fold.

A feature's values are shuffled among the candles of a fold that the model has not learned from:
how much worse its forecasts get is what the feature adds. Features that say nearly the same stand
in for each other, so that each looks less important than both together.

Source: Breiman (2001), Random Forests, section 10, for the idea; on held-out rows, so that what
was merely memorised counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trader.domain.candles import FloatArray
from trader.learning.compiled import CompiledVote
from trader.learning.dataset import Dataset
from trader.learning.features import Matrix, feature_texts
from trader.learning.model import Importance, TradingModel

ROWS_PER_FOLD = 500
FOLDS = 6
_EDGE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class _Fold:
    """Rows a model has not learned from, with their outcomes."""

    model: TradingModel
    rows: Matrix
    rose: FloatArray


def importance_of(
    models: Sequence[TradingModel], dataset: Dataset, seed: int
) -> tuple[Importance, ...]:
    """Importance for the longest horizon, the most important feature first.

    Args:
        models: of a walk forward, oldest first; each is asked about the candles from its own time
            to the next one's. The newest `FOLDS` are.
        dataset: the candles and outcomes of the walk.
        seed: of the shuffling.
    """
    ends = [*(model.known_through.timestamp() for model in models[1:]), dataset.last_known]
    folds = [
        fold
        for model, end in list(zip(models, ends, strict=False))[-FOLDS:]
        if (fold := _fold(model, dataset, end)) is not None
    ]
    if not folds:
        return ()
    lost = np.stack([_lost(fold, seed) for fold in folds])
    mean, helped = lost.mean(axis=0), (lost > 0).mean(axis=0)
    texts, hours = feature_texts(), max(dataset.horizons)
    names = folds[0].model.card.features
    return tuple(
        Importance(names[i], texts.get(names[i], names[i]), hours, float(mean[i]),
                   float(helped[i]))
        for i in np.argsort(-mean, kind="stable")
    )  # fmt: skip


def _fold(model: TradingModel, dataset: Dataset, end: float) -> _Fold | None:
    begin, hours = model.known_through.timestamp(), max(dataset.horizons)
    rows, rose = [], []
    for table, warm, labels in zip(
        dataset.tables, dataset.warm, dataset.labels[hours], strict=True
    ):
        use = warm & labels.valid & (table.closed_at > begin) & (table.closed_at <= end)
        rows.append(table.matrix[use])
        rose.append(labels.up[use])
    features, outcomes = np.concatenate(rows), np.concatenate(rose)
    if len(outcomes) < ROWS_PER_FOLD // 5:
        return None
    picked = np.unique(np.linspace(0, len(outcomes) - 1, ROWS_PER_FOLD).astype(int))
    return _Fold(model, features[picked], outcomes[picked])


def _lost(fold: _Fold, seed: int) -> FloatArray:
    """Log loss that shuffling each feature adds."""
    place = len(fold.model.card.horizons) - 1
    vote, card = _alone(fold.model.vote, place), fold.model.card.horizons[place]

    def loss(rows: Matrix) -> float:
        chances = vote.probabilities(rows)[:, 0]
        if card.platt is not None:
            chances = card.platt(chances, card.base_rate)
        inside = np.clip(chances, _EDGE, 1 - _EDGE)
        return float(-np.where(fold.rose > 0.5, np.log(inside), np.log(1 - inside)).mean())

    honest, found = loss(fold.rows), np.empty(fold.rows.shape[1])
    shuffled = fold.rows.copy()
    for column in range(fold.rows.shape[1]):
        order = np.random.default_rng([seed, column]).permutation(len(shuffled))
        shuffled[:, column] = fold.rows[order, column]
        found[column] = loss(shuffled) - honest
        shuffled[:, column] = fold.rows[:, column]
    return found


def _alone(vote: CompiledVote, horizon: int) -> CompiledVote:
    """The vote of one horizon, for speed."""
    groups = [i for i, group in enumerate(vote.groups) if group.horizon == horizon]
    forest = vote.forest
    if forest is not None:
        kept = np.isin(forest.group, groups)
        number = np.searchsorted(groups, forest.group[kept])
        forest = replace(forest, roots=forest.roots[kept], group=number)
    lines = {0: vote.lines[horizon]} if horizon in vote.lines else {}
    picked = tuple(replace(vote.groups[i], horizon=0) for i in groups)
    return CompiledVote(forest if groups else None, picked, lines, 1)
