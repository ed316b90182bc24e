"""How often does the licence err? Worlds with known truth before the real judge.

`--sharpe 1.5` plants a strategy that truly earns that after costs; `--sharpe 0` plants none: in
every other world the forecasts are right but worth no more than they cost, in the rest nothing
can be forecast and the market itself may rise or fall. In every world several strategies are
tried and the best is put up, with the tries counted.

Real in it: calibration, expected returns, entries, weights, costs, daily returns, yardsticks,
scores, deflation and verdict. Made up: candles and raw votes (see `campaigns.worlds`).
`--pipeline` instead trains the real models on the real features of simulated candles, without an
edge in them unless `--pull` plants one: slow, and few worlds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from campaigns.output import Pace, progress, show
from campaigns.worlds import evidence_of, strengths_for, world
from trader.learning.licence import judge
from trader.performance import daily_sharpe

YEARS = 8


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one world.

    Attributes:
        kind: of the world: `planted`, `worth its costs` or `nothing to forecast`.
        sharpe: yearly, after costs, of the strategy put up.
        planted: of the planted strategy, whether or not it was put up.
        reasons: why not, shortened to their subject.
        covered: calibration error inside its band.
    """

    kind: str
    granted: bool
    sharpe: float
    planted: float
    auc: float
    covered: bool
    reasons: tuple[str, ...]


def verdict_on(task: tuple[int, float, int]) -> Verdict:
    """Make one world and have it judged: (seed, planted Sharpe ratio, years)."""
    seed, sharpe, years = task
    barren = sharpe == 0 and seed % 2 == 1
    drift = float(np.random.default_rng([seed, 5]).normal(0.5, 0.5)) if barren else 0.0
    strengths = strengths_for(0.0 if barren else sharpe, barren=barren)
    evidence, planted = evidence_of(world(seed, years, strengths, drift))
    said = judge(evidence, seed=seed)
    scores = evidence.scores
    kind = "nothing to forecast" if barren else "planted" if sharpe else "worth its costs"
    yearly = float(daily_sharpe(evidence.strategy) * np.sqrt(365))
    return Verdict(
        kind, said.granted, yearly, planted, float("nan") if scores is None else scores.auc,
        scores is not None and scores.ece <= scores.ece_noise_95,
        tuple(_subject(reason) for reason in said.reasons) if not said.granted else (),
    )  # fmt: skip


_SUBJECTS = {
    "days out of sample": "too few days", "trades out of sample": "too few trades",
    "deflated": "Sharpe not above luck", "buy-and-hold": "no lead over buy-and-hold",
    "trend rule": "costs the trend rule", "log-loss skill": "no skill",
    "guesses reach": "rises not told from falls", "calibration error": "not calibrated",
    "too good": "too good", "future": "leak", "too little": "too little history",
}  # fmt: skip


def _subject(reason: str) -> str:
    return next((name for words, name in _SUBJECTS.items() if words in reason), reason)


def run(worlds: int, sharpe: float, years: int, seed: int, jobs: int) -> dict[str, Any]:
    """Judge so many worlds; the figures."""
    tasks = [(seed * 100_000 + number, sharpe, years) for number in range(worlds)]
    found = []
    pace = Pace()
    for verdict in _spread(tasks, jobs):
        found.append(verdict)
        pace.tell(f"{len(found)} of {worlds} worlds, {sum(v.granted for v in found)} granted")
    planted = np.array([v.planted for v in found])
    reasons = Counter(reason for v in found for reason in v.reasons)
    kinds = sorted({v.kind for v in found})
    return {
        "worlds": worlds,
        "granted": sum(v.granted for v in found),
        "share": sum(v.granted for v in found) / worlds,
        "sharpe": sharpe,
        "sharpe_found": {"mean": float(planted.mean()), "error": float(_error(planted))},
        "by_kind": {k: f"{sum(v.granted for v in found if v.kind == k)} of "
                       f"{sum(v.kind == k for v in found)}" for k in kinds},
        "calibrated": sum(v.covered for v in found) / worlds,
        "auc": float(np.nanmean([v.auc for v in found])),
        "refused_for": dict(reasons.most_common()),
        "years": years,
        "seconds": round(pace.seconds, 1),
    }  # fmt: skip


def _error(values: np.ndarray[Any, Any]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def _spread(tasks: list[tuple[int, float, int]], jobs: int) -> Iterator[Verdict]:
    if jobs == 1:
        yield from map(verdict_on, tasks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(verdict_on, tasks, chunksize=4)


def pipeline(worlds: int, pull: float, seed: int, days: int) -> dict[str, Any]:
    """The whole real training on simulated candles: features, members, walk, verdict.

    Args:
        worlds: how many.
        pull: how much of a candle's move the next one takes back; 0 for no edge.
        seed: of the first world.
        days: of four-hour candles in each; too few are one more reason to refuse.
    """
    from campaigns.worlds import leaning_candles, short_settings
    from trader.domain.markets import Pair
    from trader.learning.training import train

    found = []
    reasons: Counter[str] = Counter()
    for number in range(worlds):
        candles = leaning_candles(seed + number, pull, days * 6)
        made = train(
            {Pair("BTC", "USD"): candles}, short_settings(), source="simulated-campaign",
            trained_at=candles.closed_at, code_version="campaign",
        )  # fmt: skip
        scores = made.model.card.horizons[0].scores
        found.append((made.licence.granted, scores))
        reasons.update(_subject(reason) for reason in made.licence.reasons)
        progress(f"world {number + 1} of {worlds}: {'granted' if found[-1][0] else 'refused'}")
    kept: Iterable[Any] = [scores for _, scores in found if scores is not None]
    return {
        "worlds": worlds,
        "granted": sum(granted for granted, _ in found),
        "auc": float(np.mean([s.auc for s in kept])),
        "skilled": sum(s.skill_low > 0 for s in kept),
        "told_apart": sum(s.auc_low > 0.5 for s in kept),
        "calibrated": sum(s.ece <= s.ece_noise_95 for s in kept),
        "refused_for": dict(reasons.most_common()),
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--worlds", default=200, show_default=True, type=click.IntRange(1))
@click.option("--sharpe", default=0.0, show_default=True, help="Planted, yearly, after costs.")
@click.option("--years", default=YEARS, show_default=True, type=click.IntRange(2))
@click.option("--seed", default=1, show_default=True)
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1))
@click.option("--pipeline", "whole", is_flag=True, help="The real training on few worlds.")
@click.option("--pull", default=0.0, show_default=True, help="Edge planted for --pipeline.")
@click.option("--days", default=440, show_default=True, type=click.IntRange(300),
              help="Length of a world for --pipeline.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def main(
    worlds: int, sharpe: float, years: int, seed: int, jobs: int, whole: bool, pull: float,
    days: int, as_json: bool,
) -> None:  # fmt: skip
    """How often the licence is granted where the truth is known."""
    progress(f"{worlds} worlds, seed {seed}")
    if whole:
        show(pipeline(worlds, pull, seed, days), as_json=as_json)
    else:
        show(run(worlds, sharpe, years, seed, jobs), as_json=as_json)


if __name__ == "__main__":
    main()
