"""Fitted members as plain arrays: quick to ask, safe to load, exact to explain.

Every tree of every member lies in one table of nodes; a leaf points to itself. All trees of all
horizons are walked together, level by level, so that one candle costs a fraction of a
millisecond. The arrays are saved as they are: loading a model runs no code from the file. The
members' probabilities are those of scikit-learn; `shapley` explains them from the same arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trader.domain.candles import FloatArray
from trader.domain.errors import ModelError, UsageError
from trader.learning.features import Matrix

Ints: TypeAlias = npt.NDArray[np.int64]
CLIP = 3.0
_BLOCK = 512


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees of several groups; a group is one member of one horizon.

    Attributes:
        feature, threshold, left, right, missing_left, value, cover: one entry a node; a leaf's
            children are itself. `value` is the output at a leaf, `cover` how many training rows
            came by.
        roots: the root node of each tree.
        group: the group of each tree, ascending.
        depth: levels of the deepest tree.
    """

    feature: Ints
    threshold: FloatArray
    left: Ints
    right: Ints
    missing_left: npt.NDArray[np.bool_]
    value: FloatArray
    cover: FloatArray
    roots: Ints
    group: Ints
    depth: int

    def sums(self, rows: Matrix, groups: int) -> FloatArray:
        """Sum of the leaf values of each group: rows × groups."""
        starts = np.searchsorted(self.group, np.arange(groups + 1))
        found = np.zeros((len(rows), groups))
        for begin in range(0, len(rows), _BLOCK):
            block = rows[begin : begin + _BLOCK]
            leaves = self.value[self._leaves(block)]
            for g in range(groups):
                if starts[g] < starts[g + 1]:
                    part = np.ascontiguousarray(leaves[:, starts[g] : starts[g + 1]])
                    found[begin : begin + len(block), g] = part.sum(axis=1)
        return found

    def _leaves(self, rows: Matrix) -> Ints:
        node = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
        at = np.arange(len(rows))[:, None]
        for _ in range(self.depth):
            node = self._down(node, rows[at, self.feature[node]])
        return node

    def _down(self, node: Ints, seen: npt.NDArray[np.float32]) -> Ints:
        left = seen <= self.threshold[node]
        left |= np.isnan(seen) & self.missing_left[node]
        return np.where(left, self.left[node], self.right[node])


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A logistic regression on filled, standardised and clipped features.

    `voice` is its weight in the vote.
    """

    median: FloatArray
    mean: FloatArray
    deviation: FloatArray
    weights: FloatArray
    intercept: float
    voice: float = 1.0

    def log_odds(self, rows: Matrix) -> FloatArray:
        """One value a row."""
        return np.asarray(self.parts(rows).sum(axis=1) + self.intercept)

    def parts(self, rows: Matrix) -> FloatArray:
        """Each feature's part of the log-odds: rows × features."""
        values = rows.astype(np.float64)
        filled = np.where(np.isnan(values), self.median, values)
        scores = np.clip((filled - self.mean) / self.deviation, -CLIP, CLIP)
        return np.asarray(scores * self.weights)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One tree member of one horizon: how its sums become a probability.

    Attributes:
        offset: added to the sum.
        scale: multiplies the sum first (1 / trees for a forest).
        logistic: whether the result is log-odds.
        voice: its weight in the vote.
    """

    horizon: int
    member: str
    offset: float
    scale: float
    logistic: bool
    voice: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class CompiledVote:
    """The soft vote of all members, for each horizon.

    Attributes:
        forest: the trees of all tree members, None if there are none.
        groups: what the forest's groups are.
        lines: horizon index → logistic regression.
        horizons: how many horizons.
    """

    forest: Forest | None
    groups: tuple[Group, ...]
    lines: dict[int, Line]
    horizons: int

    def probabilities(self, rows: Matrix) -> FloatArray:
        """The vote before calibration: rows × horizons."""
        total = np.zeros((len(rows), self.horizons))
        voters = np.zeros(self.horizons)
        sums = None if self.forest is None else self.forest.sums(rows, len(self.groups))
        for place, group in enumerate(self.groups):
            if sums is not None:
                total[:, group.horizon] += group.voice * output_of(group, sums[:, place])
                voters[group.horizon] += group.voice
        for horizon, line in self.lines.items():
            total[:, horizon] += line.voice * logistic(line.log_odds(rows))
            voters[horizon] += line.voice
        return np.asarray(total / voters)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All of it as named arrays, for a file."""
        found: dict[str, npt.NDArray[Any]] = {"horizons": np.array([self.horizons])}
        if self.forest is not None:
            for name in Forest.__slots__:
                found[f"forest.{name}"] = np.asarray(getattr(self.forest, name))
        found["groups.numbers"] = np.array(
            [(g.horizon, g.offset, g.scale, g.logistic, g.voice) for g in self.groups],
            dtype=np.float64,
        ).reshape(-1, 5)
        found["groups.member"] = np.array([g.member for g in self.groups], dtype="U32")
        for horizon, line in self.lines.items():
            for name in Line.__slots__:
                found[f"line.{horizon}.{name}"] = np.asarray(getattr(line, name))
        return found

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> CompiledVote:
        """The inverse of `arrays`.

        Raises:
            ModelError: if something is missing.
        """
        try:
            return _read(arrays)
        except (KeyError, ValueError, TypeError, IndexError) as fault:
            raise ModelError(f"the model's arrays are incomplete or wrong ({fault})") from fault


