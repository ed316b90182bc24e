"""The trial ledger: every backtest, sweep, tuning and training on the data: luck is counted.

One line of JSON for each trial, chained by hashes: a line that was changed or taken out is found.
The same settings on the same span are one trial however often they are run.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trader.domain.errors import HistoryError

_LOCK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One variant that was tried.

    Attributes:
        kind: `backtest`, `sweep`, `tuning` or `training`.
        data: the series it was tried on, such as `kraken:BTC/USD`.
        settings: everything that makes it another variant, as plain values.
        sharpe_daily: Sharpe ratio of its daily returns, not annualised.
        days: how many returns those were.
        digest: of its decisions, orders and fills.
    """

    kind: str
    data: tuple[str, ...]
    settings: dict[str, Any]
    sharpe_daily: float
    days: int
    digest: str

    @property
    def key(self) -> str:
        """The same for the same variant on the same data."""
        text = json.dumps([sorted(self.data), self.settings], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


class TrialLedger:
    """An append-only file of trials.

    Args:
        path: the file; made with its folder on the first record.
        now: what is recorded as the time.
    """

    def __init__(
        self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.path = path
        self.seal_path = path.with_suffix(".seal")
        self._now = now

    def record(self, trials: Sequence[Trial]) -> int:
        """Append the variants not seen before; how many they were.

        Raises:
            HistoryError: if the ledger was tampered with or cannot be written.
        """
        from filelock import FileLock, Timeout

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock"), timeout=_LOCK_SECONDS):
                return self._append(trials)
        except Timeout:
            raise HistoryError(f"another program holds the trial ledger {self.path}") from None
        except OSError as fault:
            raise HistoryError(
                f"the trial ledger {self.path} cannot be written ({fault.strerror or fault})"
            ) from fault

    def sharpes(self, data: Sequence[str], days: int) -> list[float]:
        """Daily Sharpe ratios of all variants tried on any of these series, oldest first.

        The ratio of a few days is mostly noise, and would make every later run look like luck.
        A shorter trial counts with the ratio that is equally surprising over `days` (the same
        t-statistic): SR · √(its days / days).

        Args:
            data: names of series.
            days: length of the run that is compared with them.

        Raises:
            HistoryError: if the chain of the ledger is broken.
        """
        wanted = set(data)
        return [
            line["sharpe_daily"] * math.sqrt(min(1.0, line["days"] / max(days, 1)))
            for line in self._lines()
            if wanted & set(line["data"])
        ]

    def count(self, data: Sequence[str], trial: Trial) -> int:
        """How many variants were tried on any of these series, this one included.

        Args:
            data: names of series.
            trial: the one that is being tried; the same variant once more adds nothing.

        Raises:
            HistoryError: if the chain of the ledger is broken.
        """
        wanted = set(data)
        return len({line["key"] for line in self._lines() if wanted & set(line["data"])}
                   | {trial.key})  # fmt: skip

    def _append(self, trials: Sequence[Trial]) -> int:
        lines = self._lines()
        seen, last = {line["key"] for line in lines}, lines[-1]["hash"] if lines else ""
        texts = []
        for trial in trials:
            if trial.key in seen:
                continue
            seen.add(trial.key)
            body = {"at": self._now().isoformat(timespec="seconds"), "key": trial.key,
                    **asdict(trial), "before": last}  # fmt: skip
            last = _hash(body)
            texts.append(json.dumps({**body, "hash": last}, default=str) + "\n")
        if texts:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(texts))
                file.flush()
                os.fsync(file.fileno())
            self._seal(len(lines) + len(texts), last)
        return len(texts)

    def _seal(self, count: int, last: str) -> None:
        """Note beside the ledger how far it had come: a cut-off end is found by that."""
        draft = self.seal_path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"lines": count, "hash": last}) + "\n", encoding="utf-8")
        draft.replace(self.seal_path)

    def _lines(self) -> list[dict[str, Any]]:
        # First the seal: what is appended meanwhile is more than it promises, never less.
        promised, seal = self._sealed()
        lines = self._chained()
        if promised and (len(lines) < promised or lines[promised - 1]["hash"] != seal):
            raise HistoryError(
                f"{self.path}: there were {promised:,} tries, {len(lines):,} are left of another "
                "or a shorter ledger; the number of tries can no longer be trusted",
                f"Restore the file from a backup; or move it and {self.seal_path.name} aside to "
                "begin a new count.",
            )
        return lines

    def _sealed(self) -> tuple[int, str]:
        """How many lines the seal promises, and the hash of the last; (0, "") without a seal.

        Raises:
            HistoryError: if it is damaged: a cut-off end would go unseen.
        """
        written = self._read(self.seal_path)
        if not written:
            return 0, ""
        try:
            seal = json.loads(written.decode())
            count, last = seal["lines"], seal["hash"]
            whole = isinstance(count, int) and count > 0 and isinstance(last, str)
        except (ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if not whole:
            raise HistoryError(
                f"{self.seal_path} was changed or cut off; the number of tries can no longer be "
                "trusted",
                "Restore it from a backup. Or remove it, if nothing was cut off the end of "
                f"{self.path.name}: the next try seals that anew.",
            )
        return count, last

    def _chained(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        for number, text in enumerate(self._read(self.path).splitlines(), 1):
            line = _checked(text, lines[-1]["hash"] if lines else "")
            if line is None:
                raise HistoryError(
                    f"{self.path}: line {number} was changed, cut off or taken out; the number "
                    "of tries can no longer be trusted",
                    f"Restore the file from a backup; or move it and {self.seal_path.name} aside "
                    "to begin a new count.",
                )
            lines.append(line)
        return lines

    def _read(self, path: Path) -> bytes:
        """What is in a file; nothing if it is not there."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as fault:
            raise HistoryError(
                f"the trial ledger {path} cannot be read ({fault.strerror or fault})"
            ) from fault


def _checked(text: bytes, before: str) -> dict[str, Any] | None:
    """The line, if it is as it was written and follows the one before it."""
    try:
        line: dict[str, Any] = json.loads(text.decode())
        body = {key: value for key, value in line.items() if key != "hash"}
        return line if line["hash"] == _hash(body) and line["before"] == before else None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()
