"""What all commands share: failures, statuses, JSON."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import click
import pytest

from commands.common import guarded, parse_amount, parse_end, parse_time, print_json
from trader.domain.errors import ExitStatus, RuleError, Unreachable, UsageError
from trader.domain.markets import Pair
from trader.exchanges.markets import meant

ROOT = Path(__file__).resolve().parents[2]


def program(fault: BaseException | None = None, status: int | None = None) -> click.Command:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    @click.option("--number", type=int)
    @click.pass_context
    def command(context, as_json, number):
        if fault is not None:
            raise fault
        if status is not None:
            context.exit(status)

    return command


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (UsageError("wrong"), ExitStatus.MISUSED),
        (RuleError("exposure", "too much"), ExitStatus.REFUSED),
        (Unreachable("nobody there"), ExitStatus.UNREACHABLE),
        (ZeroDivisionError("oh"), ExitStatus.FAILED),
        (KeyboardInterrupt(), ExitStatus.FAILED),
        (click.ClickException("wrong"), ExitStatus.MISUSED),
    ],
)
def test_a_failure_is_one_line_and_its_status(capsys, fault, status):
    assert guarded(program(fault), []) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip().startswith("error: ")
    assert "Traceback" not in err


@pytest.mark.parametrize("fault", [UsageError("wrong", "do right"), ZeroDivisionError("oh")])
def test_with_json_a_failure_is_one_document(capsys, fault):
    guarded(program(fault), ["--json"])
    out, err = capsys.readouterr()
    assert set(json.loads(out)["error"]) == {"category", "message", "hint", "retryable"}
    assert err == ""


@pytest.mark.parametrize("fault", [UsageError("wrong"), ZeroDivisionError("oh")])
def test_debug_shows_where_it_happened(fault):
    with pytest.raises(type(fault)):
        guarded(program(fault), ["--debug"])


def test_an_option_that_is_none_points_to_the_help(capsys):
    assert guarded(program(), ["--nmber", "1"]) == ExitStatus.MISUSED
    assert "--help" in capsys.readouterr().err


@pytest.mark.parametrize("status", [0, 1, 3])
def test_the_status_that_a_command_chooses_is_the_status(status):
    assert guarded(program(status=status), []) == status


def test_json_has_no_nan_and_keeps_the_digits_of_decimals(capsys):
    print_json({"a": float("nan"), "b": Decimal("1.10"), "c": datetime(2024, 3, 1, tzinfo=UTC)})
    told = json.loads(capsys.readouterr().out)
    assert told == {"a": None, "b": "1.10", "c": "2024-03-01T00:00:00Z"}


def test_a_time_without_an_offset_is_utc():
    assert parse_time("2024-03-01") == datetime(2024, 3, 1, tzinfo=UTC)
    assert parse_time("2024-03-01T13:00+01:00") == datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2020-06-30", datetime(2020, 7, 1, tzinfo=UTC)),
        ("20200630", datetime(2020, 7, 1, tzinfo=UTC)),
        ("2020-06-30T00:00Z", datetime(2020, 6, 30, tzinfo=UTC)),
        ("2020-06-30T13:00", datetime(2020, 6, 30, 13, tzinfo=UTC)),
    ],
)
def test_an_end_without_a_time_means_the_whole_day_and_a_stated_moment_itself(text, end):
    assert parse_end(text) == end


def test_a_time_that_is_none_says_what_was_expected():
    with pytest.raises(UsageError, match="--at 'someday': expected a date such as 2024-03-01"):
        parse_time("someday", "--at")


@pytest.mark.parametrize(
    "text", ["", " ", "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "1969-12-31", "x" * 5000]
)
def test_a_time_outside_the_calendar_is_one_short_line(text):
    with pytest.raises(UsageError, match="expected a date") as fault:
        parse_time(text)
    assert len(fault.value.message) < 200


@pytest.mark.parametrize(
    "text",
    ["", "abc", "0", "-1", "nan", "inf", "1e400", "1e-400", "1e999999999", "\uff11", "9" * 5000],
)
def test_an_amount_that_money_cannot_be_reckoned_in_is_one_short_line(text):
    with pytest.raises(UsageError, match="expected a number") as fault:
        parse_amount("VOLUME", text)
    assert len(fault.value.message) < 200


def test_an_amount_keeps_its_digits():
    assert parse_amount("VOLUME", "0.010") == Decimal("0.01")
    assert parse_amount("VOLUME", "1e-18") * 10**18 == 1


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_failure():
    program = Path(__file__).resolve().parents[2] / "run_trader.py"
    words = f"set -o pipefail; {sys.executable} {program} features list | head -1"
    done = subprocess.run(
        ["bash", "-c", words], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize(
    "program", ["run_trader.py", "scripts/backtest.py", "scripts/monitor_dashboard.py"]
)
@pytest.mark.parametrize("words", [(), ("--json",)])
def test_without_its_packages_it_says_how_to_get_them(program, words):
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / program), *words],
        capture_output=True, text=True, check=False, cwd=ROOT, env={"PATH": os.defpath},
    )  # fmt: skip
    assert done.returncode == 2
    told = json.loads(done.stdout)["error"]["hint"] if words else done.stderr
    assert "./scripts/install.sh" in told
    assert len(done.stderr.splitlines()) == (0 if words else 2)


def test_a_package_that_is_missing_deeper_inside_is_no_bug(capsys):
    @click.command()
    def command():
        raise ModuleNotFoundError("No module named 'talib'", name="talib")

    assert guarded(command, []) == 2
    assert "the package 'talib' is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "near"),
    [("BTC/UDS", "BTC/USD"), ("BCT/USD", "BTC/USD"), ("BTC/US", "BTC/USD"), ("OWN/EUX", "OWN/EUR"),
     ("NEWCOIN/USD", None), ("BTC/USD", None)],
)  # fmt: skip
def test_a_pair_is_one_slip_away_from_the_one_that_was_meant(typed, near):
    assert meant(Pair.parse(typed), [Pair.parse("OWN/EUR")]) == (near and Pair.parse(near))
