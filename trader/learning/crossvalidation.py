"""Combinatorial purged cross-validation: for choosing between settings, inside the past only.

Time is cut into groups; every combination of some of them is held out once, and the members learn
from the rest. Rows whose outcome overlaps a held-out group in time are purged, and rows that
follow one wait an embargo. Each group is so predicted by several models, which join into several
whole histories of predictions ("paths"): a setting is judged by their spread, not by one walk.

Used for selection only: what is reported of a model comes from the walk forward, because here
models learn from what came after the rows they predict.

Source: López de Prado (2018), Advances in Financial Machine Learning, chapters 7 and 12.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from trader.domain.candles import FloatArray, IntArray
from trader.domain.errors import ModelError, UsageError
from trader.learning.dataset import Dataset
from trader.learning.estimators import fit_member, members_of, steady_columns
from trader.learning.evaluation import auc
from trader.learning.features import Matrix
from trader.learning.settings import LearningSettings

DAY = 86400
LEAST_ROWS = 400
_EDGE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One combination: what is held out, and what may be learned from.

    Attributes:
        held: numbers of the groups that are held out.
        train, test: row numbers, ascending.
    """

    held: tuple[int, ...]
    train: IntArray
    test: IntArray


@dataclass(frozen=True, slots=True)
class PathScores:
    """What a setting is worth, one entry a path.

    Attributes:
        auc: of the raw votes.
        skill: log-loss skill of the raw votes against the base rate of the rows learned from.
        folds: combinations that were fitted.
        rows: rows that were predicted.
    """

    auc: tuple[float, ...]
    skill: tuple[float, ...]
    folds: int
    rows: int

    @property
    def mean_skill(self) -> float:
        """Mean over the paths."""
        return float(np.mean(self.skill))


