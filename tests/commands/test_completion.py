"""The Tab key: commands by name at once, options of the command that is being written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.running_bot import Bot

ROOT = Path(__file__).resolve().parents[2]
CALL = "import sys; sys.argv = ['kraken-ai-trader']; import run_trader; run_trader.run()"


def completed(*words):
    """What bash would offer for the last of the words."""
    done = subprocess.run(
        [sys.executable, "-c", CALL], capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {
            "_KRAKEN_AI_TRADER_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["kraken-ai-trader", *words]), "COMP_CWORD": str(len(words)),
        },
    )  # fmt: skip
    return [line.split(",")[1] for line in done.stdout.splitlines()]


def test_the_beginning_of_a_command_is_completed():
    assert completed("sta") == ["start", "status"]


def test_the_options_of_a_command_are_completed():
    assert "--flatten" in completed("stop", "--fl")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(tmp_path, shell):
    done = Bot(tmp_path).run("completion", shell)
    assert (done.returncode, "_KRAKEN_AI_TRADER_COMPLETE" in done.stdout) == (0, True)


def test_it_says_which_calls_are_completed(tmp_path):
    done = Bot(tmp_path, PATH="/nowhere").run("completion", "bash")
    assert "./scripts/install.sh are not completed" in done.stderr
    told = json.loads(Bot(tmp_path).run("completion", "bash", "--json").stdout)
    assert (told["shell"], told["script"] + "\n") == ("bash", done.stdout)
