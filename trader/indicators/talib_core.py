"""The C functions and streams of TA-Lib, without the second that its pandas import costs.

TA-Lib looks for pandas and polars only to accept their series. Arrays are all we hand it, so
those imports are barred for the moment of its own import when nobody has loaded them yet.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def _without(*packages: str) -> Any:
    absent = [name for name in packages if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        importlib.import_module("talib")
    finally:
        for name in absent:
            del sys.modules[name]
    return importlib.import_module("talib._ta_lib")


core: Any = _without("pandas", "polars")
InsufficientHistory: type[Exception] = core.InsufficientHistory
VERSION: str = core.__ta_version__.decode().split(" ")[0]
