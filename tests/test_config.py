"""Settings: what is read, what is refused, and how it is said."""

import contextlib
import dataclasses
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import KNOWN, SETTINGS, Config, example, load_config, markdown, parse_pairs
from trader.domain.candles import Timeframe
from trader.domain.errors import UsageError
from trader.domain.markets import Pair

ROOT = Path(__file__).resolve().parents[1]
PRIVATE_KEY = "c2VjcmV0LWtleS1vZi1rcmFrZW4="


def load(tmp_path: Path, text: str, **environ: str) -> Config:
    file = tmp_path / ".env"
    file.write_text(text, encoding="utf-8")
    return load_config(file, environ)


def fault(tmp_path: Path, text: str, **environ: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text, **environ)
    return caught.value.message


def test_without_any_setting_it_is_paper_trading_with_careful_limits():
    config = load_config(None, {})
    assert (config.mode, config.sandbox_feed, config.quote) == ("PAPER", "auto", "USD")
    assert config.pairs == (Pair("BTC", "USD"), Pair("ETH", "USD"), Pair("SOL", "USD"))
    assert config.timeframe == Timeframe.parse("1h")
    assert config.risk_per_trade == Decimal("0.04")
    assert config.max_drawdown == Decimal("0.20")
    assert not config.emergency_stop


def test_the_table_and_the_config_have_the_same_settings():
    fields = {f.name for f in dataclasses.fields(Config)} - {"sources"}
    assert fields == {setting.attribute for setting in SETTINGS}


def test_the_environment_wins_over_the_file_and_each_value_knows_its_source(tmp_path):
    config = load(tmp_path, "PAIRS=ETH/EUR\nTIMEFRAME=4h\n", TIMEFRAME="1d")
    assert (config.pairs, str(config.timeframe)) == ((Pair("ETH", "EUR"),), "1d")
    assert config.sources["PAIRS"] == ".env line 1"
    assert config.sources["TIMEFRAME"] == "the environment"
    assert config.sources["STRATEGY"] == "default"


def test_an_empty_value_means_the_default(tmp_path):
    assert load(tmp_path, "POLL_SECONDS=\n", TIMEFRAME="") == load_config(tmp_path / "none", {})


def test_relative_folders_are_taken_from_the_folder_of_the_file(tmp_path):
    config = load(tmp_path, "MODELS_DIR=/srv/models\n")
    assert (config.data_dir, config.models_dir) == (tmp_path / "data", Path("/srv/models"))


def test_a_value_out_of_range_names_line_range_and_what_to_write(tmp_path):
    assert fault(tmp_path, "# mine\n\nRISK_PER_TRADE=2.5\n") == (
        "RISK_PER_TRADE=2.5 in .env line 3: expected a fraction from 0 to 0.1. "
        "For 2.5 % write 0.025."
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("RISK_PER_TRADE=1%", "For 1 % write 0.01."),
        ("RISK_PER_TRADE=0,01", "Write the decimal with a point: 0.01."),
        ("RISK_PER_TRADE=nan", "expected a fraction from 0 to 0.1."),
        ("MAX_OPEN_POSITIONS=2.5", "expected a whole number from 1 to 100."),
        ("POLL_SECONDS=fast", "expected seconds from 0.05 to 3600."),
        ("SANDBOX=maybe", "expected true or false."),
        ("SANDBOX_FEED=karken", "Did you mean kraken?"),
        ("TIMEFRAME=7m", "Kraken has no candles of that length."),
        ("TIMEFRAME=soon", "expected one of 1m, 5m, 15m, 30m, 1h, 4h, 1d"),
        ("PAIRS=BTC", "expected base and quote"),
        ("PAIRS=BTC/USD,XBTUSD", "BTC/USD comes twice"),
        ("PAIRS=BTC/USD,ETH/EUR", "all must share one quote currency"),
        ("DASHBOARD_PORT=70000", "expected a port from 0 to 65535."),
        ("DASHBOARD_HOST=0.0.0.0", "set DASHBOARD_PASSWORD"),
        ("DASHBOARD_PASSWORD=short", "expected at least 8 characters."),
        ("KRAKEN_API_URL=api.kraken.com", "expected an address that begins with https://"),
        ("ALERT_EMAIL=me@example.org", "ALERT_EMAIL needs SMTP_URL"),
        ("ALERT_EMAIL=me", "expected a mail address"),
        ("SMTP_URL=mail.example.org", "expected smtp://"),
        ("WEBHOOK_URL=example.org/hook", "expected an address such as"),
        ("LOG_LEVEL=LOUD", "expected one of DEBUG, INFO, WARNING, ERROR."),
        ("SANDBOX=false", "needs KRAKEN_API_KEY and KRAKEN_API_SECRET"),
        ("KRAKEN_API_KEY=abc", "KRAKEN_API_SECRET is missing"),
        ("KRAKEN_API_KEY=your_key_here", "It looks like a placeholder"),
        ("KRAKEN_API_SECRET=no*base64", "Copy the private key whole"),
        ("STRATEGY=../evil", "expected a name, or module:Class"),
        ("just words", "expected NAME=value"),
        ("SANDBOX", "expected NAME=value"),
    ],
)
def test_a_wrong_line_is_refused_with_what_was_expected(tmp_path, line, said):
    assert said in fault(tmp_path, line + "\n")


