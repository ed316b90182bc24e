"""What the dashboard answers to machines, as an OpenAPI 3.1 description."""

from __future__ import annotations

from typing import Any

from trader import __version__
from trader.dashboard.charts import MOST_INDICATORS
from trader.indicators import INDICATORS

_Schema = dict[str, Any]
_TEXT: _Schema = {"type": "string", "maxLength": 100}
_FLAG: _Schema = {"type": "boolean"}
_OPTIONAL_TEXT: _Schema = {"type": ["string", "null"]}
_LISTS: _Schema = {"type": "array", "items": {"type": "object"}}


def _parameter(name: str, schema: _Schema, meaning: str, *, required: bool = False) -> _Schema:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "schema": schema,
        "description": meaning,
    }


def _whole_number(most: int) -> _Schema:
    return {"type": "integer", "minimum": 1, "maximum": most}


def _answer(**fields: _Schema) -> _Schema:
    return {"type": "object", "properties": fields, "required": list(fields)}


_NEEDLE = _parameter("q", _TEXT, "only those that contain each of these words")
_PAIR_NAME: _Schema = {"type": "string", "pattern": "^[A-Z]{2,8}/[A-Z]{2,6}$"}
_PAIR = _parameter("pair", _TEXT, "such as BTC/USD")
_THE_PAIR = _parameter("pair", _PAIR_NAME, "such as BTC/USD", required=True)
_NAMES: _Schema = {
    "type": "array",
    "items": {"enum": sorted(INDICATORS)},
    "maxItems": MOST_INDICATORS,
}

# path → what it answers, its parameters, what is always in the answer
_READS: dict[str, tuple[str, tuple[_Schema, ...], _Schema]] = {
    "/healthz": (
        "whether the dashboard answers and the loop is alive", (),
        _answer(status={"const": "ok"}, running=_FLAG, stopped=_FLAG),
    ),
    "/api/overview": (
        "health, worth, positions, orders, last decisions, limits, models", (),
        _answer(mode=_OPTIONAL_TEXT, running=_FLAG, health=_LISTS, positions=_LISTS,
                open_orders=_LISTS, decisions=_LISTS, limits=_LISTS, money={"type": "object"}),
    ),
    "/api/equity": (
        "equity after each candle, and the same money simply held", (),
        _answer(equity=_LISTS, hold=_LISTS),
    ),
    "/api/decisions": (
        "what was decided for each candle, newest first",
        (_PAIR, _NEEDLE, _parameter("limit", _whole_number(1000), "how many at most"),
         _parameter("verdict", {"enum": ["approved", "refused", "held"]}, "only these")),
        _answer(decisions=_LISTS),
    ),
    "/api/decision": (
        "one decision, gate by gate",
        (_THE_PAIR,
         _parameter("at", {"type": "string", "format": "date-time"}, "a moment")),
        _answer(pair=_TEXT, verdict=_TEXT, outcome={"type": "string"}, gates=_LISTS),
    ),
    "/api/trades": (
        "closed trades with what they cost, newest first", (),
        _answer(trades=_LISTS, costs={"type": "object"}),
    ),
    "/api/orders": (
        "orders, newest first", (_parameter("state", {"enum": ["open", "over"]}, "only these"),),
        _answer(orders=_LISTS),
    ),
    "/api/ledger": (
        "every fill, fee and transfer, newest first, and the sums that must agree",
        (_parameter("limit", _whole_number(5000), "how many lines at most"),),
        _answer(entries=_LISTS, totals={"type": "object"}, lines={"type": "integer"}),
    ),
    "/api/performance": (
        "figures of the account; profit by day, week and month", (),
        _answer(metrics={"type": ["object", "null"]}, periods={"type": "object"}),
    ),
    "/api/models": (
        "models with scores, licences and how they do now, newest first", (),
        _answer(models=_LISTS, in_use={"type": "object"}, promotions=_LISTS),
    ),
    "/api/candles": (
        "candles of a pair with indicators, patterns, fills, stops and the model's belief",
        (_THE_PAIR,
         {**_parameter("indicators", _NAMES, "names with commas"),
                         "style": "form", "explode": False}),
        _answer(candles=_LISTS, indicators=_LISTS, patterns=_LISTS, fills=_LISTS, stops=_LISTS,
                beliefs=_LISTS),
    ),
    "/api/indicators": (
        "the indicators a chart can show", (),
        _answer(indicators=_LISTS, most={"type": "integer"}),
    ),
    "/api/backtests": ("backtests with their figures, newest first", (), _answer(runs=_LISTS)),
    "/api/backtests/compare": (
        "some backtests side by side with their curves",
        (_parameter("id", {"type": "string", "maxLength": 100}, "ids with commas"),),
        _answer(runs=_LISTS),
    ),
    "/api/log": (
        "the newest lines of the day's log",
        (_parameter("q", _TEXT, "only lines that contain this text"),
         _parameter("limit", _whole_number(2000), "how many at most"),
         _parameter("level", {"enum": ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]},
                    "only lines of this level")),
        _answer(lines={"type": "array", "items": {"type": "string"}}),
    ),
    "/api/settings": ("settings in effect, secrets masked", (), _answer(settings=_LISTS)),
    "/api/openapi.json": ("this description", (), {"type": "object"}),
}  # fmt: skip
_ACTIONS: dict[str, tuple[str, _Schema, _Schema]] = {
    "/api/stop": (
        "stop trading until resumed; journalled with who, when and why",
        {
            "reason": {"type": "string", "maxLength": 200},
            "flatten": {"type": "boolean", "description": "sell every position too"},
        },
        _answer(stopped=_FLAG, running=_FLAG),
    ),
    "/api/resume": ("allow trading again", {}, _answer(resumed=_FLAG)),
}
_ERROR: _Schema = {
    "application/json": {
        "schema": _answer(error=_answer(category={"type": "string"}, message={"type": "string"}))
    }
}


