"""Ctrl-C while a program gets ready: a sentence on the account, no traceback, status 1."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from commands.interrupts import end_in_words, getting_ready, hand_over, listen_early

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import os, signal
from commands.interrupts import Early, {how}
Early.mode = "PAPER"
{begin}
    os.kill(os.getpid(), signal.{name})
"""


@pytest.mark.parametrize("words", [(), ("--json",)])
@pytest.mark.parametrize(
    ("how", "begin", "name"),
    [("listen_early", "listen_early()\nif True:", "SIGINT"),
     ("getting_ready", "with getting_ready():", "SIGINT"),
     ("getting_ready", "with getting_ready():", "SIGTERM")],
)  # fmt: skip
def test_it_ends_with_one_sentence(how, begin, name, words):
    code = CODE.format(how=how, begin=begin, name=name)
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, cwd=ROOT
    )
    told = json.loads(done.stdout)["error"]["message"] if words else done.stderr
    assert (done.returncode, told.startswith("PAPER  stopped while starting")) == (1, True)
    assert "Traceback" not in done.stderr


def test_what_runs_afterwards_has_its_own_way_to_end():
    before = signal.getsignal(signal.SIGINT)
    try:
        listen_early()
        assert signal.getsignal(signal.SIGINT) is end_in_words
        hand_over()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with getting_ready():
            assert signal.getsignal(signal.SIGTERM) is end_in_words
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
