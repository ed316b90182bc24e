"""How models are made, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """How models are made.

    Attributes:
        window_days: history a fit uses.
        refit_days: between refits of the walk forward.
        embargo_hours: between the last known outcome and a refit.
        least_days: history before the first fit.
        rows_per_fit: more rows than this are thinned evenly; overlapping ones always are.
        calibration_days: age of the oldest prediction used to calibrate.
        round_trip_cost: fraction that the model's own entries must beat.
        volatility_target, rebalance_band, confidence_threshold: as in the strategies.
        label: what is predicted, a name of `labels.LABELS`.
        parameters: changes to the members, (`member.parameter`, value), as tuning found them.
        features_kept: columns a fit selects for itself on its own rows; 0 for all.
        half_life_days: age at which a training row weighs half; 0 for rows of equal weight.
        memory_mb: what a training may hold at most, above what the program holds anyway.
        workers: threads of a fit.
    """

    model_type: str = "ensemble"
    window_days: int = 1095
    refit_days: int = 91
    embargo_hours: float = 24.0
    least_days: int = 120
    rows_per_fit: int = 30_000
    calibration_days: int = 1461
    round_trip_cost: float = 0.0170
    volatility_target: float = 0.40
    rebalance_band: float = 0.10
    confidence_threshold: float = 0.55
    seed: int = 7
    workers: int = 2
    label: str = "direction"
    parameters: tuple[tuple[str, float], ...] = ()
    features_kept: int = 0
    half_life_days: float = 0.0
    memory_mb: int = 1500