def description() -> dict[str, Any]:
    """The OpenAPI document."""
    paths: dict[str, Any] = {path: {"get": _read(*entry)} for path, entry in _READS.items()}
    paths |= {path: {"post": _action(*entry)} for path, entry in _ACTIONS.items()}
    paths["/metrics"] = {"get": _file("the state for Prometheus", "text/plain")}
    return {
        "openapi": "3.1.0",
        "info": {"title": "AI crypto trader dashboard", "version": __version__},
        "paths": paths,
    }


def _read(told: str, parameters: tuple[_Schema, ...], schema: _Schema) -> dict[str, Any]:
    return {
        "summary": told,
        "parameters": list(parameters),
        "responses": {
            "200": {"description": told, "content": {"application/json": {"schema": schema}}},
            **_refusals("400", "401", "404", "409", "503"),
        },
    }


def _file(told: str, kind: str) -> dict[str, Any]:
    return {
        "summary": told,
        "responses": {
            "200": {"description": told, "content": {kind: {"schema": {"type": "string"}}}},
            **_refusals("400", "401", "503"),
        },
    }


_MEANINGS = {
    "400": "an argument is none, or the host name is not served here",
    "401": "a password is set and nobody is logged in",
    "403": "the token is missing or not ours",
    "404": "what was asked for is not there",
    "409": "it cannot be answered as things are; `error` says what to do",
    "413": "the body is too long",
    "503": "a long journal is being read; ask again in a moment",
}


def _refusals(*statuses: str) -> dict[str, Any]:
    return {status: {"description": _MEANINGS[status], "content": _ERROR} for status in statuses}


def _action(told: str, body: _Schema, schema: _Schema) -> dict[str, Any]:
    token = {
        "name": "X-CSRF-Token",
        "in": "header",
        "required": True,
        "schema": {"type": "string"},
        "description": "the page's `csrf` value",
    }
    return {
        "summary": told,
        "parameters": [token],
        "requestBody": {
            "content": {"application/json": {"schema": {"type": "object", "properties": body}}}
        },
        "responses": {
            "200": {"description": told, "content": {"application/json": {"schema": schema}}},
            **_refusals("400", "401", "403", "413", "503"),
        },
    }
