"""How soon is a shift of the chances found, and how often is there a false alarm?

Forecasts go through the real live record (`trader.learning.tracking.Tracker`): calibrated at
first, then with outcomes that come true ten points more, or less, often than was said.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click
import numpy as np

from campaigns.output import Pace, progress, show
from trader.domain.events import ForecastOutcome, ForecastScored
from trader.domain.markets import Pair
from trader.learning.tracking import Tracker

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
PAIR = Pair("BTC", "USD")
CALM = 300
WITHIN = 200


def first_doubt(seed: int, shift: float, calm: int, after: int) -> int | None:
    """Forecasts from the shift to the doubt; negative for an alarm before it, None for none."""
    rng = np.random.default_rng([seed, 17])
    said = np.clip(rng.normal(0.5, 0.04, calm + after), 0.3, 0.7)
    true = said + np.where(np.arange(calm + after) >= calm, shift, 0.0)
    rose = rng.random(len(said)) < true
    tracker = Tracker()
    for number, (p, up) in enumerate(zip(said.tolist(), rose.tolist(), strict=True)):
        at = BEGIN + timedelta(hours=number)
        outcome = ForecastOutcome(at, "m", 1.0, p, 0.5, 0.01 if up else -0.01)
        tracker.apply(ForecastScored(at, PAIR, (outcome,)))
        if tracker.doubts:
            # The record of a moment is closed by the next one.
            return number - calm
    return None


def run(worlds: int, shift: float, seed: int) -> dict[str, Any]:
    """Delays after the planted shift, and false alarms without one."""
    pace, delays, false = Pace(), [], 0
    calm_length = 1000
    for number in range(worlds):
        sign = 1 if number % 2 else -1
        tried = 0
        delay: int | None = -1
        while delay is not None and delay < 0:  # worlds that were still calm at the shift
            delay = first_doubt((seed * worlds + number) * 50 + tried, sign * shift, CALM, WITHIN)
            tried += 1
        delays.append(delay)
        false += first_doubt(seed * 10**6 + number, 0.0, 0, calm_length) is not None
        pace.tell(f"{number + 1} of {worlds} worlds")
    found = [d for d in delays if d is not None]
    share = false / worlds
    return {
        "worlds": worlds,
        "shift": shift,
        "found_within_200": len(found),
        "share": len(found) / worlds,
        "median_delay": float(np.median([WITHIN + 1 if d is None else d for d in delays])),
        "false_alarms": {
            "worlds_with_one_in_1000_forecasts": share,
            "forecasts_between": calm_length / -np.log(1 - share) if 0 < share < 1 else None,
        },
        "seconds": round(pace.seconds, 1),
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--worlds", default=400, show_default=True, type=click.IntRange(1))
@click.option("--shift", default=0.10, show_default=True, help="Of the probability.")
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def main(worlds: int, shift: float, seed: int, as_json: bool) -> None:
    """Plant a shift of the chances and wait for the live record to find it."""
    progress(f"{worlds} worlds, seed {seed}")
    show(run(worlds, shift, seed), as_json=as_json)


if __name__ == "__main__":
    main()
