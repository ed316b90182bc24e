"""Claims about taking in Kraken's OHLCVT files."""

import gzip
import hashlib
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.shared_data import shared
from trader.domain.candles import Timeframe
from trader.domain.errors import HistoryError, UsageError
from trader.domain.markets import Pair
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt, parse_ohlcvt

HOUR = Timeframe(3600)
PAIR = Pair("BTC", "USD")
NOW = datetime(2024, 1, 1, tzinfo=UTC)
GOOD = b"3600,10,12,9,11,5e-06,3\n7200,11,13,10,12,1.5,4\n14400,12,14,11,13,2,0\n"


@pytest.fixture
def store(tmp_path: Path) -> HistoryStore:
    return HistoryStore(tmp_path / "data", now=lambda: NOW)


def put(folder: Path, data: bytes, name: str = "XBTUSD_60.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def test_exponents_are_read_and_absent_candles_reported_but_not_filled(
    store: HistoryStore, tmp_path: Path
) -> None:
    report = import_ohlcvt(store, put(tmp_path, GOOD), now=NOW)
    entry = report.imported[0]
    assert (entry.pair, entry.timeframe, entry.candles, entry.absent) == (PAIR, HOUR, 3, 1)
    assert store.load(PAIR, HOUR).volume.tolist() == [5e-06, 1.5, 2]


