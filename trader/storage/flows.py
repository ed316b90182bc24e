"""What the trades inside the candles did, on disk beside the candles.

`<root>/flows/<exchange>/<BASE-QUOTE>/<timeframe>.parquet`: opening, VWAP, signed volume (NaN where
a side is unknown) and the number of trades in which the taker bought. Only candles made of trades
have it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trader.domain.candles import Timeframe
from trader.domain.markets import Pair
from trader.domain.tape import Flow
from trader.storage.history import HistoryStore, locked
from trader.storage.parquet_candles import as_numpy, opened, write_table

COLUMNS = ("opened_at", "vwap", "signed_volume", "bought")


class FlowStore:
    """Flows of one exchange under a folder; what is there stays.

    Args:
        root: the data folder.
        exchange: whose trades these are.
    """

    def __init__(self, root: Path, exchange: str = "kraken") -> None:
        self.folder = Path(root) / "flows" / exchange

    @classmethod
    def beside(cls, store: HistoryStore) -> FlowStore:
        """That of the same exchange under the same folder."""
        return cls(store.folder.parents[1], store.exchange)

    def load(self, pair: Pair, timeframe: Timeframe) -> Flow | None:
        """The flow of a series, oldest first; None if there is none.

        Raises:
            HistoryError: if the file is damaged.
        """
        path = self.path(pair, timeframe)
        if not path.exists():
            return None
        with opened(path) as file:
            table = file.read(columns=list(COLUMNS), use_threads=False)
            return Flow(timeframe, *(as_numpy(table.column(name)) for name in COLUMNS))  # type: ignore[arg-type]

    def merge(self, pair: Pair, flow: Flow) -> int:
        """Add the candles that are not there; how many those were.

        Raises:
            HistoryError: if the file there is damaged, or the disk refuses.
        """
        import pyarrow as pa

        path = self.path(pair, flow.timeframe)
        with locked(path.parent):
            held = self.load(pair, flow.timeframe)
            columns = [getattr(flow, name) for name in COLUMNS]
            if held is not None:
                fresh = ~np.isin(flow.opened_at, held.opened_at, assume_unique=True)
                columns = [
                    np.concatenate([getattr(held, name), column[fresh]])
                    for name, column in zip(COLUMNS, columns, strict=True)
                ]
                order = np.argsort(columns[0], kind="stable")
                columns = [column[order] for column in columns]
            new = len(columns[0]) - (0 if held is None else len(held))
            if new:
                write_table(path, pa.table([pa.array(c) for c in columns], names=list(COLUMNS)))
        return new

    def path(self, pair: Pair, timeframe: Timeframe) -> Path:
        """The file of one series."""
        return self.folder / pair.slug / f"{timeframe}.parquet"