def groups_of(decided_at: IntArray, groups: int) -> IntArray:
    """The group of each row: equally many rows a group, cut where the time changes.

    Rows of several pairs decided at the same moment are never parted.
    """
    moments = np.sort(decided_at)
    cuts = moments[(np.arange(1, groups) * len(moments)) // groups]
    return np.searchsorted(cuts, decided_at, side="right")


def combinatorial_folds(
    decided_at: IntArray, known_at: IntArray, *, groups: int, held: int, embargo_seconds: int
) -> Iterator[Fold]:
    """Every combination of held-out groups, with the rows that may be learned from.

    A training row's life, from its decision to the moment its outcome was known, may not meet
    the life of any held-out row; nor may it begin less than an embargo after one ended.

    Args:
        decided_at: begin of each row's life, Unix seconds.
        known_at: its end.
        groups: how many groups time is cut into, at least 2.
        held: how many of them are held out at once, 1 … groups − 1.
        embargo_seconds: waited after a held-out group.

    Raises:
        UsageError: if the groups cannot be held out so.
    """
    if not 1 <= held < groups:
        raise UsageError(f"{held} of {groups} groups held out: expected 1 to {groups - 1}")
    group = groups_of(decided_at, groups)
    spans = [
        (int(decided_at[group == g].min()), int(known_at[group == g].max()))
        for g in range(groups)
        if (group == g).any()
    ]
    if len(spans) < groups:
        raise UsageError(f"{len(decided_at)} rows are too few for {groups} groups")
    for chosen in combinations(range(groups), held):
        free = ~np.isin(group, chosen)
        for g in chosen:
            start, end = spans[g]
            free &= (known_at < start) | (decided_at > end + embargo_seconds)
        yield Fold(chosen, np.flatnonzero(free), np.flatnonzero(np.isin(group, chosen)))


def paths_of(groups: int, held: int) -> int:
    """How many whole histories of predictions the combinations make.

    >>> paths_of(6, 2)
    5
    """
    return comb(groups, held) * held // groups


def cross_validate(
    dataset: Dataset,
    horizon: float,
    settings: LearningSettings,
    *,
    until: int,
    groups: int = 6,
    held: int = 2,
) -> PathScores:
    """Judge settings on what was known at a moment.

    Args:
        dataset: features and labels.
        horizon: in hours.
        settings: the members, their parameters and their columns.
        until: rows whose outcome was not known an embargo before are left out, Unix seconds.
        groups: as in `combinatorial_folds`.
        held: as in `combinatorial_folds`.

    Raises:
        ModelError: if too little was known by then.
    """
    rows, up, decided, known = _known_rows(dataset, horizon, settings, until)
    if len(up) < LEAST_ROWS:
        raise ModelError(
            f"too little history to choose settings on: {len(up)} rows were known, "
            f"{LEAST_ROWS} are needed"
        )
    embargo = round(settings.embargo_hours * 3600)
    folds = list(
        combinatorial_folds(decided, known, groups=groups, held=held, embargo_seconds=embargo)
    )
    with ThreadPoolExecutor(settings.workers) as pool:
        votes = list(pool.map(lambda f: _votes(f, rows, up, decided, settings), folds))
    return _scores(folds, votes, up, groups_of(decided, groups), paths_of(groups, held))


def _known_rows(
    dataset: Dataset, horizon: float, settings: LearningSettings, until: int
) -> tuple[Matrix, FloatArray, IntArray, IntArray]:
    """Thinned rows of all pairs whose outcome was known: features, outcomes and lives."""
    embargo = round(settings.embargo_hours * 3600)
    stride = max(1, round(horizon * 3600 / dataset.timeframe.seconds * 0.3))
    picks = [
        np.flatnonzero(labels.known_before(until, embargo) & warm)
        for labels, warm in zip(dataset.labels[horizon], dataset.warm, strict=True)
    ]
    stride = max(stride, -(-sum(map(len, picks)) // settings.rows_per_fit))
    picks = [rows[::-1][::stride][::-1] for rows in picks]
    labels = dataset.labels[horizon]
    return (
        np.concatenate([t.matrix[r] for t, r in zip(dataset.tables, picks, strict=True)]),
        np.concatenate([each.up[r] for each, r in zip(labels, picks, strict=True)]),
        np.concatenate([each.decided_at[r] for each, r in zip(labels, picks, strict=True)]),
        np.concatenate([each.known_at[r] for each, r in zip(labels, picks, strict=True)]),
    )


def _votes(
    fold: Fold, rows: Matrix, up: FloatArray, decided: IntArray, settings: LearningSettings
) -> tuple[FloatArray, float]:
    """The votes on the held-out rows, and the base rate they were made with."""
    train, outcomes = rows[fold.train], up[fold.train]
    columns = None
    if 0 < settings.features_kept < rows.shape[1]:
        columns = steady_columns(train, outcomes, decided[fold.train], settings.features_kept)
    members = [
        fit_member(
            name, settings.seed, train, outcomes, changes=settings.parameters, columns=columns
        )
        for name in members_of(settings.model_type)
    ]
    votes = np.mean([m.predict_proba(rows[fold.test])[:, 1] for m in members], axis=0)
    return np.asarray(votes), float(outcomes.mean())


def _scores(
    folds: list[Fold],
    votes: list[tuple[FloatArray, float]],
    up: FloatArray,
    group: IntArray,
    paths: int,
) -> PathScores:
    """Join the predictions of each group into paths, in the order the combinations came."""
    vote = np.full((paths, len(up)), np.nan)
    base = np.full((paths, len(up)), np.nan)
    used = np.zeros(int(group.max()) + 1, dtype=int)
    for fold, (made, rate) in zip(folds, votes, strict=True):
        for g in fold.held:
            mine = group[fold.test] == g
            vote[used[g], fold.test[mine]] = made[mine]
            base[used[g], fold.test[mine]] = rate
            used[g] += 1
    skills = [1 - _log_loss(p, up) / _log_loss(b, up) for p, b in zip(vote, base, strict=True)]
    return PathScores(tuple(auc(p, up) for p in vote), tuple(skills), len(folds), len(up))


def _log_loss(p: FloatArray, up: FloatArray) -> float:
    p = np.clip(p, _EDGE, 1 - _EDGE)
    return float(-np.mean(np.where(up > 0.5, np.log(p), np.log(1 - p))))
