"""Nonces rise, whoever asks."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from trader.domain.errors import NonceError
from trader.exchanges.kraken_nonces import FileNonces, MemoryNonces

_PROCESS = """
import sys
from pathlib import Path
from trader.exchanges.kraken_nonces import FileNonces
source = FileNonces(Path(sys.argv[1]))
log = open(sys.argv[2], "a")
for _ in range(300):
    with source.turn() as nonce:
        log.write(f"{nonce}\\n")
        log.flush()
"""


def take(source: FileNonces | MemoryNonces, times: int) -> list[int]:
    found = []
    for _ in range(times):
        with source.turn() as nonce:
            found.append(nonce)
    return found


def test_nonces_rise_within_one_millisecond() -> None:
    assert take(MemoryNonces(lambda: 5), 3) == [5, 6, 7]


def test_nonces_rise_over_restarts_even_if_the_clock_goes_back(tmp_path: Path) -> None:
    assert take(FileNonces(tmp_path / "n", unix_ms=lambda: 100), 2) == [100, 101]
    assert take(FileNonces(tmp_path / "n", unix_ms=lambda: 7), 2) == [102, 103]


@pytest.mark.parametrize("content", ["", "rubbish", "\x00\x00", "9" * 400, "-5"])
def test_a_damaged_file_falls_back_to_the_clock(tmp_path: Path, content: str) -> None:
    (tmp_path / "n").write_text(content)
    assert take(FileNonces(tmp_path / "n", unix_ms=lambda: 100), 1) == [100]


@pytest.mark.slow
def test_two_processes_and_threads_never_get_the_same_or_a_lower_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PROCESS, str(tmp_path / "n"), str(tmp_path / "log")]
    root = Path(__file__).resolve().parents[2]
    children = [subprocess.Popen(command, cwd=root) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    nonces = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert len(nonces) == 600
    assert nonces == sorted(set(nonces))


def test_a_key_that_is_never_free_is_an_error_that_says_so(tmp_path: Path) -> None:
    first, second = FileNonces(tmp_path / "n"), FileNonces(tmp_path / "n", patience_s=0.05)
    with first.turn(), pytest.raises(NonceError, match="another program"), second.turn():
        pass


def test_a_turn_that_ends_in_an_error_frees_the_key(tmp_path: Path) -> None:
    source = FileNonces(tmp_path / "n", patience_s=0.5)
    with pytest.raises(KeyError), source.turn():
        raise KeyError
    thread = threading.Thread(target=take, args=(source, 1))
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_the_key_is_not_in_the_file_name(tmp_path: Path) -> None:
    take(FileNonces.for_key(tmp_path, "SECRETKEY"), 1)
    assert all("SECRETKEY" not in path.name for path in tmp_path.iterdir())


def test_a_kill_while_the_number_is_written_leaves_a_number(tmp_path):
    """The file is never empty: the next process goes on above the last nonce."""
    source = FileNonces(tmp_path / "nonce", unix_ms=lambda: 5)
    with source.turn() as first:
        pass
    (tmp_path / "nonce").write_text("1616492376594\n")  # as an earlier version wrote it
    with FileNonces(tmp_path / "nonce", unix_ms=lambda: 5).turn() as later:
        size = (tmp_path / "nonce").stat().st_size
    with FileNonces(tmp_path / "nonce", unix_ms=lambda: 5).turn() as last:
        assert (tmp_path / "nonce").stat().st_size == size
    assert (first, later, last) == (5, 1616492376595, 1616492376596)


@pytest.mark.slow
def test_in_an_emergency_a_process_that_hangs_in_its_turn_is_not_waited_for(tmp_path):
    hung = FileNonces(tmp_path / "nonce")
    with hung.turn() as theirs:
        ours = FileNonces(tmp_path / "nonce", alone_after_s=0.2)
        began = time.monotonic()
        found = []
        for _ in range(20):
            with ours.turn() as nonce:
                found.append(nonce)
        assert time.monotonic() - began < 1.0
        with pytest.raises(NonceError), FileNonces(tmp_path / "nonce", patience_s=0.01).turn():
            pass
    assert found == sorted(set(found))
    assert found[0] > theirs
