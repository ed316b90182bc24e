"""The members a model may have; adding one is one factory here.

All are scikit-learn classifiers with `fit(X, y, sample_weight)` and `predict_proba`, small on
purpose: on hourly candles 64 shallow trees find what a thousand deep ones find. NaN features are
allowed everywhere; what fills or scales them is fitted inside, on the training rows only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from trader.domain.candles import FloatArray, IntArray
from trader.domain.errors import UsageError
from trader.extensions import demand_methods, load_part
from trader.learning.features import Matrix

Factory: TypeAlias = Callable[[int], Any]
ESTIMATORS: dict[str, Factory] = {}
MODEL_TYPES: dict[str, tuple[str, ...]] = {
    "ensemble": ("random_forest", "gradient_boosting", "logistic_regression"),
    "random_forest": ("random_forest",),
    "gradient_boosting": ("gradient_boosting",),
    "logistic_regression": ("logistic_regression",),
}
CLIP = 3.0
LEVELS = 64
"""Values a column of a forest's training rows is rounded to, at most."""
_BLOCKS = 8
_QUANTILE_ROWS = 10_000


def estimator(name: str) -> Callable[[Factory], Factory]:
    """Register a factory: seed → an unfitted classifier."""

    def enrol(factory: Factory) -> Factory:
        ESTIMATORS[name] = factory
        return factory

    return enrol


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A member that looks at some of the columns only.

    Attributes:
        columns: their places, ascending.
        width: how many columns there are in all.
    """

    member: Any
    columns: IntArray
    width: int

    def predict_proba(self, rows: Matrix) -> FloatArray:
        """Rows × two classes, of rows with all columns."""
        return np.asarray(self.member.predict_proba(rows[:, self.columns]))


def fit_member(
    name: str,
    seed: int,
    rows: Matrix,
    up: FloatArray,
    weights: FloatArray | None = None,
    *,
    changes: tuple[tuple[str, float], ...] = (),
    columns: IntArray | None = None,
) -> Any:
    """Fit one member on one thread: side by side they use the cores, inside they would fight.

    Args:
        name: of the member.
        seed: of its chance.
        rows: rows × features, NaN allowed.
        up: outcomes, 0 or 1.
        weights: of the rows; None if all weigh the same.
        changes: (`member.parameter`, value) of any member; those of this one are applied.
        columns: the columns it may look at; None for all.

    Raises:
        UsageError: if the member has no such parameter.
    """
    member = ESTIMATORS[name](seed)
    mine = {key.partition(".")[2]: value for key, value in changes if key.startswith(f"{name}.")}
    try:
        member.set_params(**mine)
    except ValueError as fault:
        raise UsageError(f"{name} has no such parameter ({fault})") from fault
    seen = rows if columns is None else np.ascontiguousarray(rows[:, columns])
    with threadpool_limits(1):
        member = member.fit(seen, up) if weights is None else member.fit(seen, up, weights)
    return member if columns is None else Chosen(member, columns, rows.shape[1])


def steady_columns(rows: Matrix, up: FloatArray, order: IntArray, kept: int) -> IntArray:
    """The columns whose relation to the outcome is steadiest over time, ascending.

    The rows are cut into `_BLOCKS` spans of time; a column's relation is the correlation of its
    ranks with the outcome in each, and its steadiness their mean over their standard error. Only
    rows that a fit learns from may be given: a choice made on what is tested later is a leak.

    Args:
        rows: rows × features; a row without a value is left out of that column's relation.
        up: outcomes, 0 or 1.
        order: the moment of each row.
        kept: how many columns.
    """
    blocks = np.array_split(np.argsort(order, kind="stable"), _BLOCKS)
    found = np.stack([_rank_relations(rows[part], up[part]) for part in blocks])
    spread = found.std(axis=0, ddof=1) / np.sqrt(len(blocks))
    steadiness = np.abs(found.mean(axis=0)) / np.maximum(spread, 1e-3)
    return np.sort(np.argsort(-steadiness, kind="stable")[:kept])


def _rank_relations(rows: Matrix, up: FloatArray) -> FloatArray:
    """Correlation of each column's ranks with the outcome; 0 where there is none."""
    known = np.isfinite(rows)
    ranks = np.where(known, np.argsort(np.argsort(rows, axis=0), axis=0), 0.0)
    count = np.maximum(known.sum(axis=0), 1)
    ranks = np.where(known, ranks - ranks.sum(axis=0) / count, 0.0)
    outcome = np.where(known, up[:, None], 0.0)
    outcome = np.where(known, up[:, None] - outcome.sum(axis=0) / count, 0.0)
    size = np.sqrt((ranks**2).sum(axis=0) * (outcome**2).sum(axis=0))
    return np.asarray((ranks * outcome).sum(axis=0) / np.maximum(size, 1e-12))


def members_of(model_type: str) -> tuple[str, ...]:
    """The members of a model type.

    Raises:
        UsageError: if there is no such type.
    """
    if ":" in model_type:
        return (_own_member(model_type),)
    if model_type not in MODEL_TYPES:
        near = get_close_matches(model_type, MODEL_TYPES, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(MODEL_TYPES)}."
        raise UsageError(f"model type '{model_type}' is not known", hint)
    return MODEL_TYPES[model_type]


