"""The model page: who speaks for which pair, how good it was, how good it is, what it looks at."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from trader.dashboard.reading import Reading
from trader.domain.candles import Timeframe
from trader.domain.errors import TraderError
from trader.domain.events import ModelCompared
from trader.domain.markets import Pair
from trader.domain.plain import plain
from trader.learning.features import LEADER, analysis_for_features, feature_table, feature_texts
from trader.learning.model import ModelCard, TradingModel
from trader.learning.tracking import TRACKED, Tracker
from trader.storage.history import HistoryStore
from trader.storage.journal import SqliteJournal
from trader.storage.model_store import ModelStore

EXPLAINED = 24
"""Newest candles whose votes are taken apart for the importance of features."""
_PAST = 1500
_SHOWN = 15


class ModelPage:
    """Answers about models; keeps the live record and what is dear to compute.

    Args:
        models_dir: where the models lie.
        data_dir: where the candles lie.
    """

    def __init__(self, models_dir: Path, data_dir: Path) -> None:
        self._models_dir = models_dir
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._journal: SqliteJournal | None = None
        self._seen = 0
        self._tracker = Tracker()
        self._importance: tuple[str, list[dict[str, Any]]] = ("", [])

    def answer(self, reading: Reading) -> dict[str, Any]:
        """The models of the candles in use, newest first, and how they do."""
        session = reading.view.session
        store = ModelStore(self._models_dir, reading.state.get("history"))
        # Before the first start: whatever was trained.
        pairs = session.pairs if session else store.pairs()
        cards = {card.id: card for pair in pairs for card in store.models(pair)}
        newest = sorted(cards.values(), key=lambda card: card.known_through, reverse=True)
        with self._lock:
            self._follow(reading.journal)
            live = _live(self._tracker)
            model = _model_in_use(reading, store, pairs)
            return {
                "in_use": {str(pair): m.model_id for pair, m in reading.view.models.items()},
                "models": [
                    {**model_row(card), "written_at": plain(_written(store, card))}
                    for card in newest
                ],
                "live": live,
                "doubts": dict(reading.doubts),
                "drift": _drift(self._tracker, model),
                "importance": self._explained(reading, model),
                "promotions": [_change(event) for event in reversed(reading.adoptions[-200:])],
            }

    def _follow(self, journal: SqliteJournal | None) -> None:
        if journal is not self._journal:
            self._journal, self._seen, self._tracker = journal, 0, Tracker()
        if journal is None:
            return
        for number, event in journal.events(self._seen, kinds=TRACKED):
            self._tracker.apply(event)
            self._seen = number

    def _explained(
        self, reading: Reading, model: tuple[Pair, TradingModel] | None
    ) -> list[dict[str, Any]]:
        """What moved the newest votes, strongest first; computed once a model and day."""
        if model is None:
            return []
        key = f"{model[1].id}:{str(reading.state.get('at'))[:10]}"
        if self._importance[0] != key:
            try:
                found = explained_features(*model, reading, self._data_dir)
            except TraderError:
                found = []  # no candles, or a model of another version: the page goes on without
            self._importance = (key, found)
        return self._importance[1]


def _written(store: ModelStore, card: ModelCard) -> datetime | None:
    found = (store.written_at(pair, card.id) for pair in card.pairs)
    return next(filter(None, found), None)


def _model_in_use(
    reading: Reading, store: ModelStore, pairs: tuple[Pair, ...]
) -> tuple[Pair, TradingModel] | None:
    session, at = reading.view.session, reading.state.get("at")
    if session is None or not at:
        return None
    for pair in pairs:
        try:
            model = store.model_for(
                pair, Timeframe.parse(session.timeframe), datetime.fromisoformat(str(at))
            )
        except TraderError:
            continue
        if model is not None:
            return pair, model
    return None


def explained_features(
    pair: Pair, model: TradingModel, reading: Reading, data_dir: Path
) -> list[dict[str, Any]]:
    """Mean absolute Shapley value of each feature in the newest votes of the longest horizon."""
    store = HistoryStore(data_dir, str(reading.state.get("history") or "kraken"))
    timeframe = model.card.timeframe
    leader = None
    if pair.base != LEADER:
        other = Pair(LEADER, pair.quote)
        leader = analysis_for_features(other, store.load(other, timeframe)[-_PAST:])
    table = feature_table(pair, store.load(pair, timeframe)[-_PAST:], leader)
    place = len(model.card.horizons) - 1
    rows = table.matrix[-EXPLAINED:]
    moved = np.abs([model.account(row, place).moved for row in rows]).mean(axis=0)
    texts = feature_texts()
    names = model.card.features
    return [
        {"feature": names[i], "text": texts.get(names[i], names[i]), "moved": float(moved[i])}
        for i in np.argsort(-moved, kind="stable")[:_SHOWN].tolist()
    ]


def _live(tracker: Tracker) -> list[dict[str, Any]]:
    """The live record of each horizon, with the points of its reliability diagram."""
    return [
        {
            **plain(figures.as_dict()),
            "reliability": [plain(b) for b in tracker.reliability_of(figures.horizon_hours)],
        }
        for figures in tracker.figures()
    ]


def _drift(tracker: Tracker, model: tuple[Pair, TradingModel] | None) -> dict[str, Any] | None:
    if model is None or model[1].drift is None:
        return None
    found = tracker.feature_drift(model[1].drift, model[1].card.features)
    if found is None:
        return None
    return {
        "mean": found.mean,
        "limit": plain(found.limit),
        "unusual": found.unusual,
        "rows": found.rows,
        "furthest": [{"feature": name, "index": plain(index)} for name, index in found.furthest],
    }


def _change(event: Any) -> dict[str, Any]:
    if isinstance(event, ModelCompared):
        return {"at": plain(event.at), "pair": str(event.pair), "model": event.challenger,
                "what": event.verdict, "reason": event.reason}  # fmt: skip
    return {"at": plain(event.at), "pair": str(event.pair), "model": event.model_id,
            "what": "in use", "reason": event.reason}  # fmt: skip


def model_row(card: ModelCard) -> dict[str, Any]:
    """What a person wants to know of a model: what it knows, how good it is, what it may do."""
    return {
        "id": card.id,
        "type": card.model_type,
        "source": card.source,
        "timeframe": str(card.timeframe),
        "pairs": [str(pair) for pair in card.pairs],
        "trained_from": plain(card.trained_from),
        "known_through": plain(card.known_through),
        "trained_at": plain(card.trained_at),
        "features": list(card.features),
        "licence": plain(card.licence),
        "importance": [plain(i) for i in card.importance[:_SHOWN] if i.lost > 0],
        "horizons": [
            {
                "hours": horizon.hours,
                "base_rate": horizon.base_rate,
                "skilled": horizon.skilled,
                "voices": dict(horizon.voices),
                "scores": plain(horizon.scores),
            }
            for horizon in card.horizons
        ],
    }
