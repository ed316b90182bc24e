"""Single trades on disk, as they were paged: chunks that each know from where to ask on.

`<root>/trades/<exchange>/<BASE-QUOTE>/<cursor>.parquet`: the trades after that cursor (Unix
nanoseconds) up to `next`. A chunk ends after a fixed number of pages, and what is in a page
depends on the cursor only; so the files are the same however often the download was broken off.
"""

from __future__ import annotations

import contextlib
import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from trader.domain.errors import HistoryError
from trader.domain.markets import Pair
from trader.domain.tape import NS, Tape
from trader.storage.history import locked
from trader.storage.parquet_candles import as_numpy, opened, write_table

COLUMNS = ("at_ns", "price", "volume", "side", "trade_id")
_ABOUT = b"chunk"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of trades without a hole.

    Attributes:
        since: cursor after which it begins.
        next: cursor from which to ask on; everything up to it is here.
        pages: how many answers it is made of.
    """

    since: int
    next: int
    pages: int


class TradeStore:
    """Trades of one exchange under a folder.

    Args:
        root: the data folder.
        exchange: whose trades these are.
    """

    def __init__(self, root: Path, exchange: str = "kraken") -> None:
        self.folder = Path(root) / "trades" / exchange

    def chunks(self, pair: Pair) -> list[Chunk]:
        """What is there, oldest first.

        Raises:
            HistoryError: if a file is damaged.
        """
        return [self._about(path) for path in self._files(pair)]

    def read(self, pair: Pair, start_ns: int, end_ns: int) -> Tape:
        """Trades at or after `start_ns` and before `end_ns`.

        Raises:
            HistoryError: if a file is damaged.
        """
        # The time of a trade may be written with fewer digits than a cursor: a second more.
        begins = [int(path.stem) for path in self._files(pair)]
        first = max(0, bisect_right(begins, start_ns - NS) - 1)
        wanted = [self._about(self._path(pair, b)) for b in begins[first:] if b < end_ns + NS]
        return Tape.joined(self.load(pair, chunk) for chunk in wanted).between(start_ns, end_ns)

    def load(self, pair: Pair, chunk: Chunk) -> Tape:
        """The trades of one chunk.

        Raises:
            HistoryError: if the file is damaged.
        """
        with opened(self._path(pair, chunk.since)) as file:
            table = file.read(columns=list(COLUMNS), use_threads=False)
            return Tape(*(as_numpy(table.column(name)) for name in COLUMNS))  # type: ignore[arg-type]

    def save(self, pair: Pair, chunk: Chunk, tape: Tape) -> None:
        """Write a chunk, or write it again with more pages.

        Raises:
            HistoryError: if the disk refuses; what was there is unchanged.
        """
        import pyarrow as pa

        path = self._path(pair, chunk.since)
        table = pa.table([pa.array(c) for c in tape.columns()], names=list(COLUMNS))
        with locked(path.parent):
            write_table(path, table.replace_schema_metadata({_ABOUT: json.dumps(asdict(chunk))}))

    @contextlib.contextmanager
    def alone(self, pair: Pair) -> Iterator[None]:
        """Be the only one who pages this pair.

        Raises:
            HistoryError: if somebody else does, or the disk refuses.
        """
        from filelock import FileLock, Timeout

        folder = self._folder(pair)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".paging", timeout=0):
                yield
        except Timeout:
            raise HistoryError(
                f"another program is downloading the trades of {pair}",
                "Wait for it, or end it: what it has is kept.",
            ) from None
        except OSError as fault:
            raise HistoryError(f"{folder}: could not be written ({fault.strerror})") from fault

    def _files(self, pair: Pair) -> list[Path]:
        return sorted(self._folder(pair).glob("[0-9]*.parquet"))

    def _about(self, path: Path) -> Chunk:
        with opened(path) as file:
            return Chunk(**json.loads((file.schema_arrow.metadata or {})[_ABOUT]))

    def _folder(self, pair: Pair) -> Path:
        return self.folder / pair.slug

    def _path(self, pair: Pair, since: int) -> Path:
        return self._folder(pair) / f"{since:020d}.parquet"
