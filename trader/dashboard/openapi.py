"""What the dashboard answers to machines, as an OpenAPI 3.1 description."""

from __future__ import annotations

from typing import Any

from trader import __version__

_OBJECT = {"type": "object"}
_LIMIT = ("limit", "integer", "how many at most")
_NEEDLE = ("q", "string", "only those that contain this text")
_PAIR = ("pair", "string", "such as BTC/USD")
_READS: dict[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {
    "/healthz": ("whether the dashboard answers and the loop is alive", ()),
    "/api/overview": ("health, worth, positions, orders, last decisions, limits, models", ()),
    "/api/equity": ("equity after each candle, and the same money simply held", ()),
    "/api/decisions": ("what was decided for each candle, newest first", (_PAIR, _NEEDLE, _LIMIT)),
    "/api/trades": ("closed trades and orders, newest first", ()),
    "/api/performance": ("figures of the account; profit by day, week and month", ()),
    "/api/models": ("trained models with their scores and licences, newest first", ()),
    "/api/candles": ("candles of a pair with fills and the lines of the position", (_PAIR,)),
    "/api/log": ("the newest lines of the day's log", (_NEEDLE, _LIMIT)),
    "/api/settings": ("settings in effect, secrets masked", ()),
}
_ACTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "/api/stop": (
        "stop trading until resumed",
        {
            "reason": {"type": "string", "maxLength": 200},
            "flatten": {"type": "boolean", "description": "sell every position too"},
        },
    ),
    "/api/resume": ("allow trading again", {}),
}


def description() -> dict[str, Any]:
    """The OpenAPI document."""
    paths: dict[str, Any] = {
        path: {"get": _read(told, fields)} for path, (told, fields) in _READS.items()
    }
    paths |= {path: {"post": _action(told, body)} for path, (told, body) in _ACTIONS.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "AI crypto trader dashboard", "version": __version__},
        "paths": paths,
    }


def _read(told: str, fields: tuple[tuple[str, str, str], ...]) -> dict[str, Any]:
    return {
        "summary": told,
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": kind}, "description": meaning}
            for name, kind, meaning in fields
        ],
        "responses": {
            "200": {
                "description": told,
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "400": {"description": "an argument is none"},
            "401": {"description": "a password is set and nobody is logged in"},
            "409": {"description": "what was asked for is not there; `error` says what to do"},
        },
    }


def _action(told: str, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": told,
        "parameters": [
            {
                "name": "X-CSRF-Token",
                "in": "header",
                "required": True,
                "schema": {"type": "string"},
                "description": "the page's `csrf` value",
            }
        ],
        "requestBody": {
            "content": {"application/json": {"schema": {"type": "object", "properties": body}}}
        },
        "responses": {
            "200": {"description": told},
            "401": {"description": "a password is set and nobody is logged in"},
            "403": {"description": "the token is missing or not ours"},
        },
    }