def _own_member(model_type: str) -> str:
    """Register the factory behind `module:factory` under that name."""
    if model_type not in ESTIMATORS:
        factory = load_part("MODEL_TYPE", model_type, "a function (seed) -> classifier")
        demand_methods("MODEL_TYPE", model_type, factory(0), ("fit", "predict_proba"))
        ESTIMATORS[model_type] = factory
    return model_type


@estimator("random_forest")
def random_forest(seed: int) -> CoarseForest:
    """Shallow trees on a fifth of the rows each."""
    return CoarseForest(
        n_estimators=50, max_depth=7, min_samples_leaf=25, max_features=0.12, max_samples=0.2,
        n_jobs=1, random_state=seed,
    )  # fmt: skip


@estimator("gradient_boosting")
def gradient_boosting(seed: int) -> HistGradientBoostingClassifier:
    """Histogram boosting in few, small steps, strongly regularised."""
    return HistGradientBoostingClassifier(
        learning_rate=0.06, max_iter=75, max_leaf_nodes=12, min_samples_leaf=80,
        l2_regularization=10.0, max_bins=63, max_features=0.4, early_stopping=False,
        random_state=seed,
    )  # fmt: skip


@estimator("logistic_regression")
def logistic_regression(_seed: int) -> RobustLogistic:
    """A linear model on clipped standard scores."""
    return RobustLogistic()


class CoarseForest(RandomForestClassifier):  # type: ignore[misc]
    """A random forest whose training rows are rounded to `LEVELS` values a column.

    scikit-learn sorts the rows at every node, and equal values sort quickly: a fit takes a third
    to a half less time. Nothing is rounded when it is asked; its thresholds lie between levels.
    """

    def fit(
        self,
        X: Matrix,  # noqa: N803 - scikit-learn's name
        y: npt.NDArray[np.float64],
        sample_weight: npt.NDArray[np.float64] | None = None,
    ) -> CoarseForest:
        """Fit on rows × features; NaN allowed."""
        super().fit(coarse(X), y, sample_weight)
        return self


def coarse(rows: Matrix, levels: int = LEVELS) -> Matrix:
    """Each column rounded up to the nearest of its own quantiles; NaN stays NaN.

    >>> coarse(np.array([[1.0], [2.0], [3.0], [4.0], [np.nan]], dtype=np.float32), 2).ravel()
    array([ 1.,  2.,  4.,  4., nan], dtype=float32)
    """
    rounded = np.array(rows, dtype=np.float32)
    sample = np.sort(rounded[:: max(1, len(rounded) // _QUANTILE_ROWS)], axis=0)
    known = len(sample) - np.isnan(sample).sum(axis=0)
    for place, count in enumerate(known.tolist()):
        if count == 0:
            continue
        column = rounded[:, place]
        steps = sample[np.linspace(0, count - 1, levels + 1).astype(int), place]
        above = np.minimum(np.searchsorted(steps, column), levels)
        rounded[:, place] = np.where(np.isnan(column), column, steps[above])
    return rounded


class RobustLogistic(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Logistic regression on median-filled, standardised and clipped features.

    Medians, means and deviations are those of the training rows. Clipping at three deviations
    keeps single wild candles from steering the line.

    Args:
        strength: inverse of the penalty per row (scikit-learn's C).
    """

    def __init__(self, strength: float = 3e-4) -> None:
        self.strength = strength

    def fit(
        self,
        X: Matrix,  # noqa: N803 - scikit-learn's name
        y: npt.NDArray[np.float64],
        sample_weight: npt.NDArray[np.float64] | None = None,
    ) -> RobustLogistic:
        """Fit on rows × features; NaN allowed."""
        values = np.asarray(X, dtype=np.float64)
        empty = np.isnan(values).all(axis=0)
        filled = np.where(empty, 0.0, values)
        self.median_ = np.nanmedian(filled, axis=0)
        filled = np.where(np.isnan(filled), self.median_, filled)
        self.mean_ = filled.mean(axis=0)
        deviation = filled.std(axis=0)
        self.deviation_ = np.where(deviation > 1e-9, deviation, 1.0)
        line = LogisticRegression(C=self.strength, max_iter=200)
        line.fit(self._scores(values), y, sample_weight)
        self.classes_ = line.classes_
        self.weights_ = line.coef_[0]
        self.intercept_ = float(line.intercept_[0])
        return self

    def predict_proba(self, X: Matrix) -> npt.NDArray[np.float64]:  # noqa: N803
        """Rows × two classes."""
        scores = self._scores(np.asarray(X, dtype=np.float64))
        up = 1.0 / (1.0 + np.exp(-((scores * self.weights_).sum(axis=1) + self.intercept_)))
        return np.column_stack([1.0 - up, up])

    def predict(self, X: Matrix) -> npt.NDArray[np.float64]:  # noqa: N803
        """The likelier class."""
        return np.asarray(self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(int)])

    def _scores(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        filled = np.where(np.isnan(values), self.median_, values)
        return np.asarray(np.clip((filled - self.mean_) / self.deviation_, -CLIP, CLIP))
