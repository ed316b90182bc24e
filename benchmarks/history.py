"""The store of candles: archives in, trades into candles, and how long a history takes to load."""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import numpy as np

from benchmarks.registry import Measurement, benchmark, measured
from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.domain.tape import Tape, bars
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt

ROOT = Path(__file__).resolve().parents[1]
BYTES = int(os.environ.get("BENCHMARK_BYTES", 10**9))
TRADES = 2_000_000
SIX = tuple(Timeframe(60 * m) for m in (1, 5, 15, 60, 240, 1440))
NAMES = ("time", "open", "high", "low", "close", "volume", "trades")
MINUTE, HOUR = Timeframe(60), Timeframe(3600)
TEN_YEARS, YEAR = 87_660, 525_600


@benchmark("history.import", "1 GB of OHLCVT files into the store, beside readers that only read")
def imports(runs: int) -> Iterator[Measurement]:
    """Ours parses, checks, hashes and stores; the peers only parse, file by file.

    Each in a process of its own, whose memory is counted from its start.
    """
    with tempfile.TemporaryDirectory(prefix="import-") as folder:
        files = Path(folder, "csv")
        size, rows = _archive(files)
        spent: dict[str, list[float]] = {tool: [] for tool in _READERS}
        memory: dict[str, float] = {}
        for _ in range(min(runs, 3)):
            for tool in _READERS:
                seconds, peak = _in_a_process(tool, files, folder)
                spent[tool].append(seconds)
                memory[tool] = max(peak, memory.get(tool, 0.0))
        ours = min(spent["ours"])
        for tool, seconds in spent.items():
            rate = f"{size / 1e6 / min(seconds):,.0f} MB/s at best"
            ratio = "" if tool == "ours" else f", ours takes {ours / min(seconds):.2f} x as long"
            yield measured(
                f"{size / 1e9:.2f} GB of CSV", tool, rows, seconds, memory[tool], rate + ratio
            )


def _archive(folder: Path) -> tuple[int, int]:
    """Files of Kraken's form under made-up names; (bytes, rows)."""
    folder.mkdir()
    texts = _texts()
    size = rows = 0
    for number, (minutes, text) in enumerate(cycle(texts)):
        if size >= BYTES:
            return size, rows
        name = f"{chr(65 + number // 26 % 26)}{chr(65 + number % 26)}{number:03d}USD_{minutes}.csv"
        (folder / name).write_bytes(text)
        size, rows = size + len(text), rows + text.count(b"\n")
    raise AssertionError("a cycle does not end")


def _texts() -> list[tuple[int, bytes]]:
    """(minutes, CSV) of the recorded histories, or of a made-up year where there are none."""
    shared = Path(os.environ.get("SHARED_DIR", ROOT.parent / "shared"), "data/ohlcvt")
    found = sorted(shared.glob("*.csv.gz"))
    if found:
        return [
            (int(f.name.split("_")[1].split(".")[0]), gzip.decompress(f.read_bytes()))
            for f in found
        ]
    year = made_up(1, YEAR, MINUTE)
    rows = zip(*(column.tolist() for column in year.columns()), strict=True)
    return [(1, "".join(",".join(map(str, row)) + "\n" for row in rows).encode())]


def made_up(seed: int, count: int, timeframe: Timeframe) -> Candles:
    """Prices of nobody, with the digits that real ones have."""
    chance = np.random.default_rng(seed)
    close = np.round(30_000 * np.exp(np.cumsum(chance.normal(0, 5e-4, count))), 1)
    open_ = np.concatenate([close[:1], close[:-1]])
    times = 1_400_000_400 // 86400 * 86400 + np.arange(count, dtype=np.int64) * timeframe.seconds
    high, low = np.maximum(open_, close) + 0.5, np.minimum(open_, close) - 0.5
    volume = np.round(chance.exponential(2, count), 8)
    return Candles(
        timeframe, times, open_, high, low, close, volume, chance.integers(1, 99, count)
    )


def _ours(folder: Path, target: Path) -> None:
    import_ohlcvt(HistoryStore(target), folder, now=datetime(2030, 1, 1, tzinfo=UTC))


def _pandas(folder: Path, _: Path) -> None:
    import pandas as pd

    for file in sorted(folder.iterdir()):
        pd.read_csv(file, header=None, names=list(NAMES))


