"""The Flask application: settings, routes for pages, for machines, and for the stop button."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from flask import (
    Flask,
    Response,
    abort,
    make_response,
    render_template,
    request,
    send_from_directory,
)
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from trader.dashboard import backtests, charts, documents
from trader.dashboard.answers import Answers
from trader.dashboard.gauges import gauges
from trader.dashboard.guard import Guard
from trader.dashboard.models import ModelPage
from trader.dashboard.openapi import description
from trader.dashboard.reading import AccountReader, NotThere, Reading, StillReading, tail
from trader.domain.errors import TraderError, UsageError
from trader.domain.markets import Pair
from trader.domain.plain import plain
from trader.reports.decision import explain
from trader.reports.ledger import csv_text, koinly_text
from trader.storage.backtest_index import BacktestIndex
from trader.storage.stop_switch import StopRequest, StopSwitch

PAGES = {
    "overview": "Overview",
    "market": "Market",
    "decisions": "Decisions",
    "trades": "Trades",
    "orders": "Orders",
    "ledger": "Ledger",
    "performance": "Performance",
    "model": "Model",
    "backtests": "Backtests",
    "log": "Log",
    "settings": "Settings",
}
KEYS = dict(zip(PAGES, "omdtrlpabgs", strict=True))
"""After `g`: the letter that goes to a page."""
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
        ours: whether a book is that of the account which is shown where several bots run.
    """

    data_dir: Path
    logs_dir: Path
    models_dir: Path
    now: Callable[[], datetime]
    host: str = "127.0.0.1"
    password: str = field(default="", repr=False)
    stream_limit: int = 64
    settings: tuple[SettingRow, ...] = ()
    ours: Callable[[str], bool] = lambda _: True


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
    reader = AccountReader(settings.data_dir, settings.now, settings.ours)
    answers = Answers(reader.version)
    _add_pages(app)
    _add_answers(app, reader, answers, settings)
    _add_files(app, reader, settings)
    _add_actions(app, reader, answers, settings)
    _add_stream(app, reader, settings.stream_limit)
    app.extensions["warm"] = reader.version
    app.register_error_handler(TraderError, _explained)
    app.register_error_handler(HTTPException, _declined)
    return app


def _explained(fault: TraderError) -> tuple[dict[str, Any], int]:
    status = {StillReading: 503, UsageError: 400, NotThere: 404}.get(type(fault), 409)
    return {"error": fault.as_dict()}, status


def _declined(fault: HTTPException) -> Any:
    """Machines get JSON, people a page with a line they can read."""
    if not request.path.startswith("/api/"):
        return fault
    status = fault.code or 500
    message = fault.description or fault.name
    error = {"category": "usage", "message": message, "hint": "", "retryable": status == 503}
    answer = make_response({"error": error}, status)
    if isinstance(fault, MethodNotAllowed) and fault.valid_methods:
        answer.headers["Allow"] = ", ".join(sorted(fault.valid_methods))
    return answer


def _add_pages(app: Flask) -> None:
    @app.get("/")
    def overview_page() -> str:
        return render_template("overview.html", pages=PAGES, keys=KEYS, page="overview")

    names = ", ".join(name for name in PAGES if name != "overview")

    @app.get(f"/<any({names}):page>")
    def other_page(page: str) -> str:
        return render_template(f"{page}.html", pages=PAGES, keys=KEYS, page=page)

    @app.get("/favicon.ico")
    def icon() -> Response:
        return send_from_directory(str(app.static_folder), "icon.svg")


def _add_answers(
    app: Flask, reader: AccountReader, answers: Answers, settings: DashboardSettings
) -> None:
    ask, index = reader.ask, BacktestIndex(settings.data_dir)
    page = ModelPage(settings.models_dir, settings.data_dir)
    questions: dict[str, Callable[[], dict[str, Any]]] = {
        "/healthz": lambda: {"status": "ok", **ask(_alive)},
        "/api/overview": lambda: ask(documents.overview),
        "/api/equity": lambda: ask(lambda r: documents.equity(r.view)),
        "/api/trades": lambda: ask(lambda r: documents.trades(r.view)),
        "/api/orders": lambda: _orders(reader),
        "/api/ledger": lambda: _ledger(reader),
        "/api/performance": lambda: ask(lambda r: documents.performance(r.view)),
        "/api/models": lambda: ask(page.answer),
        "/api/decisions": lambda: {"decisions": _decisions(reader)},
        "/api/decision": lambda: _decision(reader),
        "/api/candles": lambda: _candles(reader, settings.data_dir),
        "/api/indicators": charts.choices,
        "/api/backtests": lambda: backtests.listed(index),
        "/api/backtests/compare": lambda: backtests.compared(index, _words("id")),
        "/api/log": lambda: {"lines": _log(settings.logs_dir)},
        "/api/settings": lambda: {"settings": plain(settings.settings)},
        "/api/openapi.json": description,
    }
    for path, question in questions.items():
        app.add_url_rule(
            path, path.removeprefix("/"), partial(_answer, answers, question), methods=["GET"]
        )

    @app.get("/metrics")
    def metrics() -> Response:
        text = reader.ask(gauges)
        return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")


