"""The model page: who speaks for which pair, how good it was, how good it is, what it looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trader.dashboard.reading import Reading
from trader.domain.plain import plain
from trader.learning.model import ModelCard
from trader.storage.model_store import ModelStore


def models(reading: Reading, models_dir: Path, data_dir: Path) -> dict[str, Any]:
    """The models of the candles in use, newest first, and which one speaks for which pair."""
    session = reading.view.session
    pairs = session.pairs if session else ()
    store = ModelStore(models_dir, reading.state.get("history"))
    cards = {card.id: card for pair in pairs for card in store.models(pair)}
    newest = sorted(cards.values(), key=lambda card: card.known_through, reverse=True)
    return {
        "in_use": {str(pair): found.model_id for pair, found in reading.view.models.items()},
        "models": [model_row(card) for card in newest],
        "promotions": [
            {"at": plain(event.at), "pair": str(event.pair), "model": event.model_id,
             "reason": event.reason}
            for event in reversed(reading.adoptions[-200:])
        ],
    }  # fmt: skip


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
        "horizons": [
            {
                "hours": horizon.hours,
                "base_rate": horizon.base_rate,
                "skilled": horizon.skilled,
                "scores": plain(horizon.scores),
            }
            for horizon in card.horizons
        ],
    }
