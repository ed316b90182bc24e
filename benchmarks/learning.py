"""A walk forward beside scikit-learn's defaults and LightGBM, and one decision of a model.

Real candles are used where a history of BTC/USD is stored under DATA_DIR, drawn ones elsewhere.
Each tool works in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks.registry import Measurement, benchmark, measured
from trader.domain.candles import Candles, FloatArray, Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import Pair
from trader.indicators.leaks import drawn_candles
from trader.learning.compiled import compile_vote
from trader.learning.dataset import Dataset, build_dataset
from trader.learning.evaluation import auc
from trader.learning.features import FeatureTable, Matrix, feature_names
from trader.learning.learner import DAY, Learner
from trader.learning.settings import LearningSettings
from trader.storage.history import HistoryStore

ROWS, FEATURES, REFITS, HORIZON = 40_000, 100, 31, 6.0
MONTH = 30 * DAY
SAMPLED = 3
"""Refits that the slow peers make; their time is multiplied up to all of them."""
THREADS = 2
DECISIONS = 2000
PAIR = Pair("BTC", "USD")
EMBARGO = DAY

Votes: TypeAlias = tuple[FloatArray, FloatArray]
"""Votes, and what came of them."""
Walk: TypeAlias = Callable[[Dataset, tuple[int, ...]], Votes]


@cache
def _hourly() -> Candles:
    """The last 40,000 candles and what the features need before them."""
    wanted = ROWS + 400
    try:
        store = HistoryStore(Path(os.environ.get("DATA_DIR", "data")))
        candles = store.load(PAIR, Timeframe.parse("1h"))
        if len(candles) >= wanted:
            return candles[-wanted:]
    except HistoryError:
        pass
    return drawn_candles(wanted, seed=3)


@cache
def _dataset() -> Dataset:
    """40,000 rows × 100 features: ours, and the first of them some candles ago."""
    made = build_dataset({PAIR: _hourly()}, horizons=(HORIZON,))
    table = made.tables[0]
    missing = FEATURES - len(feature_names())
    older = np.roll(table.matrix[:, :missing], 3, axis=0)
    matrix = np.ascontiguousarray(np.hstack([table.matrix, older])[:, :FEATURES])
    wide = FeatureTable(PAIR, table.candles, matrix, table.sigma, table.closed_at)
    warm = np.isfinite(table.sigma) & (np.arange(len(table.sigma)) >= len(table.sigma) - ROWS)
    return Dataset(
        made.timeframe, (wide,), made.labels, (warm,), made.data_hash, made.pairs, made.own
    )


def _schedule(dataset: Dataset) -> tuple[int, ...]:
    end = dataset.last_known
    return tuple(end - MONTH * (REFITS - done) for done in range(REFITS))


def _ours(dataset: Dataset, moments: tuple[int, ...]) -> Votes:
    """The learner of the program, all three members, all refits."""
    learner = Learner(dataset, LearningSettings(workers=THREADS, window_days=4000), moments)
    while not learner.finished:
        learner.step()
    seen = learner.known(HORIZON)
    return seen.vote, seen.up


def _walked(dataset: Dataset, moments: tuple[int, ...], make: Callable[[], Any]) -> Votes:
    """Refit a peer on every row known before each moment, and ask it about the month after."""
    table, labels = dataset.tables[0], dataset.labels[HORIZON][0]
    votes, outcomes = [], []
    for moment in moments:
        train = labels.known_before(moment, EMBARGO) & dataset.warm[0]
        test = (table.closed_at >= moment) & (table.closed_at < moment + MONTH) & labels.valid
        member = make()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            member.fit(table.matrix[train], labels.up[train])
            votes.append(member.predict_proba(table.matrix[test])[:, 1])
        outcomes.append(labels.up[test])
    return np.concatenate(votes), np.concatenate(outcomes)


def _scikit(dataset: Dataset, moments: tuple[int, ...]) -> Votes:
    """A soft vote of a forest of 200 full trees, gradient boosting and lbfgs, as they come."""
    from sklearn.ensemble import (
        GradientBoostingClassifier,
        RandomForestClassifier,
        VotingClassifier,
    )
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def make() -> Any:
        members = [
            ("forest", RandomForestClassifier(200, n_jobs=THREADS, random_state=1)),
            ("boosting", GradientBoostingClassifier(random_state=1)),
            ("line", LogisticRegression(max_iter=1000)),
        ]
        vote = VotingClassifier(members, voting="soft")
        return make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), vote)

    return _walked(dataset, moments, make)


def _lightgbm(trees: int) -> Walk:
    def walk(dataset: Dataset, moments: tuple[int, ...]) -> Votes:
        from lightgbm import LGBMClassifier

        return _walked(
            dataset, moments,
            lambda: LGBMClassifier(n_estimators=trees, n_jobs=THREADS, verbosity=-1),
        )  # fmt: skip

    return walk


# The configuration in FreqAI's documentation leaves LightGBM its 100 trees or asks for 800.
TOOLS: dict[str, tuple[Walk, bool]] = {
    "ours": (_ours, True),
    "lightgbm-100": (_lightgbm(100), True),
    "lightgbm-800": (_lightgbm(800), False),
    "scikit-learn": (_scikit, False),
}
"""Tool → how it walks, and whether it is quick enough to make all refits in the short version."""


def _in_own_process(tool: str, whole: bool) -> tuple[float, float, float, int, Votes]:
    """Seconds, peak MB, MB before the walk, refits made, and the votes."""
    walk, quick = TOOLS[tool]
    dataset = _dataset()
    moments = _schedule(dataset)
    if not whole and not quick:
        moments = moments[:: REFITS // SAMPLED][:SAMPLED]
    before = _held_mb()
    began = time.perf_counter()
    votes = walk(dataset, moments)
    return time.perf_counter() - began, _held_mb(), before, len(moments), votes


def _held_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _walks(whole: bool) -> Iterator[Measurement]:
    context = multiprocessing.get_context("spawn")
    for tool in TOOLS:
        with context.Pool(1) as pool:
            seconds, peak, before, made, (votes, up) = pool.apply(_in_own_process, (tool, whole))
        kind = f"{made} refits" if made == REFITS else f"{made} refits, time × {REFITS}/{made}"
        notes = f"AUC {auc(votes, up):.4f} on {len(up):,} rows; {kind}; {before:.0f} MB before"
        yield measured(
            f"walk forward, {REFITS} refits", tool, ROWS, [seconds * REFITS / made], peak, notes
        )


@benchmark("learning.walk", "40,000 rows × 100 features, 31 refits; slow peers make 3 of them")
def walk_sampled(_runs: int) -> Iterator[Measurement]:
    """Once: a run takes minutes, and its noise is far below the factors that are asked for."""
    yield from _walks(whole=False)


@benchmark("learning.walk_whole", "the same, every tool all 31 refits: an hour or more")
def walk_whole(_runs: int) -> Iterator[Measurement]:
    """The AUC of all tools on the same rows."""
    yield from _walks(whole=True)


@benchmark("learning.decision", "one decision's model part, all horizons, features ready")
def decision(_runs: int) -> Iterator[Measurement]:
    """The vote, its calibration and the check of its domain, one row at a time."""
    from trader.learning.calibration import Platt, ReturnMap
    from trader.learning.domain import domain_of

    dataset = build_dataset({PAIR: _hourly()[-9000:]})
    learner = Learner(dataset, LearningSettings(workers=THREADS), ())
    fit = learner.fit_at(dataset.last_known)
    if fit is None:
        raise RuntimeError("9,000 candles were too few to fit on")
    vote, inside = compile_vote(fit.fitted), domain_of(fit.sample)
    platt, returns = Platt(0.8, 0.01), ReturnMap(0.0, 0.1)
    rows: Matrix = dataset.tables[0].matrix[-DECISIONS:]

    def decide(row: Matrix) -> None:
        votes = vote.probabilities(row)
        for place, base in enumerate(fit.base_rates):
            platt(votes[:, place], base)
            returns(votes[:, place], base, votes[:, place])
        inside.strangeness(row)

    spent, counted = [], []
    for number in range(len(rows)):
        began, busy = time.perf_counter(), time.thread_time()
        decide(rows[number : number + 1])
        spent.append(time.perf_counter() - began)
        counted.append(time.thread_time() - busy)
    p99, own = (1000 * float(np.quantile(each, 0.99)) for each in (spent, counted))
    notes = f"p99 {p99:.3f} ms, {own:.3f} ms of it computing"
    yield measured("one decision, three horizons", "ours", 1, spent, None, notes)
