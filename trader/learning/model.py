"""A trained model: its card (what it is, what it may) and its vote (what it says)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.domain.candles import FloatArray, Timeframe
from trader.domain.errors import ModelError
from trader.domain.events import FeatureMove, VoteExplained
from trader.domain.markets import Pair
from trader.domain.memo import once
from trader.domain.signals import Snapshot
from trader.learning.calibration import Platt, ReturnMap
from trader.learning.compiled import CompiledVote
from trader.learning.domain import Domain
from trader.learning.drift import DriftReference
from trader.learning.evaluation import Scores
from trader.learning.features import (
    FeatureTable,
    Matrix,
    feature_texts,
    latest_rows,
    schema_hash,
    table_of,
)
from trader.learning.forecast import Contribution, Forecast, Outlook
from trader.learning.licence import Licence
from trader.learning.papertrade import SLEEVE_HOURS
from trader.learning.shapley import Account, VoteAccount

DIRECTION = "direction"
"""The label whose chances are those of a rise."""
_CHUNK = 512
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from.

    Attributes:
        source: of the candles; a model is used only on those of its own source.
        code_version: of the program that made it.
    """

    source: str
    code_version: str


@dataclass(frozen=True, slots=True)
class HorizonCard:
    """What is known of one horizon of a model.

    Attributes:
        hours: how far it looks.
        base_rate: share of rises in the training rows.
        platt, returns: from the vote to a probability and an expected return; None where there
            were too few out-of-sample predictions to fit them: the horizon is silent then.
        scores: of the calibrated out-of-sample predictions before the model was made.
        skilled: they beat the base rate.
        voices: member → its weight in the vote.
    """

    hours: float
    base_rate: float
    platt: Platt | None
    returns: ReturnMap | None
    scores: Scores | None
    skilled: bool
    voices: Mapping[str, float] = field(default_factory=dict)

    def voices_in_words(self) -> str:
        """How much each member counts, "" where there is nothing to say."""
        if len(self.voices) < 2:
            return ""
        loudest = sorted(self.voices.items(), key=lambda item: -item[1])
        return ", ".join(f"{name.replace('_', ' ')} {voice:.0%}" for name, voice in loudest)


