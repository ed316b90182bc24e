"""How often is a challenger promoted that is no better, and how soon one that is?

A hidden signal with a half-life of three hours moves an hourly market. Champion and challenger
see it, each through noise of its own; what they say of 1, 6 and 24 hours goes through the real
test (`trader.learning.promotion`), looked at every day, which may stop at any look.
"""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from campaigns.output import Pace, progress, show
from trader.domain.candles import FloatArray
from trader.learning.promotion import PairedChances, evidence_over_time
from trader.learning.sequential import ENOUGH

HORIZONS = (1, 6, 24)
_KEEP = 0.5 ** (1 / 3)
_STRENGTH = 0.16
"""Part of an hour's volatility that one standard deviation of the signal adds to the drift: the
best chances then have a log-loss skill of about 0.9, 2.0 and 1.2 % over the three horizons."""


def stream(seed: int, days: int, champion: float, challenger: float) -> dict[float, PairedChances]:
    """What two models say of an hourly market, and what comes.

    Args:
        seed: makes it repeatable.
        days: how long.
        champion: how well it sees the signal: 0 says the base rate with a little noise, about
            0.12 makes the best of it.
        challenger: the same of the other model.
    """
    rng = np.random.default_rng([seed, 23])
    rows = days * 24 + max(HORIZONS) + 1
    signal = _autoregressive(rng, rows)
    returns = np.concatenate([[0.0], _STRENGTH * signal[:-1] + rng.standard_normal(rows - 1)])
    level = np.cumsum(returns)
    seen = [_sight(rng, signal, share) for share in (champion, challenger)]
    count = days * 24
    found = {}
    for hours in HORIZONS:
        rose = (level[hours : hours + count] > level[:count]).astype(np.float64)
        ahead = (1 - _KEEP**hours) / (1 - _KEEP) / np.sqrt(hours)
        said = [np.clip(0.5 + 0.4 * ahead * view[:count], 0.05, 0.95) for view in seen]
        at = np.arange(count, dtype=np.int64) * 3600
        found[float(hours)] = PairedChances(at, said[0], said[1], rose)
    return found


def _sight(rng: np.random.Generator, signal: FloatArray, share: float) -> FloatArray:
    own = 0.03 * _autoregressive(rng, len(signal))
    return np.asarray(share * signal + own)


def _autoregressive(rng: np.random.Generator, rows: int) -> FloatArray:
    from scipy.signal import lfilter

    noise = rng.standard_normal(rows + 300) * np.sqrt(1 - _KEEP**2)
    return np.asarray(lfilter([1.0], [1.0, -_KEEP], noise)[300:])


def promoted_after(paired: dict[float, PairedChances], days: int) -> int | None:
    """The first day on which the test would promote the challenger, None if on none."""
    evidence = evidence_over_time(paired, np.arange(1, days + 1) * 86400)
    enough = np.flatnonzero(evidence >= ENOUGH)
    return int(enough[0]) + 1 if len(enough) else None


CASES = {
    "equal, both blind": (0.0, 0.0),
    "equal, both see": (0.10, 0.10),
    "worse": (0.10, 0.05),
    "a little better": (0.06, 0.10),
    "better": (0.04, 0.12),
    "sees, the champion does not": (0.0, 0.12),
}
"""Champion and challenger; in the first three the challenger is no better."""


def run(worlds: int, days: int, seed: int) -> dict[str, Any]:
    """Promotions of each case within so many days."""
    pace, figures = Pace(), {}
    false = 0
    for name, (champion, challenger) in CASES.items():
        found = []
        for number in range(worlds):
            paired = stream(seed * 10_000 + number, days, champion, challenger)
            found.append(promoted_after(paired, days))
            pace.tell(f"{name}: {number + 1} of {worlds} worlds")
        promoted = [day for day in found if day is not None]
        figures[name] = {
            "promoted": len(promoted),
            "share": len(promoted) / worlds,
            "median_days": float(np.median(promoted)) if promoted else None,
        }
        if challenger <= champion:
            false = max(false, len(promoted))
    return {
        "worlds": worlds,
        "days": days,
        "false_promotions": false,
        "false_share": false / worlds,
        "cases": figures,
        "seconds": round(pace.seconds, 1),
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--worlds", default=200, show_default=True, type=click.IntRange(1))
@click.option("--days", default=91, show_default=True, type=click.IntRange(3))
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def main(worlds: int, days: int, seed: int, as_json: bool) -> None:
    """Champions and challengers of known worth before the real test."""
    progress(f"{worlds} worlds a case, {days} days each, seed {seed}")
    show(run(worlds, days, seed), as_json=as_json)


if __name__ == "__main__":
    main()
