"""Ctrl-C and SIGTERM while a program still gets ready: one sentence, and no traceback.

Nothing was sent by then, and files are written so that a kill harms none, so the process ends on
the spot: an exception would come out of whatever library is being loaded, in whatever form.
Nothing is imported here that takes time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

WORDS = "stopped while starting: nothing was sent, the account is as it was"
_FAILED = 1


class Early:
    """What the sentence begins with.

    Attributes:
        mode: PAPER or LIVE, as soon as the settings are read.
    """

    mode = ""


def end_in_words(_number: int, _frame: FrameType | None) -> None:
    """Say it and end; the handler of a signal."""
    text = f"{Early.mode}  {WORDS}" if Early.mode else WORDS
    file, told = 2, text
    if "--json" in sys.argv:
        error = {"category": "aborted", "message": text, "hint": "", "retryable": True}
        file, told = 1, json.dumps({"error": error}, indent=2)
    with suppress(OSError):
        os.write(file, f"{told}\n".encode())
    os._exit(_FAILED)


def listen_early() -> None:
    """From here on Ctrl-C ends in words, until `hand_over`."""
    signal.signal(signal.SIGINT, end_in_words)


def hand_over() -> None:
    """Whoever comes now knows how to end in order."""
    with suppress(ValueError):  # another thread than the first has no say in signals
        if signal.getsignal(signal.SIGINT) is end_in_words:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def getting_ready() -> Iterator[None]:
    """Meanwhile Ctrl-C and SIGTERM end in words."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, end_in_words) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
