"""What the campaigns' commands share: one document on stdout, the talk on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any


def progress(text: str) -> None:
    """A line for the person who waits."""
    print(text, file=sys.stderr, flush=True)


class Pace:
    """Tells at most every few seconds how far a campaign is."""

    def __init__(self, every_s: float = 5.0) -> None:
        self._every = every_s
        self._began = self._told = time.monotonic()

    @property
    def seconds(self) -> float:
        """Real seconds since the beginning."""
        return time.monotonic() - self._began

    def tell(self, text: str) -> None:
        """Say it, unless something was said just now."""
        if time.monotonic() - self._told >= self._every:
            self._told = time.monotonic()
            progress(f"{self.seconds:7.0f} s  {text}")


def show(document: Any, *, as_json: bool) -> None:
    """The figures: as one JSON document, or line by line."""
    if as_json:
        print(json.dumps(document, default=str))
        return
    for key, value in document.items():
        if isinstance(value, Mapping):
            print(f"{key}:")
            for name, inner in value.items():
                print(f"  {name:<32}{inner}")
        else:
            print(f"{key:<24}{value}")


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which that share of the values lies, None without any."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
