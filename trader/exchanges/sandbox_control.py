"""The control path of a served sandbox: modes of maintenance, faults and time, while it runs.

Not part of Kraken's interface: `/sandbox/…` beside `/0/…`, for tests of one's own on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from trader.domain.errors import ExchangeError, UsageError
from trader.exchanges.faults import FaultyWire, rules_of
from trader.exchanges.sandbox_server import JSON, MODES
from trader.exchanges.wire.forms import Refused

PREFIX = "/sandbox/"
PAIR_MODES = ("online", "cancel_only", "post_only", "limit_only", "reduce_only")
_FARTHEST = timedelta(days=366)


class ControlledWire:
    """A wire with a control path beside it.

    | request | what it does |
    |---|---|
    | `GET /sandbox/state` | mode, the market's time, faults struck so far |
    | `POST /sandbox/mode {"mode": "maintenance"}` | its mode; with `pair` of one market |
    | `POST /sandbox/faults {"seed": 1, "rules": […]}` | other faults from now on |
    | `POST /sandbox/advance {"seconds": 3600}` | let time pass, where it stands (`--speed max`) |

    Args:
        wire: answers everything else.
        move: lets the market's time pass up to a moment; None where it runs by itself.
    """

    def __init__(self, wire: FaultyWire, move: Callable[[datetime], None] | None = None) -> None:
        self._wire = wire
        self._move = move
        self._calls: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Any]] = {
            ("GET", "state"): lambda _: None,
            ("POST", "mode"): self._mode,
            ("POST", "faults"): self._faults,
            ("POST", "advance"): self._advance,
        }

    def handle(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        """Answer a request: 200 with the state, 400 with what is wrong with it."""
        if not path.startswith(PREFIX):
            return self._wire.handle(method, path, query, headers, body)
        call = self._calls.get((method, path.removeprefix(PREFIX)))
        if call is None:
            known = ", ".join(f"{verb} {PREFIX}{name}" for verb, name in self._calls)
            return _answer(404, {"error": f"no such control; there is {known}"})
        try:
            document = json.loads(body or b"{}")
            if not isinstance(document, dict):
                raise UsageError("expected a JSON object")
            call(document)
            return _answer(200, self._state())
        except Refused as fault:
            return _answer(400, {"error": fault.text})
        except (UsageError, ExchangeError) as fault:
            return _answer(400, {"error": f"{fault.message} {fault.hint}".strip()})
        except (ValueError, TypeError, KeyError, OverflowError) as fault:
            return _answer(400, {"error": f"{type(fault).__name__}: {fault}"})

    def _state(self) -> dict[str, Any]:
        wire = self._wire.wire
        return {
            "mode": wire.mode,
            "market_time": wire.exchange.server_time().isoformat(),
            "pairs": {str(p): m.rules.status for p, m in wire.exchange.markets.items()},
            "faults": self._wire.struck,
        }

    def _mode(self, document: Mapping[str, Any]) -> None:
        mode, wire = str(document["mode"]), self._wire.wire
        known = MODES if "pair" not in document else PAIR_MODES
        if mode not in known:
            raise UsageError(f"mode '{mode}'", f"There is {', '.join(known)}.")
        if "pair" in document:
            market = wire.public.market(str(document["pair"]))
            wire.exchange.change_rules(market.pair, status=mode)
        else:
            wire.set_mode(mode)

    def _faults(self, document: Mapping[str, Any]) -> None:
        self._wire.change(*rules_of(document))

    def _advance(self, document: Mapping[str, Any]) -> None:
        if self._move is None:
            raise UsageError("time runs by itself here", "Serve with --speed max.")
        now = self._wire.wire.exchange.server_time()
        if "to" in document:
            moment = datetime.fromisoformat(str(document["to"]))
            if moment.tzinfo is None:
                raise UsageError(f"to '{document['to']}': expected a time with its zone")
        else:
            moment = now + timedelta(seconds=float(document["seconds"]))
        if not now <= moment <= now + _FARTHEST:
            raise UsageError("time only goes forward, a year at most at once")
        self._move(moment)


def _answer(status: int, document: Mapping[str, Any]) -> tuple[int, str, bytes]:
    return status, JSON, json.dumps(document).encode()