@dataclass(frozen=True, slots=True)
class Importance:
    """What a feature is worth, out of fold: how much worse forecasts get without it.

    Attributes:
        text: what the feature is.
        lost: log loss added when its values are shuffled among the candles, nats per forecast,
            the mean over the folds; above 0 it helps.
        folds_helped: share of the folds in which it helped.
    """

    feature: str
    text: str
    horizon_hours: float
    lost: float
    folds_helped: float


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Everything about a model but its numbers; the manifest on disk.

    Attributes:
        source: where the candles came from (`kraken`, `simulated-7`, …): a model is used only
            on candles of its own source.
        trained_from, known_through: first and last moment whose prices it has learned from.
        trained_at: when it was made.
        rows: training rows per horizon.
        sleeve_licensed: its own entries paid out of sample.
        parent: the training run it belongs to.
        refit_days: how old a model grew in the walk forward that was its test.
        label: what is predicted.
        importance: of the features, out of fold, the most important first.
    """

    id: str
    pairs: tuple[Pair, ...]
    timeframe: Timeframe
    source: str
    model_type: str
    schema: str
    features: tuple[str, ...]
    horizons: tuple[HorizonCard, ...]
    trained_from: datetime
    known_through: datetime
    trained_at: datetime
    rows: tuple[int, ...]
    data_hash: str
    seed: int
    code_version: str
    licence: Licence
    sleeve_licensed: bool = False
    parent: str = ""
    refit_days: int = 91
    label: str = DIRECTION
    importance: tuple[Importance, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        body = asdict(self)
        body["pairs"] = [str(pair) for pair in self.pairs]
        body["timeframe"] = str(self.timeframe)
        for name in ("trained_from", "known_through", "trained_at"):
            body[name] = getattr(self, name).isoformat()
        return body

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> ModelCard:
        """The inverse of `as_dict`.

        Raises:
            ModelError: if something is missing or of the wrong kind.
        """
        try:
            return _card(body)
        except (KeyError, TypeError, ValueError) as fault:
            raise ModelError(f"the model's manifest cannot be read ({fault!r})") from fault


@dataclass(frozen=True, slots=True, eq=False)
class TradingModel:
    """A model that may be asked.

    Attributes:
        low, high: range of each feature in the training rows.
        strangeness: share of features outside their range above which the model abstains.
        drift: the training values of the features; None where they were not kept.
    """

    card: ModelCard
    vote: CompiledVote
    low: Matrix
    high: Matrix
    strangeness: float = 1.0
    drift: DriftReference | None = None
    _texts: dict[str, str] = field(default_factory=feature_texts, repr=False)
    _accounts: dict[int, VoteAccount] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        """Its name in the journal and on disk."""
        return self.card.id

    @property
    def known_through(self) -> datetime:
        """The newest moment whose price it has learned from."""
        return self.card.known_through

    def outlook(self, snapshot: Snapshot) -> Outlook:
        """What it says at that candle, or why it is silent.

        Raises:
            ModelError: if it was made for other features or another timeframe.
        """
        self.check_fits(snapshot.timeframe)
        rows, sigma, votes = self._seen(snapshot)
        forecasts = {
            card.hours: self._forecast(place, card, snapshot.timeframe, rows, sigma, votes)
            for place, card in enumerate(self.card.horizons)
            if card.platt is not None and math.isfinite(float(sigma[-1]))
        }
        strange = float(self.strange_share(rows[-1:])[0])
        return Outlook(
            forecasts, self.id, self._silence(strange, sigma), self.main_horizon,
            self.card.sleeve_licensed,
            frozenset(card.hours for card in self.card.horizons if card.skilled),
            abstains=strange > self.strangeness,
            buckets=lambda: "" if self.drift is None else self.drift.buckets(rows[-1]),
            strange=strange,
            reference=self.drift,
            of_a_rise=self.card.label == DIRECTION,
        )  # fmt: skip

    @property
    def trained_at(self) -> datetime:
        """When it was made."""
        return self.card.trained_at

    @property
    def licence(self) -> Licence:
        """Whether it may trade real money, and why."""
        return self.card.licence

    @property
    def main_horizon(self) -> float:
        """The horizon that decides: the longest."""
        return max(card.hours for card in self.card.horizons)

    def check_fits(self, timeframe: Timeframe) -> None:
        """Whether its columns and candles are those of this program.

        Raises:
            ModelError: if they are not; says what to do.
        """
        if self.card.schema != schema_hash():
            raise ModelError(
                f"model {self.id} was made for other features ({self.card.schema}, now "
                f"{schema_hash()})",
                "Train a new one: python run_trader.py train",
            )
        if self.card.timeframe != timeframe:
            raise ModelError(
                f"model {self.id} is for {self.card.timeframe} candles, not {timeframe}",
                "Train one for this timeframe: python run_trader.py train",
            )

    def chances(self, rows: Matrix, hours: float) -> FloatArray:
        """Calibrated chances of a rise over one horizon, one a feature row.

        Raises:
            ModelError: if the horizon is not calibrated.
        """
        for place, card in enumerate(self.card.horizons):
            if card.hours == hours and card.platt is not None:
                return card.platt(self.vote.probabilities(rows)[:, place], card.base_rate)
        raise ModelError(f"model {self.id} is not calibrated over {hours:g} h")

    def strange_share(self, rows: Matrix) -> FloatArray:
        """Share of known features outside their training range, one a row."""
        return Domain(self.low, self.high, self.strangeness).strangeness(rows)

    def _silence(self, strange: float, sigma: FloatArray) -> str:
        if not math.isfinite(float(sigma[-1])):
            return "its features are still warming up"
        if all(card.platt is None for card in self.card.horizons):
            return "it has too few tested predictions to be believed"
        main = max(self.card.horizons, key=lambda card: card.hours)
        if not main.skilled:
            return f"model {self.id} has shown no skill over {main.hours:g} h out of sample"
        if strange > self.strangeness:
            return (
                f"the market is unlike anything model {self.id} learned from "
                f"({strange:.0%} of its features out of range)"
            )
        return ""

    def _seen(self, snapshot: Snapshot) -> tuple[Matrix, FloatArray, FloatArray]:
        """The newest feature rows, their volatility and their votes, this candle last."""
        count = 1
        if self.card.sleeve_licensed:  # only its own entries look back
            count = max(1, SLEEVE_HOURS * 3600 // snapshot.timeframe.seconds)
        rows, sigma = latest_rows(snapshot, count)
        analysis, stop = snapshot.analysis, snapshot.index + 1
        if stop == len(analysis.candles):
            return rows, sigma, self.vote.probabilities(rows)
        leader = snapshot.leader.analysis if snapshot.leader is not None else None
        table = table_of(analysis, leader)
        start = stop - len(rows)
        chunks = [
            self._chunk(snapshot, table, number)
            for number in range(start // _CHUNK, (stop - 1) // _CHUNK + 1)
        ]
        votes = np.concatenate(chunks)
        offset = start - (start // _CHUNK) * _CHUNK
        return rows, sigma, votes[offset : offset + len(rows)]

    def _chunk(self, snapshot: Snapshot, table: FeatureTable, number: int) -> FloatArray:
        """Votes of a stretch of a prepared history: each row's features are from its own past."""
        part = table.matrix[number * _CHUNK : (number + 1) * _CHUNK]
        key = ("votes", self.id, id(table.matrix), number)
        vote = self.vote
        return once(snapshot.analysis, key, lambda: vote.probabilities(part))

    def _forecast(
        self,
        place: int,
        card: HorizonCard,
        timeframe: Timeframe,
        rows: Matrix,
        sigma: FloatArray,
        votes: FloatArray,
    ) -> Forecast:
        if card.platt is None or card.returns is None:
            raise ModelError(f"model {self.id} is not calibrated over {card.hours:g} h")
        own = votes[:, place]
        over = sigma * math.sqrt(card.hours * 3600 / timeframe.seconds)
        expected = card.returns(own, card.base_rate, over)
        chances = card.platt(own, card.base_rate)
        return Forecast(
            card.hours,
            float(chances[-1]),
            card.base_rate,
            float(expected[-1]),
            expected,
            chances,
            self._explainer(rows[-1], place),
            lambda: self._accounted(rows[-1], place, float(chances[-1])),
        )

    def _explainer(
        self, row: npt.NDArray[np.float32], place: int
    ) -> Callable[[], tuple[Contribution, ...]]:
        def explain() -> tuple[Contribution, ...]:
            moved = self.account(row, place).moved
            strongest = _strongest(moved)
            return tuple(self._contribution(int(i), float(moved[i])) for i in strongest)

        return explain

    def account(self, row: npt.NDArray[np.float32], place: int) -> Account:
        """Where the vote of one horizon at a feature row comes from, exactly.

        Args:
            row: the features.
            place: of the horizon on the card.
        """
        if place not in self._accounts:
            self._accounts[place] = VoteAccount(self.vote, place, len(self.low))
        return self._accounts[place].of(row)

    def _accounted(
        self, row: npt.NDArray[np.float32], place: int, calibrated: float
    ) -> VoteExplained:
        account = self.account(row, place)
        moves = tuple(
            FeatureMove(self.card.features[i], float(account.moved[i]))
            for i in _strongest(account.moved)
        )
        named = sum(move.moved for move in moves)
        return VoteExplained(
            self.card.horizons[place].hours, account.start, moves,
            account.vote - account.start - named, account.vote, calibrated,
        )  # fmt: skip

    def _contribution(self, column: int, moved: float) -> Contribution:
        name = self.card.features[column]
        verb = "raises" if moved > 0 else "lowers"
        text = f"{self._texts.get(name, name)} {verb} the chance by {abs(moved):.1%}"
        return Contribution(name, text, moved)


