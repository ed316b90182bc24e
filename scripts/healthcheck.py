"""Is the container well? For the health check of the image; needs nothing but Python.

Without words: the loop gave a sign of life within the last two minutes. `--dashboard PORT`: it
answers, even if only with the question for the password.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

SILENCE_S = 120.0
_SERVER_FAULT = 500


def loop_is_well(data_dir: Path, now: datetime) -> bool:
    """Whether a heartbeat in the data folder is young enough."""
    beats = [data_dir / "state.json", *(data_dir / "state").glob("*.json")]
    return any(_is_young(beat, now) for beat in beats)


def _is_young(beat: Path, now: datetime) -> bool:
    try:
        state = json.loads(beat.read_text(encoding="utf-8"))
        age = (now - datetime.fromisoformat(state["beat_at"])).total_seconds()
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return age < SILENCE_S


def dashboard_is_well(port: int) -> bool:
    """Whether something that is no server fault comes back."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < _SERVER_FAULT
    except OSError:
        return False
    finally:
        connection.close()


def main(words: list[str]) -> int:
    """0 if well, 1 if not."""
    if words[:1] == ["--dashboard"]:
        well = dashboard_is_well(int(words[1]))
    else:
        well = loop_is_well(Path(os.environ.get("DATA_DIR", "data")), datetime.now(UTC))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
