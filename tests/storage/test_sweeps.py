"""Claims about the store of finished variants."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trader.domain.errors import HistoryError
from trader.storage.sweeps import SweepStore

KEYS = [f"{number:04d}" for number in range(500)]


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    path = tmp_path / "sweeps.db"
    store = SweepStore(path)
    for key in KEYS:
        store.put(key, {"digest": key}, np.array([0.1, 0.2]))
    store.close()
    return path


def test_what_was_put_is_known_and_comes_back_as_it_was(filled: Path) -> None:
    store = SweepStore(filled)
    row, returns = store.get("0042")
    assert (row, returns.tolist()) == ({"digest": "0042"}, [0.1, 0.2])
    assert store.known(["0042", "none"]) == {"0042"}
    with pytest.raises(KeyError):
        store.get("none")
    store.close()


def _into_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(range(255, -1, -1)) * 16)


def _into_rows(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE variants SET row = 'no json'")
    db.close()


def _into_returns(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE variants SET returns = x'00'")
    db.close()


def _read_all(path: Path) -> None:
    store = SweepStore(path)
    store.known(KEYS)
    for key in KEYS:
        store.get(key)


@pytest.mark.parametrize("damage", [_into_pages, _into_rows, _into_returns])
def test_damage_inside_the_file_is_an_error_that_names_it_and_says_what_to_do(
    filled: Path, damage: Callable[[Path], None]
) -> None:
    damage(filled)
    with pytest.raises(HistoryError, match=r"sweeps\.db") as fault:
        _read_all(filled)
    assert "move it aside" in fault.value.hint
