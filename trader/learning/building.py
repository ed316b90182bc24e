"""From fitted members to a model that may be asked and saved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from trader.learning.compiled import CompiledVote, compile_vote
from trader.learning.dataset import Dataset
from trader.learning.drift import WINDOW_DAYS, reference_of
from trader.learning.features import Matrix, feature_names, schema_hash
from trader.learning.learner import DAY, Fit, Learner
from trader.learning.licence import Licence
from trader.learning.model import HorizonCard, ModelCard, Origin, TradingModel


def build_model(
    learner: Learner,
    fit: Fit,
    origin: Origin,
    *,
    horizons: tuple[HorizonCard, ...],
    licence: Licence,
    sleeve_licensed: bool,
    trained_at: datetime,
) -> TradingModel:
    """The fitted members as a model.

    Args:
        learner: that made the fit.
        fit: the members.
        origin: of candles and program.
        horizons: what was known of each horizon when it was fitted.
        licence: whether it may trade real money.
        sleeve_licensed: whether its own entries had paid by then.
        trained_at: when it is made.
    """
    horizons = tuple(
        replace(card, base_rate=base) for card, base in zip(horizons, fit.base_rates, strict=True)
    )
    vote = compile_vote(fit.fitted, [card.voices for card in horizons])
    dataset, settings = learner.dataset, learner.settings
    known_through = datetime.fromtimestamp(fit.moment, UTC)
    card = ModelCard(
        id=f"{known_through:%Y%m%dT%H%MZ}-{_short_hash(vote)}",
        pairs=dataset.traded or dataset.own_pairs,
        timeframe=dataset.timeframe,
        source=origin.source,
        model_type=settings.model_type,
        schema=schema_hash(),
        features=feature_names(),
        horizons=horizons,
        trained_from=datetime.fromtimestamp(fit.trained_from, UTC),
        known_through=known_through,
        trained_at=trained_at,
        rows=tuple(fit.rows),
        data_hash=dataset.data_hash,
        seed=settings.seed,
        code_version=origin.code_version,
        licence=licence,
        sleeve_licensed=sleeve_licensed,
        refit_days=settings.refit_days,
        label=settings.label,
    )
    reference = reference_of(fit.sample, _months(dataset, fit))
    model = TradingModel(card, vote, fit.domain.low, fit.domain.high, fit.domain.limit)
    return replace(model, drift=reference)


def _months(dataset: Dataset, fit: Fit) -> Iterator[Matrix]:
    """The warm feature rows of each month of the training span, all pairs together."""
    step = WINDOW_DAYS * DAY
    for start in range(fit.trained_from, fit.moment - step + 1, step):
        parts = []
        for table, warm in zip(dataset.own_tables, dataset.warm, strict=False):
            begin, end = np.searchsorted(table.closed_at, (start, start + step), side="right")
            parts.append(table.matrix[begin:end][warm[begin:end]])
        rows = np.concatenate(parts)
        if len(rows):
            yield rows


def _short_hash(vote: CompiledVote) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(vote.arrays().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:8]
