"""A sweep on a Dask cluster of two processes, one of which is killed in the middle."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from scripts.backtest import Builder
from scripts.backtest_run import RunSettings
from scripts.backtest_sweep import Silent, Wishes, sweep
from tests.scripts.test_backtest import home
from tests.scripts.test_backtest_sweep import WORDS
from trader.simulation.sweep import Values

__all__ = ["home"]


class Mortal:
    """Builds settings; the first worker that is to build the last variant dies of it."""

    def __init__(self, words: dict[str, Any], home: Path) -> None:
        self.build, self.owner = Builder(words), os.getpid()
        self.mark = home / "died"

    def __call__(self, values: Values) -> RunSettings:
        last = dict(values)["STOP_ATR_MULTIPLE"] == "3"
        if last and os.getpid() != self.owner and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.build(values)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_result_and_survives_a_killed_worker(home: Path) -> None:
    distributed = pytest.importorskip("distributed")
    texts = ["STOP_ATR_MULTIPLE=1,2,3", "RISK_REWARD=0,2"]
    here = sweep(texts, Builder(WORDS), Silent(), Wishes(jobs=1, engine="steps"))
    (home / "data" / "sweeps.db").unlink()
    build = Mortal(WORDS, home)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        wishes = Wishes(cluster=cluster.scheduler_address, engine="steps")
        there = sweep(texts, build, Silent(), wishes)
    assert build.mark.exists()
    assert there["resumed"] == 0
    assert there["runs"] == here["runs"]
    assert there["plateau"] == here["plateau"]
