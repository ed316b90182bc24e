"""The kill campaign on a program broken on purpose: `python -m tests.campaigns.sabotaged WAY`."""

import sys

from campaigns.kill import main
from trader.domain.events import OrderAccepted
from trader.execution.desk import OrderDesk
from trader.execution.protection import StopGuard


def sent_before_written(self, intent):
    """The classical mistake: first send, then write down."""
    exchange_id = self.exchange.place(intent.request, intent.at)
    self.record(intent)
    self.record(OrderAccepted(intent.at, intent.request.order_id, exchange_id))
    return self.orders.get(intent.request.order_id), None


def no_stops(self, *where_and_when):
    """Another: recovery that forgets the stops."""


def no_questions(self, order, now):
    """Another: a doubt that is never cleared up."""


WAYS = {
    "sent-before-written": (OrderDesk, {"send": sent_before_written}),
    "no-stops": (StopGuard, {"guard_all": no_stops, "guard": no_stops}),
    "no-questions": (OrderDesk, {"resolve": no_questions}),
}

if __name__ == "__main__":
    room, broken = WAYS[sys.argv.pop(1)]
    for name, way in broken.items():
        if not hasattr(room, name):
            raise SystemExit(f"{room.__name__} has no {name}: nothing would be broken")
        setattr(room, name, way)
    main()
