"""Requests of other processes to the running loop: one file each, answered by another file.

The loop alone sends orders, so a manual order while it runs is handed to it here. A request is
taken by renaming it, so that it is either taken or withdrawn, never both; one that has waited too
long is not carried out any more.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PATIENCE_S = 20.0


class Inbox:
    """The folder in which requests to one account's loop lie.

    Args:
        data_dir: the data folder.
        book: the account's book.
    """

    def __init__(self, data_dir: Path, book: str) -> None:
        self._folder = data_dir / "inbox" / book

    def ask(
        self, request: dict[str, Any], patience_s: float = PATIENCE_S
    ) -> dict[str, Any] | None:
        """Put a request in and wait for the answer; None if nobody took it in time.

        A request that was taken is waited for three times as long, because it may be at work.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        asked = self._folder / f"{name}.ask"
        answer = self._folder / f"{name}.answer"
        _write(asked, {**request, "expires_at": time.time() + patience_s})
        ends = time.monotonic() + patience_s
        while not answer.exists():
            time.sleep(0.05)
            if time.monotonic() < ends:
                continue
            try:
                asked.unlink()
                return None
            except FileNotFoundError:
                ends = time.monotonic() + 2 * patience_s
                if not asked.with_suffix(".taken").exists() and not answer.exists():
                    return None
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        answer.unlink(missing_ok=True)
        return found

    def serve(self, handle: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
        """Answer what waits, oldest first; how many requests were answered."""
        count = 0
        for taken, request in self._take():
            _write(taken.with_suffix(".answer"), handle(request))
            taken.unlink(missing_ok=True)
            count += 1
        return count

    def clear(self) -> None:
        """Forget what an earlier process left behind: nothing of it may be carried out now."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)

    def _take(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        if not self._folder.is_dir():
            return
        for asked in sorted(self._folder.glob("*.ask")):
            taken = asked.with_suffix(".taken")
            try:
                asked.replace(taken)
                request = json.loads(taken.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                taken.unlink(missing_ok=True)
                continue
            if float(request.get("expires_at", 0)) < time.time():
                taken.unlink(missing_ok=True)
                continue
            yield taken, request


def _write(path: Path, body: dict[str, Any]) -> None:
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    draft.write_text(json.dumps(body, default=str), encoding="utf-8")
    draft.replace(path)
