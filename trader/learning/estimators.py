"""The members a model may have; adding one is one factory here.

All are scikit-learn classifiers with `fit(X, y, sample_weight)` and `predict_proba`, small on
purpose: on hourly candles 64 shallow trees find what a thousand deep ones find. NaN features are
allowed everywhere; what fills or scales them is fitted inside, on the training rows only.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

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


def estimator(name: str) -> Callable[[Factory], Factory]:
    """Register a factory: seed → an unfitted classifier."""

    def enrol(factory: Factory) -> Factory:
        ESTIMATORS[name] = factory
        return factory

    return enrol


def fit_member(name: str, seed: int, rows: Matrix, up: npt.NDArray[np.float64]) -> Any:
    """Fit one member on one thread: side by side they use the cores, inside they would fight."""
    with threadpool_limits(1):
        return ESTIMATORS[name](seed).fit(rows, up)


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
def random_forest(seed: int) -> RandomForestClassifier:
    """Shallow trees on a third of the rows each."""
    return RandomForestClassifier(
        n_estimators=50, max_depth=6, min_samples_leaf=25, max_features=0.12, max_samples=0.3,
        n_jobs=1, random_state=seed,
    )  # fmt: skip


@estimator("gradient_boosting")
def gradient_boosting(seed: int) -> HistGradientBoostingClassifier:
    """Histogram boosting, slow learning rate, strongly regularised."""
    return HistGradientBoostingClassifier(
        learning_rate=0.03, max_iter=100, max_leaf_nodes=12, min_samples_leaf=80,
        l2_regularization=10.0, max_bins=63, max_features=0.4, early_stopping=False,
        random_state=seed,
    )  # fmt: skip


@estimator("logistic_regression")
def logistic_regression(_seed: int) -> RobustLogistic:
    """A linear model on clipped standard scores."""
    return RobustLogistic()


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
