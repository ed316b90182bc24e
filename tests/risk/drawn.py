"""A small market and account with numbers that can be checked in the head."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from risk_manager import MarketView, RiskLimits, RiskManager
from trader.domain.candles import Timeframe
from trader.domain.events import CashAdjusted, EquityMarked
from trader.domain.markets import FeeRates, MarketRules, Pair
from trader.domain.portfolio import Portfolio, Position
from trader.domain.signals import Action, Signal

BTC, ETH, SOL, ADA = (Pair(base, "USD") for base in ("BTC", "ETH", "SOL", "ADA"))
NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
D = Decimal

# Free of fees, price 100, daily range 5: four of them put the stop at 80.
RULES = MarketRules(BTC, D("0.1"), D("0.01"), D("0.05"), D("0.5"), 5, 8, 4)
FREE = FeeRates(D(0), D(0))
MARKET = MarketView(BTC, RULES, FREE, D(100), NOW, daily_atr=D(5), timeframe=Timeframe(3600))
# Wide open but for the risk per trade, so that each test sets the one limit it is about.
OPEN = RiskLimits(
    risk_per_trade=D("0.1"), max_position_fraction=D(1), max_correlated_exposure=D(1),
    max_daily_loss=D(1), max_drawdown=D(1), max_consecutive_losses=100, max_open_positions=100,
    smallest_addition=D(0),
)  # fmt: skip


def account(cash=1000, equity=None, at=NOW):
    """An account marked once, at the start of the day, and perhaps again now."""
    portfolio = Portfolio("USD")
    start = at.replace(hour=0)
    portfolio.apply(CashAdjusted(start, "USD", D(cash), "deposit"))
    portfolio.apply(EquityMarked(start, D(cash), D(cash), ()))
    if equity is not None:
        portfolio.cash = D(equity)
        portfolio.apply(EquityMarked(at, D(equity), D(equity), ()))
    return portfolio


def holding(portfolio, pair=BTC, quantity="1", price="100", stop="80"):
    """The account after buying, with the cash paid."""
    held = D(quantity)
    portfolio.cash -= held * D(price)
    portfolio.positions[pair] = Position(pair, held, held * D(price), D(price), NOW, D(stop))
    return portfolio


def signal(action=Action.BUY, weight=1.0, probability=None, pair=BTC):
    return Signal(pair, NOW, action, 0.9, ("drawn",), "test", weight, "", probability)


def verdict(portfolio=None, limits=OPEN, market=MARKET, now=NOW, wish=None, **changes):
    """What the manager says; `changes` are to the market."""
    manager = RiskManager(limits)
    return manager.review(
        wish or signal(), portfolio or account(), replace(market, **changes), now
    )


def limited(**changes):
    return replace(OPEN, **changes)