def compile_vote(
    fitted: list[dict[str, Any]], voices: Sequence[Mapping[str, float]] = ()
) -> CompiledVote:
    """Turn fitted scikit-learn members into arrays.

    Args:
        fitted: for each horizon, member name → fitted classifier.
        voices: for each horizon, member name → its weight in the vote; equal if left out.
    """
    parts: list[dict[str, npt.NDArray[Any]]] = []
    groups: list[Group] = []
    lines: dict[int, Line] = {}
    for horizon, members in enumerate(fitted):
        voice = voices[horizon] if voices else {}
        for name, fitted_member in members.items():
            member, columns, width = _whole(fitted_member)
            if hasattr(member, "weights_"):
                line = _line(member, columns, width)
                lines[horizon] = replace(line, voice=voice.get(name, 1.0))
                continue
            trees, group = _trees(member, horizon, name)
            for tree in trees if columns is not None else ():
                tree["feature"] = columns[tree["feature"]]
            parts += [{**tree, "group": np.array([len(groups)])} for tree in trees]
            groups.append(replace(group, voice=voice.get(name, 1.0)))
    forest = _joined(parts) if parts else None
    return CompiledVote(forest, tuple(groups), lines, len(fitted))


def _whole(member: Any) -> tuple[Any, Any, int]:
    """The member itself, the columns it looks at (None for all) and how many there are in all."""
    columns = getattr(member, "columns", None)
    return (member, None, 0) if columns is None else (member.member, columns, member.width)


def _line(member: Any, columns: Ints | None, width: int) -> Line:
    def spread(values: FloatArray, elsewhere: float) -> FloatArray:
        if columns is None:
            return values
        whole = np.full(width, elsewhere)
        whole[columns] = values
        return whole

    return Line(
        spread(member.median_, 0.0), spread(member.mean_, 0.0), spread(member.deviation_, 1.0),
        spread(member.weights_, 0.0), member.intercept_,
    )  # fmt: skip


def _trees(member: Any, horizon: int, name: str) -> tuple[list[dict[str, Any]], Group]:
    if hasattr(member, "estimators_"):
        trees = [_forest_tree(tree.tree_) for tree in member.estimators_]
        return trees, Group(horizon, name, 0.0, 1.0 / len(trees), logistic=False)
    if not hasattr(member, "_predictors"):
        raise UsageError(
            f"MODEL_TYPE={name}: a {type(member).__name__} cannot be kept as plain arrays",
            "Models are never unpickled. Give a scikit-learn forest (estimators_), a "
            "HistGradientBoostingClassifier, or a line with median_, mean_, deviation_, "
            "weights_ and intercept_ like RobustLogistic.",
        )
    trees = [_boosted_tree(stage[0]) for stage in member._predictors]
    offset = float(np.ravel(member._baseline_prediction)[0])
    return trees, Group(horizon, name, offset, 1.0, logistic=True)