FAULTS = {
    "nothing": (b"", "the file is empty"),
    "white space": (b"\n\n", "the file is empty"),
    "cut off in a row": (GOOD[:60], "line 3: 4 fields, expected 7"),
    "cut off in a time": (GOOD[:27], "line 2: 1 fields, expected 7"),
    "a header": (b"time,open,high,low,close,volume,trades\n" + GOOD, "line 1: 'time' is no whole"),
    "six columns": (b"3600,10,12,9,11,1\n", "line 1: 6 fields"),
    "a blank line": (b"3600,10,12,9,11,1,1\n\n7200,10,12,9,11,1,1\n", "line 2: 1 fields"),
    "a word for a price": (
        GOOD.replace(b"13,10,12", b"oops,10,12"),
        "line 2: 'oops' is no number",
    ),
    "not a number": (GOOD.replace(b"13,10,12", b"nan,10,12"), "line 2: its high"),
    "infinity": (GOOD.replace(b"13,10,12", b"inf,10,12"), "line 2: its high is no price"),
    "a price of zero": (GOOD.replace(b"13,10,12", b"13,0,12"), "line 2: its low is no price"),
    "a missing value": (GOOD.replace(b"13,10,12", b",10,12"), "line 2: '' is no number"),
    "high below low": (GOOD.replace(b"13,10,12", b"9,10,12"), "line 2: its high is below its low"),
    "high below close": (
        GOOD.replace(b"13,10,12", b"11.5,10,12"),
        "line 2: its high is below its",
    ),
    "low above open": (GOOD.replace(b"13,10,12", b"13,11.5,12"), "line 2: its low is above"),
    "a duplicate that differs": (GOOD.replace(b"14400,", b"7200,"), r"line 3: .* of line 2 \(dup"),
    "one time in milliseconds": (
        GOOD.replace(b"3600,10", b"1609459200000,10"),
        "line 1: .* not in seconds",
    ),
    "off the grid": (GOOD.replace(b"7200,", b"7201,"), "line 2: its time is not a multiple of 1h"),
    "negative volume": (GOOD.replace(b",1.5,", b",-1.5,"), "line 2: its volume"),
    "half a trade": (GOOD.replace(b",1.5,4", b",1.5,4.5"), "line 2: '4.5' is no whole number"),
    "bytes of no text": (b"\x00\xff\xfe" + GOOD, "line 1: "),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_file_is_refused_with_its_line_and_the_store_stays_byte_for_byte(
    store: HistoryStore, tmp_path: Path, fault: str
) -> None:
    import_ohlcvt(store, put(tmp_path / "good", GOOD), now=NOW)
    before = store.path(PAIR, HOUR).read_bytes()
    data, words = FAULTS[fault]
    with pytest.raises(HistoryError, match=words):
        import_ohlcvt(store, put(tmp_path / "bad", data), now=NOW)
    assert store.path(PAIR, HOUR).read_bytes() == before


def test_a_gzip_cut_off_in_the_middle_is_refused_with_the_line_it_ends_in(
    store: HistoryStore, tmp_path: Path
) -> None:
    whole = gzip.compress(b"".join(b"%d,1,1,1,1,1,1\n" % (i * 3600) for i in range(9000)))
    path = put(tmp_path, whole[: len(whole) // 2], "XBTUSD_60.csv.gz")
    with pytest.raises(HistoryError, match=r"cut off in line \d{3,4}; nothing was imported"):
        import_ohlcvt(store, path, now=NOW)
    assert store.pairs() == ()


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm() -> None:
    marked = b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n")
    assert parse_ohlcvt(marked, HOUR, "x") == parse_ohlcvt(GOOD, HOUR, "x")


MENDED = {
    "rows out of order": (
        b"".join(reversed(GOOD.splitlines(keepends=True))),
        "out of order in 2 places",
    ),
    "rows there twice": (GOOD + GOOD.splitlines(keepends=True)[1], "1 rows were there twice"),
    "milliseconds": (
        b"".join(
            b"%d,%s" % (1609459200000 + i * 3600000, line.split(b",", 1)[1])
            for i, line in enumerate(GOOD.splitlines(keepends=True))
        ),
        "in milliseconds",
    ),
}


@pytest.mark.parametrize("fault", MENDED)
def test_what_can_be_mended_without_guessing_is_mended_and_told(
    store: HistoryStore, tmp_path: Path, fault: str
) -> None:
    data, words = MENDED[fault]
    report = import_ohlcvt(store, put(tmp_path, data), now=NOW)
    assert any(words in note for note in report.imported[0].notes)
    assert store.load(PAIR, HOUR).close.tolist() == [11, 12, 13]


def test_empty_lines_at_the_end_do_no_harm() -> None:
    assert parse_ohlcvt(GOOD + b"\n\r\n", HOUR, "x") == parse_ohlcvt(GOOD, HOUR, "x")


def test_the_hash_of_a_file_is_that_of_its_stored_bytes(
    store: HistoryStore, tmp_path: Path
) -> None:
    packed = gzip.compress(GOOD)
    import_ohlcvt(store, put(tmp_path, packed, "XBTUSD_60.csv.gz"), now=NOW)
    (entry,) = store.sources(PAIR, HOUR)
    assert entry.sha256 == hashlib.sha256(packed).hexdigest()


def test_a_zip_cut_off_in_the_middle_is_refused(store: HistoryStore, tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("XBTUSD_60.csv", GOOD * 50)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HistoryError, match="not a whole ZIP archive"):
        import_ohlcvt(store, path, now=NOW)


def test_a_zip_member_whose_checksum_is_wrong_is_refused_and_the_others_imported(
    store: HistoryStore, tmp_path: Path
) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("XBTUSD_60.csv", GOOD)
        archive.writestr("ETHUSD_60.csv", GOOD)
    path.write_bytes(path.read_bytes().replace(b"11,13,10,12", b"11,13,10,11", 1))
    report = import_ohlcvt(store, path, now=NOW)
    assert [str(entry.pair) for entry in report.imported] == ["ETH/USD"]
    assert "CRC" in report.refused[0].message


def test_a_last_line_without_its_end_is_taken_and_told(
    store: HistoryStore, tmp_path: Path
) -> None:
    report = import_ohlcvt(store, put(tmp_path, GOOD[:-1]), now=NOW)
    assert report.imported[0].candles == 3
    assert "no line end" in report.imported[0].notes[0]


def test_a_candle_that_has_not_closed_is_left_out_and_told(
    store: HistoryStore, tmp_path: Path
) -> None:
    now = datetime.fromtimestamp(15000, UTC)
    report = import_ohlcvt(store, put(tmp_path, GOOD), now=now)
    assert report.imported[0].candles == 2
    assert "not closed yet" in report.imported[0].notes[0]


def test_importing_again_changes_nothing(store: HistoryStore, tmp_path: Path) -> None:
    path = put(tmp_path, GOOD)
    import_ohlcvt(store, path, now=NOW)
    before = store.path(PAIR, HOUR).stat()
    assert import_ohlcvt(store, path, now=NOW).imported[0].new == 0
    after = store.path(PAIR, HOUR).stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_a_zip_is_sorted_into_pairs_and_timeframes(store: HistoryStore, tmp_path: Path) -> None:
    path = tmp_path / "Kraken_OHLCVT.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("XBTUSD_60.csv", "sub/ETHEUR_60.csv", "__MACOSX/XBTUSD_60.csv", "README.txt"):
            archive.writestr(name, GOOD)
    report = import_ohlcvt(store, path, now=NOW)
    assert [str(entry.pair) for entry in report.imported] == ["BTC/USD", "ETH/EUR"]
    assert [Path(name).name for name in report.skipped] == ["Kraken_OHLCVT.zip:README.txt"]


def test_of_an_archive_only_the_wanted_pairs_are_taken(
    store: HistoryStore, tmp_path: Path
) -> None:
    put(tmp_path / "all", GOOD)
    put(tmp_path / "all", GOOD, "ETHUSD_60.csv")
    import_ohlcvt(store, tmp_path / "all", now=NOW, pairs=(Pair("ETH", "USD"),))
    assert store.pairs() == ((Pair("ETH", "USD"), HOUR),)


def test_one_damaged_file_of_a_folder_is_listed_and_the_others_imported(
    store: HistoryStore, tmp_path: Path
) -> None:
    put(tmp_path / "all", GOOD)
    put(tmp_path / "all", GOOD[:60], "ETHUSD_60.csv")
    report = import_ohlcvt(store, tmp_path / "all", now=NOW)
    assert [str(entry.pair) for entry in report.imported] == ["BTC/USD"]
    assert "line 3" in report.refused[0].message


def test_a_zip_that_is_none_is_refused(store: HistoryStore, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="not a whole ZIP archive"):
        import_ohlcvt(store, put(tmp_path, GOOD, "all.zip"), now=NOW)


def test_a_file_of_another_name_needs_pair_and_timeframe(
    store: HistoryStore, tmp_path: Path
) -> None:
    path = put(tmp_path, GOOD, "mine.csv")
    with pytest.raises(UsageError, match="nothing to import"):
        import_ohlcvt(store, path, now=NOW)
    report = import_ohlcvt(store, path, now=NOW, pair=PAIR, timeframe=HOUR)
    assert report.imported[0].new == 3


def test_a_path_that_is_not_there_is_an_error_of_use(store: HistoryStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        import_ohlcvt(store, tmp_path / "XBTUSD_60.csv", now=NOW)


def test_krakens_bitcoin_hours_are_counted_as_their_description_says(store: HistoryStore) -> None:
    report = import_ohlcvt(store, shared("data/ohlcvt/XBTUSD_60.csv.gz"), now=NOW)
    entry = report.imported[0]
    assert (entry.candles, entry.absent, len(entry.gaps)) == (70_099, 10_856, 3_254)
    assert max(gap.candles for gap in entry.gaps) == 56
    assert entry.first == datetime(2013, 10, 6, 21, tzinfo=UTC)
    assert entry.last == datetime(2022, 12, 31, 23, tzinfo=UTC)
