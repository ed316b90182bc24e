"""The Flask application: settings, routes for pages, for machines, and for the stop button."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, render_template, request, send_from_directory

from trader.dashboard import documents
from trader.dashboard.gauges import gauges
from trader.dashboard.guard import Guard
from trader.dashboard.openapi import description
from trader.dashboard.reading import AccountReader, Reading, tail
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError, TraderError
from trader.domain.markets import Pair
from trader.domain.plain import plain
from trader.storage.history import HistoryStore
from trader.storage.model_store import ModelStore
from trader.storage.stop_switch import StopRequest, StopSwitch

PAGES = {
    "overview": "Overview",
    "market": "Market",
    "decisions": "Decisions",
    "trades": "Trades",
    "performance": "Performance",
    "model": "Model",
    "log": "Log",
    "settings": "Settings",
}
MOST_CANDLES = 1500
STREAM_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting as it is in effect; a secret's value is never in here."""

    name: str
    value: str
    source: str
    meaning: str
    section: str = ""


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """What the dashboard needs to know.

    Attributes:
        password: asked for when not empty.
        host: the address it is served on; its name is accepted in the Host header.
        now: the machine's time.
        stream_limit: how many open pages are kept up to date at once.
        settings: what the settings page shows.
    """

    data_dir: Path
    logs_dir: Path
    models_dir: Path
    now: Callable[[], datetime]
    host: str = "127.0.0.1"
    password: str = field(default="", repr=False)
    stream_limit: int = 64
    settings: tuple[SettingRow, ...] = ()


def create_app(settings: DashboardSettings) -> Flask:
    """The application; it opens nothing before the first request."""
    app = Flask(__name__)
    app.secret_key = secrets.token_bytes(32)
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        MAX_CONTENT_LENGTH=64 * 1024,
        SEND_FILE_MAX_AGE_DEFAULT=0,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    Guard(settings.password, settings.host, settings.now).protect(app)
    reader = AccountReader(settings.data_dir, settings.now)
    _add_pages(app)
    _add_answers(app, reader, settings)
    _add_actions(app, reader, settings)
    _add_stream(app, reader, settings.stream_limit)
    app.register_error_handler(TraderError, _explained)
    return app


def _explained(fault: TraderError) -> tuple[dict[str, Any], int]:
    return {"error": fault.as_dict()}, 409


def _add_pages(app: Flask) -> None:
    @app.get("/")
    def overview_page() -> str:
        return render_template("overview.html", pages=PAGES, page="overview")

    @app.get("/<any(market, decisions, trades, performance, model, log, settings):page>")
    def other_page(page: str) -> str:
        return render_template(f"{page}.html", pages=PAGES, page=page)

    @app.get("/favicon.ico")
    def icon() -> Response:
        return send_from_directory(str(app.static_folder), "icon.svg")


def _add_answers(app: Flask, reader: AccountReader, settings: DashboardSettings) -> None:
    questions: dict[str, Callable[[], dict[str, Any]]] = {
        "/healthz": lambda: {"status": "ok", **reader.ask(_alive)},
        "/api/overview": lambda: reader.ask(documents.overview),
        "/api/equity": lambda: reader.ask(lambda r: documents.equity(r.view)),
        "/api/trades": lambda: reader.ask(lambda r: documents.trades(r.view)),
        "/api/performance": lambda: reader.ask(lambda r: documents.performance(r.view)),
        "/api/models": lambda: reader.ask(lambda r: _models(r, settings.models_dir)),
        "/api/decisions": lambda: {"decisions": _decisions(reader)},
        "/api/candles": lambda: _candles(reader, settings.data_dir),
        "/api/log": lambda: {"lines": _log(settings.logs_dir)},
        "/api/settings": lambda: {"settings": plain(settings.settings)},
        "/api/openapi.json": description,
    }
    for path, question in questions.items():
        app.add_url_rule(path, path.removeprefix("/"), question, methods=["GET"])

    @app.get("/metrics")
    def metrics() -> Response:
        text = reader.ask(gauges)
        return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")


def _alive(reading: Reading) -> dict[str, bool]:
    return {"running": reading.running, "stopped": reading.view.stopped is not None}


