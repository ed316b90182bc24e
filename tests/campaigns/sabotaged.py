"""The kill campaign on a program broken on purpose: `python -m tests.campaigns.sabotaged WAY`."""

import sys

from campaigns.kill import main
from trader.domain.events import OrderAccepted
from trading_executor import TradingExecutor


def sent_before_written(self, intent):
    """The classical mistake: first send, then write down."""
    exchange_id = self.exchange.place(intent.request, intent.at)
    self.record(intent)
    self.record(OrderAccepted(intent.at, intent.request.order_id, exchange_id))
    return self.orders.get(intent.request.order_id), None


def no_stops(self, now):
    """Another: recovery that forgets the stops."""


WAYS = {
    "sent-before-written": {"_send": sent_before_written},
    "no-stops": {"_guard_positions": no_stops, "_guard": lambda self, pair, now: None},
    "no-questions": {"_resolve_doubts": no_stops},
}

if __name__ == "__main__":
    for name, broken in WAYS[sys.argv.pop(1)].items():
        setattr(TradingExecutor, name, broken)
    main()
