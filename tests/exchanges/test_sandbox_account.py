"""The sandbox's account survives the end of the process and may be shared by several."""

import os
import signal
import subprocess
import sys
import textwrap
from decimal import Decimal
from pathlib import Path

import pytest

from tests.drawn_market import BTC, FREE, START, at, drawn, order
from trader.clocks import ManualClock
from trader.domain.errors import InsufficientFunds, JournalError
from trader.exchanges.account_store import decode, encode, stored_now
from trader.exchanges.feeds import ReplayFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.simulation.orders import OrderRecord

ROWS = [(100, 130, 70, 110, 20), (110, 120, 60, 90, 20), (90, 150, 80, 140, 20)]


def opened(directory: Path, hour: float = 0) -> tuple[SandboxExchange, ManualClock]:
    clock = ManualClock(at(hour))
    feed = ReplayFeed({BTC: drawn(ROWS)})
    balances = {"USD": Decimal(1000), "BTC": Decimal(10)}
    return SandboxExchange(feed, clock, balances=balances, costs=FREE, directory=directory), clock


def everything(exchange):
    return (exchange.records(), exchange.trades(), exchange.ledger(), exchange.balances())


def test_an_account_opened_again_is_the_same(tmp_path):
    first, clock = opened(tmp_path)
    first.submit(order("buy", "limit", 3, 80, client_id="a", userref=5, flags=("fciq", "post")))
    first.submit(order("sell", "stop-loss", 2, 50))
    first.submit(order("sell", "trailing-stop", 1, 15, percent=True))
    clock.sleep_until(at(0.5))
    before = everything(first)
    first.close()
    again, _ = opened(tmp_path, 0.5)
    assert everything(again) == before


def test_the_share_of_a_candle_already_had_is_remembered(tmp_path):
    first, clock = opened(tmp_path)
    placed = first.submit(order("buy", "limit", 3, 90))
    clock.sleep_until(at(0.3))
    assert first.record(placed.id).filled == 2
    again, clock = opened(tmp_path, 0.3)
    clock.sleep_until(at(0.99))
    assert again.record(placed.id).filled == 2


def test_ids_go_on_where_they_stopped(tmp_path):
    ids = set()
    for _ in range(3):
        exchange, _ = opened(tmp_path)
        ids.add(exchange.submit(order("buy", "limit", 1, 50)).id)
        exchange.close()
    assert len(ids) == 3


def test_the_moment_it_stopped_can_be_asked_for(tmp_path):
    assert stored_now(tmp_path) is None
    exchange, clock = opened(tmp_path)
    clock.sleep_until(at(1.5))
    exchange.balances()
    assert (stored_now(tmp_path), exchange.stored_now) == (at(1.5), at(1.5))


def test_two_users_of_one_account_see_each_others_orders(tmp_path):
    one, _ = opened(tmp_path)
    two, _ = opened(tmp_path)
    placed = one.submit(order("sell", "limit", 10, 500))
    with pytest.raises(InsufficientFunds):
        two.submit(order("sell", "limit", 1, 500))
    two.cancel(placed.id)
    assert one.open_orders() == ()
    assert one.submit(order("sell", "limit", 10, 500)).id != placed.id


def test_a_refused_order_leaves_the_stored_account_as_it_was(tmp_path):
    exchange, _ = opened(tmp_path)
    with pytest.raises(InsufficientFunds):
        exchange.submit(order("buy", "limit", 10_000, 80))
    before = everything(exchange)
    assert everything(opened(tmp_path)[0]) == before


def test_a_damaged_account_is_refused_in_one_line(tmp_path):
    (tmp_path / "account.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(JournalError, match="cannot be used"):
        opened(tmp_path)


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing_that_was_answered(tmp_path):
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from tests.exchanges.test_sandbox_account import opened, order
        exchange, _ = opened(Path({str(tmp_path)!r}))
        for number in range(1_500):
            print(exchange.submit(order("buy", "limit", "0.01", 50)).id, flush=True)
        """
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    answered = [child.stdout.readline().strip() for _ in range(25)]
    os.kill(child.pid, signal.SIGKILL)
    answered += child.stdout.read().split("\n")[:-1]
    child.wait()
    child.stdout.close()
    exchange, _ = opened(tmp_path)
    kept = [record.id for record in exchange.open_records()]
    assert kept[: len(answered)] == answered
    assert len(kept) - len(answered) <= 1
    held = sum((r.held for r in exchange.open_records()), Decimal(0))
    assert exchange.balances()["USD"].held == held


def test_a_record_reads_back_as_it_was_written():
    spec = order("buy", "limit", "1.00000001", "99.9", client_id="ö", expires_at=7)
    record = OrderRecord("O1", 1, spec, 5, spec.quantity, misc=["partial"], trades=["T1"])
    assert decode(OrderRecord, encode(record)) == record


def test_without_a_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SandboxExchange(ReplayFeed({BTC: drawn(ROWS)}), ManualClock(START)).balances()
    assert list(tmp_path.iterdir()) == []
