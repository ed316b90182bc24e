"""The emergency stop as a file that any process can set and the loop looks at.

It needs no journal, no database and no free disk beyond a hundred bytes; while the file is
there, nothing is traded. A file that cannot be read counts as a stop: better still than sorry.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Who wants trading stopped, since when and why.

    Attributes:
        at: ISO 8601 UTC.
        flatten: close all positions too.
    """

    reason: str
    flatten: bool
    who: str
    at: str


class StopSwitch:
    """`STOP` in the data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "STOP"

    def press(self, request: StopRequest) -> None:
        """Stop trading; a request to flatten is never weakened by a later one that does not.

        Raises:
            OSError: if not even this file can be written.
        """
        before = self.read()
        if before is not None and before.flatten and not request.flatten:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".STOP-{os.getpid()}")
        try:
            draft.write_text(json.dumps(asdict(request)), encoding="utf-8")
            draft.replace(self.path)
        except OSError:
            # A full disk still takes an empty file, and an empty file stops too.
            draft.unlink(missing_ok=True)
            self.path.touch()

    def read(self) -> StopRequest | None:
        """The request in force, None if trading is free."""
        try:
            body = json.loads(self.path.read_text(encoding="utf-8"))
            return StopRequest(
                str(body["reason"]), bool(body["flatten"]), str(body["who"]), str(body["at"])
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return StopRequest("the stop file is there but cannot be read", False, "file", "")

    def lift(self) -> bool:
        """Allow trading again; False if it was not stopped."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True
