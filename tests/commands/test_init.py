"""`init`: the answers are in `.env`, for its owner alone, and nothing else has changed."""

import os
import pty
import stat
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from config import load_config
from tests.commands.running_bot import Bot

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bot(tmp_path):
    found = Bot(tmp_path)
    del found.environment["PAIRS"]
    return found


def settings(bot):
    return load_config(bot.folder / ".env", {})


def test_the_options_are_written_and_the_program_stays_on_paper(bot):
    done = bot.run(
        "init", "--pairs", "ethusd,BTC/USD", "--risk", "careful", "--alerts", "ntfy://x"
    )
    assert (done.returncode, done.stdout.startswith("PAPER")) == (0, True)
    config = settings(bot)
    assert [str(pair) for pair in config.pairs] == ["ETH/USD", "BTC/USD"]
    usual = load_config(None, {})
    assert config.risk_per_trade == usual.risk_per_trade / 2
    assert config.volatility_target == usual.volatility_target / 2
    assert (config.sandbox, str(config.webhook_url)) == (True, "ntfy://x")


def test_the_file_is_for_its_owner_alone(bot):
    bot.run("init")
    assert stat.S_IMODE((bot.folder / ".env").stat().st_mode) == 0o600


def test_what_was_there_stays_but_for_the_answers(bot):
    (bot.folder / ".env").write_text("# mine\nTIMEFRAME=4h\nPAIRS=ETH/EUR\n")
    bot.run("init", "--pairs", "BTC/EUR")
    assert (bot.folder / ".env").read_text() == "# mine\nTIMEFRAME=4h\nPAIRS=BTC/EUR\n"


def test_the_usual_risk_takes_back_another_temper(bot):
    bot.run("init", "--risk", "bold")
    assert settings(bot).max_daily_loss > load_config(None, {}).max_daily_loss
    bot.run("init", "--risk", "usual")
    assert settings(bot).max_daily_loss == load_config(None, {}).max_daily_loss


@pytest.mark.parametrize(
    ("words", "text"),
    [(("--pairs", "BTC/USD,ETH/EUR"), "share one quote currency"),
     (("--alerts", "foo"), "WEBHOOK_URL"), (("--risk", "wild"), "wild")],
)  # fmt: skip
def test_a_wrong_answer_is_one_clear_error_and_changes_nothing(bot, words, text):
    done = bot.run("init", *words)
    assert (done.returncode, text in done.stderr) == (2, True)
    assert not (bot.folder / ".env").exists()
    assert not (bot.folder / ".env.new").exists()


def test_with_a_terminal_it_asks_and_asks_again(tmp_path):
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_trader.py"), "init"], cwd=tmp_path, stdin=terminal,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PATH": os.environ["PATH"], "NO_COLOR": "1"},
    )  # fmt: skip
    os.write(control, b"FOO\nSOL/USD\ncareful\n\n")
    out, err = process.communicate(timeout=30)
    os.close(control)
    os.close(terminal)
    assert process.returncode == 0, err
    assert "expected base and quote" in err
    assert "How much may be lost?" in err
    assert [str(p) for p in load_config(tmp_path / ".env", {}).pairs] == ["SOL/USD"]
    assert "Next: python run_trader.py doctor" in out


def test_a_secret_may_lie_in_the_keyring(monkeypatch):
    keyring = pytest.importorskip("keyring")
    from keyring.backend import KeyringBackend

    class Drawer(KeyringBackend):
        priority = Decimal(1)

        def get_password(self, service, username):
            wanted = ("kraken-ai-trader", "WEBHOOK_URL")
            return "ntfy://from-the-keyring" if (service, username) == wanted else None

        def set_password(self, service, username, password):
            raise AssertionError

        def delete_password(self, service, username):
            raise AssertionError

    before = keyring.get_keyring()
    keyring.set_keyring(Drawer())
    try:
        config = load_config(None, {"WEBHOOK_URL": "keyring"})
        assert str(config.webhook_url) == "ntfy://from-the-keyring"
        with pytest.raises(Exception, match="keyring set kraken-ai-trader SMTP_URL"):
            load_config(None, {"SMTP_URL": "keyring"})
    finally:
        keyring.set_keyring(before)