def test_real_orders_are_not_sent_unencrypted_to_another_machine(tmp_path):
    text = f"SANDBOX=false\nKRAKEN_API_KEY=k\nKRAKEN_API_SECRET={PRIVATE_KEY}\n"
    assert load(tmp_path, text, KRAKEN_API_URL="http://127.0.0.1:8089").mode == "LIVE"
    assert "https://" in fault(tmp_path, text, KRAKEN_API_URL="http://broker.example:8089")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("RISK_PERTRADE", "RISK_PER_TRADE"), ("sandbox", "SANDBOX"), ("PAIR", "PAIRS")],
)
def test_an_unknown_name_in_the_file_gets_the_nearest_known_one(tmp_path, name, meant):
    said = fault(tmp_path, f"\n{name}=1\n")
    assert said == f"{name} in .env line 2: unknown setting. Did you mean {meant}?"


def test_a_name_like_nothing_we_know_is_still_an_error(tmp_path):
    assert fault(tmp_path, "QWERTY=1") == "QWERTY in .env line 1: unknown setting."


def test_the_same_setting_twice_is_an_error_and_not_a_guess(tmp_path):
    said = fault(tmp_path, "SANDBOX=true\nPAIRS=BTC/USD\nSANDBOX=false\n")
    assert said == "SANDBOX in .env line 3: already given in .env line 1."


def test_a_misspelt_name_in_the_environment_is_found(tmp_path):
    assert "Did you mean MAX_DRAWDOWN?" in fault(tmp_path, "", MAX_DRAWDOWM="0.1")


def test_names_of_other_programs_in_the_environment_are_left_alone(tmp_path):
    others = {"PATH": "/bin", "MAX_JOBS": "2", "LOG_DIR": "x", "DATA_DIRS": "y",
              "KRAKEN_HOME": "z", "SMTP_URLS": "q"}  # fmt: skip
    assert load(tmp_path, "", **others) == load(tmp_path, "")


def test_all_faults_come_at_once(tmp_path):
    said = fault(tmp_path, "RISK_PER_TRADE=5\nSANBOX=true\n", POLL_SECONDS="x")
    assert said.splitlines()[0] == "3 faults in the settings:"
    assert len(said.splitlines()) == 4


def test_no_secret_is_shown_in_an_error_or_a_repr(tmp_path):
    secret = "smtps://me:hunter22@mail.example.org:465"
    config = load(tmp_path, f"SMTP_URL={secret}\nKRAKEN_API_KEY=abcdef\n"
                            f"KRAKEN_API_SECRET={PRIVATE_KEY}\n")  # fmt: skip
    assert config.smtp_url == secret
    shown = repr(config) + f"{dataclasses.asdict(config)}"
    assert "hunter22" not in shown
    assert "abcdef" not in shown
    assert "hunter22" not in fault(tmp_path, "SMTP_URL=ftp://me:hunter22@x\n")


def test_comments_quotes_and_a_byte_order_mark_are_understood(tmp_path):
    text = '\ufeffPAIRS="BTC/USD, ETH/USD" # two\nexport SANDBOX_SEED=11\n'
    config = load(tmp_path, text)
    assert (len(config.pairs), config.sandbox_seed) == (2, 11)


def test_a_file_that_is_no_text_is_one_clear_line(tmp_path):
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8 text"):
        load_config(tmp_path / ".env", {})


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path):
    (tmp_path / ".env").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / ".env", {})


def test_the_example_file_is_made_from_the_table():
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == example()


def test_the_example_file_changes_nothing_and_neither_does_it_uncommented(tmp_path):
    uncommented = "\n".join(
        line[1:] if line.startswith("#") and line[1:].split("=")[0] in KNOWN else line
        for line in example().splitlines()
    )
    defaults = load(tmp_path, "")
    assert load(tmp_path, example()) == defaults
    assert load(tmp_path, uncommented) == defaults


def test_the_documentation_table_has_every_setting():
    assert all(f"| `{name}` |" in markdown() for name in KNOWN)


def test_the_example_can_be_printed():
    command = [sys.executable, "-m", "config", "--example"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == example()


def test_pairs_can_be_given_with_commas_or_spaces():
    assert parse_pairs("btc/usd eth-usd,") == (
        Pair("BTC", "USD"),
        Pair("ETH", "USD"),
    )


@given(st.dictionaries(st.sampled_from(sorted(KNOWN)), st.text(max_size=12), max_size=5))
def test_whatever_is_written_the_answer_is_a_config_or_a_usage_error(values):
    with contextlib.suppress(UsageError):
        assert isinstance(load_config(None, values), Config)
