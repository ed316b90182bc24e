"""An outcome in a feature matrix is a type error: for the checker before, for numpy at last."""

import re
from pathlib import Path

import numpy as np
import pytest
from mypy import api

from tests.market_making import candles_of, random_walk
from trader.domain.candles import Timeframe
from trader.learning.labels import horizon_labels

ROOT = Path(__file__).resolve().parents[2]
MIXED = """
import numpy as np

from trader.learning.estimators import fit_member
from trader.learning.features import Matrix
from trader.learning.labels import Labels


def as_features(labels: Labels, up: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> object:
    return fit_member("random_forest", 1, labels, up)  # as_features


def into_a_matrix(labels: Labels) -> Matrix:
    return labels  # into_a_matrix


def honest(rows: Matrix, labels: Labels) -> object:
    return fit_member("random_forest", 1, rows, labels.up)  # honest
"""


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """Line → what mypy says of it."""
    path = tmp_path_factory.mktemp("mixed") / "mixed.py"
    path.write_text(MIXED, encoding="utf-8")
    options = ["--strict", "--cache-dir", str(ROOT / ".mypy_cache"), "--config-file",
               str(ROOT / "pyproject.toml"), "--follow-imports", "silent"]  # fmt: skip
    said, failed, _ = api.run([*options, str(path)])
    assert not failed
    lines = MIXED.splitlines()
    return {lines[int(line) - 1]: text for line, text in re.findall(r":(\d+): (error.*)", said)}


@pytest.mark.slow
@pytest.mark.parametrize("place", ["as_features", "into_a_matrix"])
def test_labels_as_features_do_not_pass_the_type_checker(complaints, place):
    assert [text for line, text in complaints.items() if line.endswith(f"# {place}")]


def test_the_outcomes_of_labels_may_be_learned(complaints):
    assert not [line for line in complaints if line.endswith("# honest")]


def test_labels_do_not_become_an_array():
    labels = horizon_labels(candles_of(random_walk(60, 1), Timeframe.parse("1h")), 6)
    with pytest.raises(TypeError, match="cannot be used as features"):
        np.column_stack([labels, np.ones(60)])
