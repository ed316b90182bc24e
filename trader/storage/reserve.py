"""A little room on the disk, kept for the moment when it is full.

An emergency stop has to write: its own switch, the journal, a paper account. So has the running
bot, whose purchase fills on a full disk: the position gets its stop only when that stands in the
journal. The reserve is a file that takes up that room until then.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

SIZE_BYTES = 1 << 20
PLENTY_BYTES = 8 * SIZE_BYTES
"""With so much room the reserve is taken again; sooner it would itself fill the disk."""


class Reserve:
    """`reserve` in the data folder.

    Args:
        data_dir: the data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "reserve"
        self._missing = False

    @property
    def kept(self) -> bool:
        """Whether the room is there."""
        try:
            return self._path.stat().st_size >= SIZE_BYTES
        except OSError:
            return False

    def keep(self) -> bool:
        """Take the room up, unless that is done already; False where there is none."""
        try:
            if self.kept:
                return True
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("wb") as file:
                file.write(bytes(SIZE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._missing = True
            return False
        self._missing = False
        return True

    def renew(self) -> None:
        """Take the room up again that was given back, once there is plenty."""
        if self._missing and self._free() >= PLENTY_BYTES:
            self.keep()

    def release_if_full(self) -> bool:
        """Give the room back where there is hardly any other; whether it was done."""
        try:
            if self._free() >= SIZE_BYTES:
                return False
            self._path.unlink()
        except OSError:
            return False
        self._missing = True
        return True

    def _free(self) -> int:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize
