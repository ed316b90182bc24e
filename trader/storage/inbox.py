"""Requests of other processes to the running loop: one file each, answered by another file.

The loop alone sends orders, so a manual order while it runs is handed to it here. A request is
taken by renaming it, so that it is either taken or withdrawn, never both; one that has waited too
long is not carried out any more.
"""

from __future__ import annotations

import json
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from trader.domain.errors import ExitStatus, OutcomeUnknown

PATIENCE_S = 20.0


class Inbox:
    """The folder in which requests to one account's loop lie.

    Args:
        data_dir: the data folder.
        book: the account's book.
    """

    def __init__(self, data_dir: Path, book: str) -> None:
        self._folder = data_dir / "inbox" / book
        self._owed: dict[Path, dict[str, Any]] = {}

    def ask(
        self, request: dict[str, Any], patience_s: float = PATIENCE_S
    ) -> dict[str, Any] | None:
        """Put a request in and wait for the answer; None if nobody took it in time.

        A request that was taken is waited for three times as long, because it may be at work.

        Raises:
            OutcomeUnknown: if it was taken and never answered; it may have been carried out.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        asked = self._folder / f"{name}.ask"
        answer = self._folder / f"{name}.answer"
        _write(asked, {**request, "expires_at": time.time() + patience_s})
        ends, taken = time.monotonic() + patience_s, False
        while not answer.exists():
            time.sleep(0.05)
            if time.monotonic() < ends:
                continue
            if taken:
                raise OutcomeUnknown(
                    "the running bot took the request and has not answered: it may have been "
                    "carried out",
                    "Look at: python run_trader.py status, before you ask again.",
                )
            try:
                asked.unlink()
                return None
            except FileNotFoundError:
                ends, taken = time.monotonic() + 2 * patience_s, True
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        answer.unlink(missing_ok=True)
        return found

    def serve(self, handle: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
        """Answer what waits, oldest first; how many requests were carried out.

        What is no request is answered with an error and dropped. An answer that cannot be written,
        as on a full disk, is written at a later call: it may be that of an order that was sent.
        """
        count = 0
        self._answer()
        for taken, request in self._take():
            self._owed[taken] = _NO_REQUEST if request is None else handle(request)
            count += request is not None
            self._answer()
        return count

    def clear(self) -> None:
        """Forget what an earlier process left behind: nothing of it may be carried out now."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                _drop(path)

    def _answer(self) -> None:
        for taken, body in list(self._owed.items()):
            try:
                _write(taken.with_suffix(".answer"), body)
            except OSError:
                continue
            _drop(taken)
            del self._owed[taken]

    def _take(self) -> Iterator[tuple[Path, dict[str, Any] | None]]:
        """What waits and is not too old; None for what is no request."""
        if not self._folder.is_dir():
            return
        for asked in sorted(self._folder.glob("*.ask")):
            taken = asked.with_suffix(".taken")
            try:
                asked.replace(taken)
                request = _checked(json.loads(taken.read_text(encoding="utf-8")))
            except OSError:
                _drop(taken)
                continue
            except (ValueError, RecursionError):
                request = None
            if request is not None and request["expires_at"] < time.time():
                _drop(taken)
                continue
            yield taken, request


_NO_REQUEST = {
    "error": {
        "category": "usage", "message": "what lay in the inbox is no request", "hint": "",
        "retryable": False,
    },
    "exit": int(ExitStatus.MISUSED),
}  # fmt: skip


def _checked(found: Any) -> dict[str, Any] | None:
    """A request that says until when it holds; None for anything else."""
    until = found.get("expires_at") if isinstance(found, dict) else None
    known = isinstance(until, int | float) and math.isfinite(until)
    return found if known else None


def _drop(path: Path) -> None:
    """Away with it; what cannot be removed ends nothing."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _write(path: Path, body: dict[str, Any]) -> None:
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        draft.write_text(json.dumps(body, default=str), encoding="utf-8")
        draft.replace(path)
    except OSError:
        _drop(draft)
        raise
