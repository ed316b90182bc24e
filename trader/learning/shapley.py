"""Where a vote comes from: exact Shapley values of its features.

For a tree, what a set of known features predicts is the mean over its leaves, weighted at each
split on an unknown feature by the training rows that went either way. The Shapley value of a
feature is its mean gain over all orders in which features become known. A leaf with value v is
reached with Π_known o · Π_unknown z (o: does the row's value lead there, z: share of the training
rows), so that

    φ_j = Σ_leaves v (o_j − z_j) ∫₀¹ Π_{k≠j} (o_k t + z_k (1 − t)) dt

and the integral of a polynomial is a short Gauss-Legendre sum, exact for its degree. These are
the values of TreeSHAP without its recursion.

Source: Lundberg, Erion & Lee (2018), Consistent individualized feature attribution for tree
ensembles; the weights s!(d−1−s)!/d! of Shapley (1953) as Beta integrals, Owen (1972).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trader.domain.candles import FloatArray
from trader.learning.compiled import CompiledVote, Forest, Group, Ints, Line, logistic, output_of

Row = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """A vote as sums: start + moved.sum() = vote.

    Attributes:
        start: the members' weighted expectation before anything of the candle is known.
        moved: how far each feature moved the vote; probability.
        vote: the members' weighted probability, before calibration.
    """

    start: float
    moved: FloatArray
    vote: float


class VoteAccount:
    """Explains the votes of one horizon; made once, asked for many rows.

    A forest's values are exact in probability. Boosting and the logistic regression speak in
    log-odds: their values are exact there, and are brought to probability in proportion, so that
    they still add up to the last digit.

    Args:
        vote: the fitted members.
        horizon: which of its horizons.
        features: columns of a row.
    """

    def __init__(self, vote: CompiledVote, horizon: int, features: int) -> None:
        self._features = features
        self._line = vote.lines.get(horizon)
        self._trees: list[tuple[Group, _Leaves]] = []
        if vote.forest is not None:
            self._trees = [
                (group, _Leaves(vote.forest, place))
                for place, group in enumerate(vote.groups)
                if group.horizon == horizon
            ]

    def of(self, row: Row) -> Account:
        """The account of one row's vote."""
        parts = [_tree_account(group, leaves, row) for group, leaves in self._trees]
        voices = [group.voice for group, _ in self._trees]
        if self._line is not None:
            parts.append(_line_account(self._line, row))
            voices.append(self._line.voice)
        starts, moves, ends = zip(*parts, strict=True)
        return Account(
            float(np.average(starts, weights=voices)),
            np.asarray(np.average(moves, axis=0, weights=voices)),
            float(np.average(ends, weights=voices)),
        )


def _tree_account(group: Group, leaves: _Leaves, row: Row) -> tuple[float, FloatArray, float]:
    moved = leaves.values_of(row)
    low, high = output_of(group, np.array([leaves.expected, leaves.expected + moved.sum()]))
    return float(low), _in_proportion(moved, float(high - low)), float(high)


def _line_account(line: Line, row: Row) -> tuple[float, FloatArray, float]:
    parts = line.parts(row[None, :])[0]
    low, high = logistic(np.array([line.intercept, line.intercept + parts.sum()]))
    return float(low), _in_proportion(parts, float(high - low)), float(high)


def _in_proportion(parts: FloatArray, change: float) -> FloatArray:
    total = float(parts.sum())
    return parts * (change / total) if abs(total) > 1e-12 else parts * 0.0


class _Leaves:
    """The leaves of one group's trees with the way to each: all that its values need.

    Arrays have one row a leaf: `nodes` and `goes_left` are the splits on its way, `slot` the place
    of each split's feature among the leaf's features, `feature` and `share` (z) those features.
    """

    def __init__(self, forest: Forest, group: int) -> None:
        self._forest = forest
        roots = forest.roots[forest.group == group]
        self._leaf, self._nodes, self._goes_left = _ways(forest, roots)
        self._slot, self._feature, self._share = self._features_of_ways()
        self._values = forest.value[self._leaf]
        self.expected = float((self._values * self._share.prod(axis=1)).sum())
        degree = self._feature.shape[1]
        points, weights = np.polynomial.legendre.leggauss(max(1, (degree + 1) // 2))
        self._points, self._weights = (points + 1) / 2, weights / 2
        self._used = np.unique(self._nodes[self._nodes >= 0])

    def values_of(self, row: Row) -> FloatArray:
        """The Shapley value of each feature, in the group's own sum: one a column of the row."""
        reached = self._reached(row)
        gain = np.zeros(self._share.shape)
        for point, weight in zip(self._points, self._weights, strict=True):
            factors = reached * point + self._share * (1 - point)
            gain += weight * factors.prod(axis=1, keepdims=True) / factors
        gain *= self._values[:, None] * (reached - self._share)
        moved = np.zeros(len(row) + 1)
        np.add.at(moved, self._feature, gain)  # the last entry takes the empty slots: zero
        return moved[:-1]

    def _reached(self, row: Row) -> FloatArray:
        """1 where the row's value of a leaf's feature leads to the leaf at all its splits."""
        forest, leaves = self._forest, np.arange(len(self._leaf))
        seen = row[forest.feature[self._used]]
        left = np.zeros(len(forest.feature), dtype=bool)
        left[self._used] = (seen <= forest.threshold[self._used]) | (
            np.isnan(seen) & forest.missing_left[self._used]
        )
        found = np.ones(self._share.shape)
        for step in range(self._nodes.shape[1]):
            node = self._nodes[:, step]
            wrong = (node >= 0) & (left[node] != self._goes_left[:, step])
            found[leaves[wrong], self._slot[wrong, step]] = 0.0
        return found

    def _features_of_ways(self) -> tuple[Ints, Ints, FloatArray]:
        forest, (leaves, steps) = self._forest, self._nodes.shape
        nobody = -1
        feature = np.where(self._nodes >= 0, forest.feature[self._nodes], nobody)
        slot = np.zeros((leaves, steps), dtype=np.int64)
        held = np.full((leaves, max(steps, 1)), nobody, dtype=np.int64)
        share = np.ones((leaves, max(steps, 1)))
        every = np.arange(leaves)
        for step in range(steps):
            node = self._nodes[:, step]
            same = held == feature[:, step, None]
            free = held == nobody
            place = np.where(same.any(axis=1), same.argmax(axis=1), free.argmax(axis=1))
            real = node >= 0
            child = np.where(self._goes_left[:, step], forest.left[node], forest.right[node])
            slot[:, step] = place
            held[every[real], place[real]] = feature[real, step]
            share[every[real], place[real]] *= (forest.cover[child] / forest.cover[node])[real]
        return slot, held, share


def _ways(forest: Forest, roots: Ints) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """Every leaf below the roots with the nodes on its way (−1 after its end) and the turns."""
    at, depth = roots, forest.depth
    nodes = np.full((len(roots), depth), -1, dtype=np.int64)
    turns = np.zeros((len(roots), depth), dtype=bool)
    found: list[tuple[Ints, Ints, npt.NDArray[np.bool_]]] = []
    for level in range(depth + 1):
        ends = forest.left[at] == at
        found.append((at[ends], nodes[ends], turns[ends]))
        if level == depth:
            break
        inner, way, turn = at[~ends], nodes[~ends], turns[~ends]
        way[:, level] = inner
        left = turn.copy()
        left[:, level] = True
        at = np.concatenate([forest.left[inner], forest.right[inner]])
        nodes, turns = np.concatenate([way, way]), np.concatenate([left, turn])
    leaf, way, turn = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return leaf, way, turn
