"""Claims about the ledger that counts tries."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from trader.domain.errors import HistoryError
from trader.storage.trials import Trial, TrialLedger

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def trial(window: int, data: tuple[str, ...] = ("kraken:BTC/USD",), days: int = 100) -> Trial:
    return Trial("backtest", data, {"window": window}, 0.01 * window, days, "d")


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    return TrialLedger(tmp_path / "data" / "trials.jsonl", now=lambda: NOW)


def test_the_same_variant_is_one_trial_however_often_it_runs(ledger: TrialLedger) -> None:
    assert ledger.record([trial(1), trial(2)]) == 2
    assert ledger.record([trial(2), trial(3)]) == 1
    assert ledger.sharpes(["kraken:BTC/USD"], 100) == [0.01, 0.02, 0.03]


def test_a_trial_counts_for_every_series_it_touched(ledger: TrialLedger) -> None:
    ledger.record([trial(1, ("kraken:BTC/USD", "kraken:ETH/USD"))])
    assert len(ledger.sharpes(["kraken:ETH/USD"], 100)) == 1
    assert ledger.sharpes(["kraken:SOL/USD"], 100) == []


def test_a_short_trial_counts_with_what_is_as_surprising_over_the_longer_run(
    ledger: TrialLedger,
) -> None:
    ledger.record([trial(2, days=25), trial(3, days=400)])
    assert ledger.sharpes(["kraken:BTC/USD"], 100) == pytest.approx([0.01, 0.03])


def test_a_ledger_that_does_not_exist_is_empty(ledger: TrialLedger) -> None:
    assert ledger.sharpes(["kraken:BTC/USD"], 100) == []


@pytest.mark.parametrize("garbage", [b"\xff\xfe\n", b"5\n", b"null\n", b'{"hash": 1}\n'])
def test_garbage_behind_the_last_line_is_found_as_a_line_that_was_changed(
    ledger: TrialLedger, garbage: bytes
) -> None:
    ledger.record([trial(1)])
    with ledger.path.open("ab") as file:
        file.write(garbage)
    with pytest.raises(HistoryError, match="line 2 was changed"):
        ledger.sharpes(["kraken:BTC/USD"], 100)
    with pytest.raises(HistoryError, match="line 2 was changed"):
        ledger.record([trial(2)])


@pytest.mark.parametrize("garbage", [b"\xff\xfe\n", b"5\n", b'{"lines": -1, "hash": ""}', b'{"li'])
def test_a_seal_that_was_changed_is_an_error_and_no_missing_seal(
    ledger: TrialLedger, garbage: bytes
) -> None:
    ledger.record([trial(1)])
    ledger.seal_path.write_bytes(garbage)
    with pytest.raises(HistoryError, match=r"trials\.seal was changed"):
        ledger.sharpes(["kraken:BTC/USD"], 100)


@pytest.mark.parametrize("damage", ["change", "take out", "cut"])
def test_a_line_changed_taken_out_or_cut_is_found(ledger: TrialLedger, damage: str) -> None:
    ledger.record([trial(1), trial(2), trial(3)])
    lines = ledger.path.read_text().splitlines(keepends=True)
    if damage == "change":
        lines[1] = lines[1].replace("0.02", "0.01")
    elif damage == "take out":
        del lines[1]
    else:
        lines[1] = lines[1][:40] + "\n"
    ledger.path.write_text("".join(lines))
    with pytest.raises(HistoryError, match="line 2"):
        ledger.sharpes(["kraken:BTC/USD"], 100)


def test_an_end_cut_off_at_a_line_is_found_too(ledger: TrialLedger) -> None:
    ledger.record([trial(1), trial(2), trial(3)])
    lines = ledger.path.read_text().splitlines(keepends=True)
    ledger.path.write_text("".join(lines[:2]))
    with pytest.raises(HistoryError, match="there were 3 tries, 2 are left"):
        ledger.record([trial(4)])


def test_a_ledger_begun_anew_in_the_place_of_another_is_found(ledger: TrialLedger) -> None:
    ledger.record([trial(1), trial(2)])
    ledger.path.unlink()
    with pytest.raises(HistoryError, match="0 are left"):
        ledger.sharpes(["kraken:BTC/USD"], 100)


def test_moved_aside_with_its_seal_the_count_begins_anew(ledger: TrialLedger) -> None:
    ledger.record([trial(1), trial(2)])
    ledger.path.unlink()
    ledger.seal_path.unlink()
    assert ledger.record([trial(3)]) == 1


def test_a_ledger_from_before_seals_is_read_and_sealed(ledger: TrialLedger) -> None:
    ledger.record([trial(1)])
    ledger.seal_path.unlink()
    assert ledger.record([trial(2)]) == 1
    assert ledger.seal_path.exists()
