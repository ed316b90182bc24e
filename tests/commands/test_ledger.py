import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.commands.told import EVENTS, write
from trader.domain.events import ROUNDING, CashAdjusted
from trader.reports.ledger import ledger, totals


def test_every_line_is_exact_and_the_balance_runs_along(data, run):
    write(data)
    status, out, err = run("ledger")
    assert status == 0
    assert err.startswith("PAPER  book paper-simulated-7, 3 lines; simulated")
    deposit, first, second = csv.DictReader(io.StringIO(out))
    assert (deposit["kind"], deposit["amount"], deposit["reason"]) == (
        "transfer", "10000", "first deposit"
    )  # fmt: skip
    assert (first["trade_id"], first["quantity"], first["cost_quote"], first["fee_quote"]) == (
        "T1", "0.01", "620.100", "4.9608"
    )  # fmt: skip
    # 10000 − 620.1 − 4.9608 − 620.2 − 4.9616
    assert second["balance_quote"] == "8749.7776"
    assert second["time"] == "2024-03-01T02:00:00Z"


def test_the_totals_agree_with_the_lines(data, answer):
    write(data)
    found = answer("ledger", "--format", "json")
    assert found["totals"] == {
        "transfers": "10000", "rounding": "0", "bought": "1240.300", "sold": "0",
        "fees": "9.9224", "balance": "8749.7776", "held": {"BTC": "0.02"}, "quote": "USD",
    }  # fmt: skip
    assert Decimal(found["entries"][-1]["balance_quote"]) == Decimal(found["totals"]["balance"])
    assert answer("ledger", "--json") == found


def test_rounding_by_the_exchange_is_no_money_paid_in():
    at = datetime(2024, 3, 1, tzinfo=UTC)
    lines = ledger("USD", [
        CashAdjusted(at, "USD", Decimal(100), "first deposit"),
        CashAdjusted(at, "USD", Decimal("-0.00003"), ROUNDING),
    ])  # fmt: skip
    found = totals("USD", lines)
    assert (found["transfers"], found["rounding"], found["balance"]) == (
        "100", "-0.00003", "99.99997"
    )  # fmt: skip


def test_koinly_gets_what_was_sent_and_what_was_received(data, run):
    write(data)
    deposit, first, _ = csv.DictReader(io.StringIO(run("ledger", "--format", "koinly")[1]))
    assert (deposit["Received Amount"], deposit["Received Currency"]) == ("10000", "USD")
    assert (first["Date"], first["Sent Amount"], first["Sent Currency"]) == (
        "2024-03-01 02:00:00 UTC", "620.100", "USD"
    )  # fmt: skip
    assert (first["Received Amount"], first["Received Currency"]) == ("0.01", "BTC")
    assert (first["Fee Amount"], first["Fee Currency"], first["TxHash"]) == ("4.9608", "USD", "T1")


def test_a_fill_told_of_twice_is_one_line(data, answer):
    write(data, [*EVENTS, EVENTS[11]])
    assert len(answer("ledger", "--json")["entries"]) == 3


def test_the_file_holds_what_the_screen_would_show(data, run, tmp_path):
    write(data)
    shown = run("ledger")[1]
    status, out, err = run("ledger", "--out", tmp_path / "ledger.csv")
    assert (status, out) == (0, "")
    assert "written to" in err
    assert (tmp_path / "ledger.csv").read_text() == shown


def test_a_file_that_cannot_be_written_is_misuse(data, run, tmp_path):
    write(data)
    status, _, err = run("ledger", "--out", tmp_path / "nowhere" / "ledger.csv")
    assert (status, "cannot be written" in err) == (2, True)


@pytest.mark.parametrize("form", ["csv", "koinly"])
def test_before_the_first_start_the_ledger_is_its_header(run, form):
    status, out, err = run("ledger", "--format", form)
    assert (status, len(out.splitlines())) == (0, 1)
    assert "run_trader.py start" in err


def test_before_the_first_start_the_json_ledger_is_empty_and_valid(run):
    status, out, _ = run("ledger", "--format", "json")
    assert (status, json.loads(out)["entries"]) == (0, [])


def test_an_unknown_format_is_misuse(run):
    assert run("ledger", "--format", "xml")[0] == 2


def test_lots_tell_what_was_paid_for_what_is_held(data, run):
    write(data)
    status, out, _ = run("ledger", "--lots")
    assert status == 0
    first, second = csv.DictReader(io.StringIO(out))
    assert (first["asset"], first["quantity"], first["cost_quote"]) == ("BTC", "0.01", "625.0608")
    assert second["disposed_at"] == ""


def test_with_json_a_file_is_told_of_in_one_document(data, answer, tmp_path):
    write(data)
    file = tmp_path / "ledger.json"
    told = answer("ledger", "--json", "--out", file)
    assert (told["written"], told["rows"]) == (
        str(file),
        len(json.loads(file.read_text())["entries"]),
    )
