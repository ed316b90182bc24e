"""Where the recorded market data lies, for the tests that want it."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared"


def shared(path: str) -> Path:
    """The file under the shared folder; skips the test where there is none."""
    found = Path(os.environ.get("SHARED_DIR", _BESIDE)) / path
    if not found.exists():
        pytest.skip(f"recorded market data not here: {path} (set SHARED_DIR)")
    return found
