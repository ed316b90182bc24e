"""Tuning: which settings of the members would have been chosen, on the past alone.

Optuna proposes, combinatorial purged cross-validation judges, both on what was known before the
first prediction that is reported. Every trial is handed to the caller for the trial ledger: what
is found after many tries is believed less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from trader.learning.crossvalidation import PathScores, cross_validate
from trader.learning.dataset import Dataset
from trader.learning.settings import LearningSettings

if TYPE_CHECKING:
    import optuna

_EXPLORED = 8
"""Trials drawn at random before the sampler begins to lean on what it has seen."""


@dataclass(frozen=True, slots=True)
class TuningTrial:
    """One variant that was judged.

    Attributes:
        parameters: (`member.parameter`, value), and `features_kept`.
        scores: of its paths.
    """

    parameters: tuple[tuple[str, float], ...]
    scores: PathScores


Told: TypeAlias = Callable[[TuningTrial], None]


def tune(
    dataset: Dataset,
    settings: LearningSettings,
    *,
    until: int,
    trials: int,
    told: Told = lambda _: None,
) -> LearningSettings:
    """The settings with the best mean log-loss skill over the paths of the main horizon.

    The settings given are the first trial: tuning cannot end worse than it began, on what it
    sees. The same dataset, seed and number of trials give the same settings.

    Args:
        dataset: features and labels.
        settings: what is varied.
        until: nothing that became known later is looked at, Unix seconds.
        trials: how many variants, the given one included.
        told: told of each, for the trial ledger.

    Raises:
        ModelError: if too little was known by then.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    horizon = max(dataset.horizons)

    def judge(candidate: LearningSettings) -> float:
        scores = cross_validate(dataset, horizon, candidate, until=until)
        kept = ("features_kept", float(candidate.features_kept))
        told(TuningTrial((*candidate.parameters, kept), scores))
        return scores.mean_skill

    best, highest = settings, judge(settings)
    sampler = optuna.samplers.TPESampler(seed=settings.seed, n_startup_trials=_EXPLORED)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(trials - 1):
        trial = study.ask()
        candidate = _proposed(trial, settings, dataset.tables[0].matrix.shape[1])
        found = judge(candidate)
        study.tell(trial, found)
        if np.isfinite(found) and found > highest:
            best, highest = candidate, found
    return best


def _proposed(trial: optuna.Trial, settings: LearningSettings, width: int) -> LearningSettings:
    """What is varied, around values that are known to be sane."""
    forest, boosting, line = "random_forest", "gradient_boosting", "logistic_regression"
    parameters: tuple[tuple[str, float], ...] = (
        (f"{forest}.max_depth", trial.suggest_int("depth", 4, 8)),
        (f"{forest}.min_samples_leaf", trial.suggest_int("forest_leaf", 15, 120, log=True)),
        (f"{forest}.max_features", trial.suggest_float("forest_share", 0.05, 0.3)),
        (f"{boosting}.learning_rate", trial.suggest_float("rate", 0.01, 0.06, log=True)),
        (f"{boosting}.max_iter", trial.suggest_int("rounds", 50, 160)),
        (f"{boosting}.max_leaf_nodes", trial.suggest_int("leaves", 6, 20)),
        (f"{boosting}.min_samples_leaf", trial.suggest_int("leaf", 40, 200, log=True)),
        (f"{line}.strength", trial.suggest_float("strength", 3e-5, 3e-3, log=True)),
    )
    share = trial.suggest_categorical("features", (1.0, 0.7, 0.45))
    kept = 0 if share == 1.0 else round(share * width)
    return replace(settings, parameters=parameters, features_kept=kept)