_OF_THE_MOMENT = frozenset({"/healthz", "/api/log", "/api/backtests", "/api/backtests/compare"})
"""What changes without the journal knowing of it is asked for each time."""


def _answer(answers: Answers, question: Callable[[], dict[str, Any]]) -> Any:
    if request.path in _OF_THE_MOMENT:
        return question()
    return answers.give(request.full_path, question)


def _add_files(app: Flask, reader: AccountReader, settings: DashboardSettings) -> None:
    index = BacktestIndex(settings.data_dir)

    @app.get("/backtests/<run_id>/report")
    def report(run_id: str) -> Response:
        page, policy = backtests.report(index, run_id)
        answer = Response(page, mimetype="text/html")
        answer.headers["Content-Security-Policy"] = policy
        return answer

    @app.get("/ledger/<any(csv, koinly):form>")
    def ledger_file(form: str) -> Response:
        write = koinly_text if form == "koinly" else csv_text
        answer = Response(write(reader.ask(documents.ledger_entries)), mimetype="text/csv")
        answer.headers["Content-Disposition"] = f"attachment; filename=ledger-{form}.csv"
        return answer


def _alive(reading: Reading) -> dict[str, bool]:
    return {"running": reading.running, "stopped": reading.view.stopped is not None}


def _decisions(reader: AccountReader) -> list[dict[str, Any]]:
    pair, needle = request.args.get("pair", ""), request.args.get("q", "")[:100]
    verdict = _one_of("verdict", ("", "approved", "refused", "held"))
    limit = _number("limit", 100, 1000)
    return reader.ask(lambda r: documents.decisions(r.view, pair, needle, limit, verdict))


def _decision(reader: AccountReader) -> dict[str, Any]:
    """One decision gate by gate: the newest whose candle had closed at the moment asked for."""
    pair, moment = Pair.parse(request.args.get("pair", "")), _moment("at")
    journal = reader.ask(lambda r: r.journal)
    found = None if journal is None else explain(journal, pair, moment)
    if found is None:
        raise NotThere(f"nothing was decided about {pair} until then")
    return documents.story(found)


def _orders(reader: AccountReader) -> dict[str, Any]:
    state = _one_of("state", ("", "open", "over"))
    return reader.ask(lambda r: documents.orders(r.view, state))


def _ledger(reader: AccountReader) -> dict[str, Any]:
    limit = _number("limit", 500, 5000)
    return reader.ask(lambda r: documents.account_ledger(r, limit))


def _candles(reader: AccountReader, data_dir: Path) -> dict[str, Any]:
    pair, names = Pair.parse(request.args.get("pair", "")), _words("indicators")
    return reader.ask(lambda r: charts.chart(r, pair, data_dir, names))


def _log(folder: Path) -> list[str]:
    level = _one_of("level", ("", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
    return tail(folder, _number("limit", 200, 2000), request.args.get("q", "")[:100], level)


def _words(name: str) -> list[str]:
    text = request.args.get(name, "")[:500]
    return list(dict.fromkeys(word for word in text.split(",") if word))


def _one_of(name: str, known: tuple[str, ...]) -> str:
    text = request.args.get(name, "")
    if text not in known:
        abort(400, f"{name}: expected {', '.join(filter(None, known))} or nothing")
    return text


def _moment(name: str) -> datetime | None:
    text = request.args.get(name, "")
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        abort(400, f"{name}: expected a time such as 2024-03-01T13:00Z")


def _number(name: str, usual: int, most: int) -> int:
    text = request.args.get(name, str(usual))
    if not text.isascii() or not text.isdigit():
        abort(400, f"{name}: expected a whole number from 1 to {most}")
    return max(1, min(int(text[:6]), most))


def _add_actions(
    app: Flask, reader: AccountReader, answers: Answers, settings: DashboardSettings
) -> None:
    switch = StopSwitch(settings.data_dir)

    def changed() -> None:
        reader.forget()
        answers.forget()

    @app.post("/api/stop")
    def stop() -> dict[str, Any]:
        wish = request.get_json(silent=True)
        wish = wish if isinstance(wish, dict) else {}
        reason = _one_line(wish.get("reason")) or "stopped from the dashboard"
        who = f"dashboard from {request.remote_addr}"
        switch.press(
            StopRequest(reason, wish.get("flatten") is True, who, settings.now().isoformat())
        )
        changed()
        return {"stopped": True, "running": reader.ask(lambda r: r.running)}

    @app.post("/api/resume")
    def resume() -> dict[str, Any]:
        lifted = switch.lift()
        changed()
        return {"resumed": lifted}


def _one_line(value: Any) -> str:
    """A person's words for journal and log: one line, printable, not too long."""
    text = value if isinstance(value, str) else ""
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(text.split())[:200]


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
