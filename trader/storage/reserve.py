"""A little room on the disk, kept for the moment when it is full.

An emergency stop has to write: its own switch, the journal, a paper account. The reserve is a file
that takes up that room until then.
"""

from __future__ import annotations

import os
from pathlib import Path

SIZE_BYTES = 1 << 20


class Reserve:
    """`reserve` in the data folder.

    Args:
        data_dir: the data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "reserve"

    def keep(self) -> bool:
        """Take the room up, unless that is done already; False where there is none."""
        try:
            if self._path.exists() and self._path.stat().st_size >= SIZE_BYTES:
                return True
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("wb") as file:
                file.write(bytes(SIZE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        return True

    def release_if_full(self) -> bool:
        """Give the room back where there is hardly any other; whether it was done."""
        try:
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize >= SIZE_BYTES:
                return False
            self._path.unlink()
        except OSError:
            return False
        return True
