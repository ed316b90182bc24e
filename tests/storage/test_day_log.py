"""The day's log: every event has a line, secrets have none."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from trader.domain import events as ev
from trader.domain.markets import Pair
from trader.domain.orders import Fill, Liquidity, Purpose, Side
from trader.storage.day_log import DayLog, describe, redactor

T0 = datetime(2024, 3, 1, 13, 0, 4, tzinfo=UTC)
BTC = Pair("BTC", "USD")


def filled() -> ev.OrderFilled:
    fill = Fill(
        "T1", "O1", "my-id", BTC, Side.BUY, Decimal("0.0150"), Decimal("62140.0"),
        Decimal("932.1"), Decimal("2.42"), Liquidity.TAKER, T0,
    )  # fmt: skip
    return ev.OrderFilled(T0, fill, Purpose.ENTRY)


def test_a_fill_is_one_line_that_a_person_can_grep(tmp_path: Path) -> None:
    DayLog(tmp_path, lambda: date(2024, 3, 2)).take(7, filled())
    line = (tmp_path / "trading_2024-03-02.log").read_text()
    assert line == (
        "2024-03-01T13:00:04Z INFO order_filled pair=BTC/USD side=buy quantity=0.0150 "
        "price=62140.0 fee_quote=2.42 liquidity=taker purpose=entry id=my-id trade=T1\n"
    )


def test_the_same_stands_beside_it_as_json(tmp_path: Path) -> None:
    DayLog(tmp_path, lambda: date(2024, 3, 2)).take(7, filled())
    record = json.loads((tmp_path / "trading_2024-03-02.jsonl").read_text())
    assert (record["number"], record["event"], record["price"]) == (7, "order_filled", "62140.0")


def test_lines_below_the_level_are_not_written(tmp_path: Path) -> None:
    DayLog(tmp_path, lambda: date(2024, 3, 2), level="WARNING").take(7, filled())
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_hidden_wherever_they_occur(tmp_path: Path) -> None:
    log = DayLog(tmp_path, lambda: date(2024, 3, 2), hide=redactor(["s3cr3t", ""]))
    log.take(1, ev.Troubled(T0, "exchange", "bad key s3cr3t in https://u:s3cr3t@host"))
    for path in tmp_path.iterdir():
        assert "s3cr3t" not in path.read_text()


def test_old_days_are_removed_when_a_new_one_begins(tmp_path: Path) -> None:
    (tmp_path / "trading_2023-01-01.log").write_text("old")
    (tmp_path / "trading_2024-02-28.log").write_text("young")
    (tmp_path / "trading_notes.log").write_text("not ours")
    DayLog(tmp_path, lambda: date(2024, 3, 2), keep_days=30).take(1, filled())
    names = {path.name for path in tmp_path.iterdir()}
    assert "trading_2023-01-01.log" not in names
    assert {"trading_2024-02-28.log", "trading_notes.log"} <= names


@pytest.mark.parametrize("kind", sorted(ev.EVENT_TYPES))
def test_every_kind_of_event_has_a_line(kind: str) -> None:
    from tests.domain.event_samples import SAMPLES

    level, name, fields = describe(SAMPLES[kind])
    assert level in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
    assert name
    assert fields