def _decisions(reader: AccountReader) -> list[dict[str, Any]]:
    pair, needle = request.args.get("pair", ""), request.args.get("q", "")[:100]
    limit = _number("limit", 100, 1000)
    return reader.ask(lambda r: documents.decisions(r.view, pair, needle, limit))


def _candles(reader: AccountReader, data_dir: Path) -> dict[str, Any]:
    pair = Pair.parse(request.args.get("pair", ""))
    return reader.ask(lambda r: _chart(r, pair, data_dir))


def _models(reading: Reading, models_dir: Path) -> dict[str, Any]:
    """The models of the candles in use, newest first, and which one speaks for which pair."""
    session = reading.view.session
    pairs = session.pairs if session else ()
    store = ModelStore(models_dir, reading.state.get("history"))
    cards = {card.id: card for pair in pairs for card in store.models(pair)}
    newest = sorted(cards.values(), key=lambda card: card.known_through, reverse=True)
    return {
        "in_use": {str(pair): found.model_id for pair, found in reading.view.models.items()},
        "models": [documents.model_row(card) for card in newest],
    }


def _log(folder: Path) -> list[str]:
    return tail(folder, _number("limit", 200, 2000), request.args.get("q", "")[:100])


def _number(name: str, usual: int, most: int) -> int:
    text = request.args.get(name, str(usual))
    if not text.isascii() or not text.isdigit():
        abort(400, f"{name}: expected a whole number from 1 to {most}")
    return max(1, min(int(text[:6]), most))


def _chart(reading: Reading, pair: Pair, data_dir: Path) -> dict[str, Any]:
    session = reading.view.session
    timeframe = Timeframe.parse(session.timeframe) if session else Timeframe.parse("1h")
    store = HistoryStore(data_dir, str(reading.state.get("history") or "kraken"))
    try:
        found = store.load(pair, timeframe)
    except HistoryError:
        found = Candles.empty(timeframe)
    at = reading.state.get("at")
    if at:
        found = found.known_at(datetime.fromisoformat(str(at)))
    rows = found[-MOST_CANDLES:] if len(found) > MOST_CANDLES else found
    return {
        "pair": str(pair),
        "timeframe": str(timeframe),
        "candles": [
            {"time": int(t), "open": o, "high": h, "low": low, "close": c, "volume": v}
            for t, o, h, low, c, v in zip(
                rows.opened_at.tolist(),
                rows.open.tolist(),
                rows.high.tolist(),
                rows.low.tolist(),
                rows.close.tolist(),
                rows.volume.tolist(),
                strict=True,
            )
        ],
        **documents.markers(reading.view, pair),
    }


def _add_actions(app: Flask, reader: AccountReader, settings: DashboardSettings) -> None:
    switch = StopSwitch(settings.data_dir)

    @app.post("/api/stop")
    def stop() -> dict[str, Any]:
        wish = request.get_json(silent=True)
        wish = wish if isinstance(wish, dict) else {}
        reason = str(wish.get("reason") or "stopped from the dashboard")[:200]
        who = f"dashboard from {request.remote_addr}"
        switch.press(
            StopRequest(reason, wish.get("flatten") is True, who, settings.now().isoformat())
        )
        running = reader.ask(lambda r: r.running)
        return {"stopped": True, "running": running}

    @app.post("/api/resume")
    def resume() -> dict[str, Any]:
        return {"resumed": switch.lift()}


def _add_stream(app: Flask, reader: AccountReader, limit: int) -> None:
    free = list(range(limit))
    closing = app.extensions["closing"] = threading.Event()

    @app.get("/api/stream")
    def stream() -> Response:
        """Server-sent events: one `change` whenever there is something new."""
        if not free:
            abort(503, "too many pages are open")
        place = free.pop()

        def changes() -> Iterator[str]:
            last = ""
            try:
                while not closing.is_set():
                    version = reader.version()
                    word = "change" if version != last else "beat"
                    last = version
                    yield f"event: {word}\ndata: {json.dumps(version)}\n\n"
                    closing.wait(STREAM_SECONDS)
            finally:
                free.append(place)

        return Response(changes(), mimetype="text/event-stream")