def _forest_tree(tree: Any) -> dict[str, Any]:
    counts = tree.value[:, 0, :]
    leaf = tree.children_left < 0
    own = np.arange(tree.node_count)
    return {
        "feature": np.where(leaf, 0, tree.feature).astype(np.int64),
        "threshold": tree.threshold.astype(np.float64),
        "left": np.where(leaf, own, tree.children_left).astype(np.int64),
        "right": np.where(leaf, own, tree.children_right).astype(np.int64),
        "missing_left": tree.missing_go_to_left.astype(bool),
        "value": counts[:, 1] / counts.sum(axis=1),
        "cover": tree.weighted_n_node_samples.astype(np.float64),
        "depth": np.array([tree.max_depth]),
    }


def _boosted_tree(predictor: Any) -> dict[str, Any]:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    own = np.arange(len(nodes))
    return {
        "feature": np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
        "threshold": nodes["num_threshold"].astype(np.float64),
        "left": np.where(leaf, own, nodes["left"]).astype(np.int64),
        "right": np.where(leaf, own, nodes["right"]).astype(np.int64),
        "missing_left": nodes["missing_go_to_left"].astype(bool),
        "value": nodes["value"].astype(np.float64),
        "cover": nodes["count"].astype(np.float64),
        "depth": np.array([int(nodes["depth"].max())]),
    }


def _joined(parts: list[dict[str, Any]]) -> Forest:
    sizes = [len(part["feature"]) for part in parts]
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)

    def stack(name: str) -> Any:
        return np.concatenate([part[name] for part in parts])

    def links(name: str) -> Ints:
        moved = [part[name] + start for part, start in zip(parts, offsets, strict=True)]
        return np.concatenate(moved)

    return Forest(
        stack("feature"), stack("threshold"), links("left"), links("right"),
        stack("missing_left"), stack("value"), stack("cover"), offsets, stack("group"),
        int(stack("depth").max()),
    )  # fmt: skip


def output_of(group: Group, sums: FloatArray) -> FloatArray:
    """The probability that a group's sums mean."""
    scaled = sums * group.scale + group.offset
    return logistic(scaled) if group.logistic else scaled


def logistic(log_odds: FloatArray) -> FloatArray:
    """Probability of log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def _read(arrays: dict[str, npt.NDArray[Any]]) -> CompiledVote:
    horizons = int(arrays["horizons"][0])
    forest = None
    if "forest.roots" in arrays:
        fields: dict[str, Any] = {name: arrays[f"forest.{name}"] for name in Forest.__slots__}
        forest = Forest(**{**fields, "depth": int(np.ravel(fields["depth"])[0])})
        nodes = len(forest.feature)
        for links in (forest.left, forest.right, forest.roots):
            if links.min() < 0 or links.max() >= nodes:
                raise ValueError("nodes point outside the table")
    groups = tuple(
        # Models made before the voices differed have no fifth number.
        Group(int(row[0]), str(member), float(row[1]), float(row[2]), bool(row[3]), *row[4:5])
        for row, member in zip(arrays["groups.numbers"], arrays["groups.member"], strict=True)
    )
    lines = {
        horizon: _read_line(arrays, horizon)
        for horizon in range(horizons)
        if f"line.{horizon}.weights" in arrays
    }
    return CompiledVote(forest, groups, lines, horizons)


def _read_line(arrays: dict[str, npt.NDArray[Any]], horizon: int) -> Line:
    def part(name: str) -> npt.NDArray[Any]:
        return arrays[f"line.{horizon}.{name}"]

    voice = arrays.get(f"line.{horizon}.voice", np.ones(1))
    return Line(
        part("median"), part("mean"), part("deviation"), part("weights"),
        float(np.ravel(part("intercept"))[0]), float(np.ravel(voice)[0]),
    )  # fmt: skip
