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