def _strongest(moved: FloatArray) -> list[int]:
    """Columns of the largest moves, the largest first."""
    return [int(i) for i in np.argsort(-np.abs(moved), kind="stable")[:_NAMED]]


def _card(body: dict[str, Any]) -> ModelCard:
    horizons = tuple(
        HorizonCard(
            float(h["hours"]), float(h["base_rate"]),
            Platt(**h["platt"]) if h["platt"] else None,
            ReturnMap(**h["returns"]) if h["returns"] else None,
            Scores(**h["scores"]) if h["scores"] else None,
            bool(h["skilled"]),
            {str(name): float(voice) for name, voice in h.get("voices", {}).items()},
        )
        for h in body["horizons"]
    )  # fmt: skip
    times = ("trained_from", "known_through", "trained_at")
    return ModelCard(
        id=str(body["id"]),
        pairs=tuple(Pair.parse(pair) for pair in body["pairs"]),
        timeframe=Timeframe.parse(body["timeframe"]),
        source=str(body["source"]),
        model_type=str(body["model_type"]),
        schema=str(body["schema"]),
        features=tuple(body["features"]),
        horizons=horizons,
        rows=tuple(int(n) for n in body["rows"]),
        data_hash=str(body["data_hash"]),
        seed=int(body["seed"]),
        code_version=str(body["code_version"]),
        licence=Licence(
            bool(body["licence"]["granted"]),
            tuple(body["licence"]["reasons"]),
            tuple(body["licence"].get("needed", ())),
            tuple(body["licence"].get("notes", ())),
        ),
        sleeve_licensed=bool(body["sleeve_licensed"]),
        parent=str(body["parent"]),
        refit_days=int(body["refit_days"]),
        label=str(body["label"]),
        importance=tuple(Importance(**item) for item in body["importance"]),
        **{name: datetime.fromisoformat(body[name]) for name in times},
    )