def _polars(folder: Path, _: Path) -> None:
    import polars as pl

    for file in sorted(folder.iterdir()):
        pl.read_csv(file, has_header=False, new_columns=list(NAMES), infer_schema_length=10_000)


def _pyarrow(folder: Path, _: Path) -> None:
    from pyarrow import csv

    for file in sorted(folder.iterdir()):
        csv.read_csv(file, read_options=csv.ReadOptions(column_names=list(NAMES)))


_READERS: dict[str, Callable[[Path, Path], None]] = {
    "ours": _ours, "pandas": _pandas, "polars": _polars, "pyarrow": _pyarrow,
}  # fmt: skip


def _in_a_process(tool: str, files: Path, folder: str) -> tuple[float, float]:
    """(seconds of the work, peak memory of the whole process in MB)."""
    with tempfile.TemporaryDirectory(dir=folder) as target:
        words = [sys.executable, "-m", "benchmarks.history", tool, str(files), target]
        told = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    seconds, peak = json.loads(told.stdout)
    return float(seconds), float(peak)


@benchmark("history.trades", "2 million trades into candles of six timeframes")
def trades(runs: int) -> Iterator[Measurement]:
    """OHLCV, VWAP, count and signed volume; the peer makes the OHLCV of one timeframe."""
    tape = made_up_trades(TRADES)
    made: dict[str, tuple[str, Callable[[], object]]] = {
        "ours": ("six timeframes", lambda: [b.flow for b in bars(tape, SIX).values()]),
        "pandas": ("one timeframe", _resampled(tape)),
    }
    for tool, (what, work) in made.items():
        work()
        spent = [_seconds(work) for _ in range(max(3, runs))]
        rate = f"{TRADES / min(spent) / 1e6:,.1f} million trades a second at best"
        yield measured(f"trades to {what}", tool, TRADES, spent, notes=rate)


def made_up_trades(count: int) -> Tape:
    """Trades of nobody: a second apart on average."""
    chance = np.random.default_rng(3)
    return Tape(
        1_600_000_000_000_000_000 + np.cumsum(chance.integers(0, 2 * 10**9, count)),
        np.round(30_000 + np.cumsum(chance.normal(0, 1, count)), 1).clip(1),
        np.round(chance.exponential(0.1, count), 8) + 1e-8,
        chance.choice(np.array([-1, 1], dtype=np.int8), count),
        np.arange(1, count + 1, dtype=np.int64),
    )


def _resampled(tape: Tape) -> Callable[[], object]:
    import pandas as pd

    index = pd.to_datetime(tape.at_ns, unit="ns")
    frame = pd.DataFrame({"price": tape.price, "volume": tape.volume}, index=index)
    return lambda: (
        frame["price"].resample("1min").ohlc(),
        frame["volume"].resample("1min").agg(["sum", "count"]),
    )


@benchmark("history.load", "ten years of hours of ten pairs, and a year of minutes")
def load(runs: int) -> Iterator[Measurement]:
    """From Parquet on a warm disk cache, checksums and candles checked, nothing kept between."""
    pairs = [Pair(f"C{i:02d}", "USD") for i in range(10)]
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        store = HistoryStore(Path(folder))
        for seed, pair in enumerate(pairs):
            store.append(pair, made_up(seed, TEN_YEARS, HOUR), "made up")
        store.append(Pair("BTC", "USD"), made_up(99, YEAR, MINUTE), "made up")
        store.append(Pair("ETH", "USD"), made_up(98, 10 * YEAR, MINUTE), "made up")
        begin = datetime(2020, 1, 1, tzinfo=UTC)
        looks: dict[str, tuple[int, Callable[[], object]]] = {
            "ten years of hours, ten pairs": (
                10 * TEN_YEARS, lambda: [store.load(pair, HOUR) for pair in pairs],
            ),
            "a year of minutes": (YEAR, lambda: store.load(Pair("BTC", "USD"), MINUTE)),
            "a year of ten years of minutes": (
                YEAR,
                lambda: store.load(
                    Pair("ETH", "USD"), MINUTE, begin, begin.replace(year=2021)
                ),
            ),
        }  # fmt: skip
        for item, (count, look) in looks.items():
            look()
            spent = [_seconds(look) for _ in range(max(5, runs))]
            yield measured(item, "ours", count, spent, notes=f"{min(spent) * 1e3:.0f} ms at best")


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    began_at = time.perf_counter()
    _READERS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    worked = time.perf_counter() - began_at
    print(json.dumps([worked, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
