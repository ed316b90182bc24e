"""A handler that answers Kraken's calls from a script, for tests of the client alone."""

import json
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from tests.shared_data import shared

Answer = dict[str, Any] | bytes | tuple[int, bytes] | Exception


def recorded(name: str) -> dict[str, Any]:
    """One recorded answer."""
    found: dict[str, Any] = json.loads(shared(f"data/kraken-responses/{name}").read_text())
    return found


def ok(result: Any) -> dict[str, Any]:
    return {"error": [], "result": result}


def refused(*errors: str) -> dict[str, Any]:
    return {"error": list(errors)}


class Scripted:
    """Gives each method its next answer (the last one is repeated) and keeps the requests."""

    def __init__(self, **answers: Answer | list[Answer] | Callable[[dict[str, str]], Answer]):
        self.answers: dict[str, Any] = {
            "Assets": recorded("public/Assets.json"),
            "AssetPairs": recorded("api-AssetPairs-main-2026-01-12.json"),
            "Time": refused("EService:Unavailable"),  # this machine's clock counts then
            **answers,
        }
        self.requests: list[tuple[str, dict[str, str]]] = []

    def calls(self, method: str) -> list[dict[str, str]]:
        return [form for name, form in self.requests if name == method]

    def handle(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        name = path.rsplit("/", 1)[1]
        form = dict(urllib.parse.parse_qsl(query or body.decode(), keep_blank_values=True))
        self.requests.append((name, form))
        answer = self.answers[name]
        if callable(answer):
            answer = answer(form)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, tuple):
            return answer[0], "text/html", answer[1]
        if isinstance(answer, bytes):
            return 200, "application/json", answer
        return 200, "application/json", json.dumps(answer).encode()
