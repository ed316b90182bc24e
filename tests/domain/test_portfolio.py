"""The portfolio is what the events say, to the last decimal."""

from datetime import UTC, datetime
from decimal import Decimal

from trader.domain.events import CashAdjusted, EquityMarked, OrderFilled, OrderIntended
from trader.domain.markets import Pair
from trader.domain.orders import Fill, Liquidity, OrderRequest, OrderType, Purpose, Side
from trader.domain.portfolio import replay

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
BTC = Pair("BTC", "USD")


def deposit(amount, asset="USD"):
    return CashAdjusted(NOW, asset, Decimal(amount), "test")


def filled(trade_id, side, quantity, price, fee="1", purpose=Purpose.ENTRY):
    quantity, price = Decimal(quantity), Decimal(price)
    fill = Fill(
        trade_id, "X", "id", BTC, side, quantity, price, quantity * price, Decimal(fee),
        Liquidity.TAKER, NOW,
    )  # fmt: skip
    return OrderFilled(NOW, fill, purpose)


BOUGHT = filled("T1", Side.BUY, "2", "100")


def test_buying_takes_cost_and_fee_from_the_cash():
    assert Decimal("799") == replay("USD", [deposit(1000), BOUGHT]).cash


def test_the_same_fill_told_twice_counts_once():
    assert Decimal("799") == replay("USD", [deposit(1000), BOUGHT, BOUGHT]).cash


def test_selling_half_makes_a_trade_of_half_with_its_share_of_the_entry_fee():
    sold = filled("T2", Side.SELL, "1", "110", purpose=Purpose.EXIT)
    portfolio = replay("USD", [deposit(1000), BOUGHT, sold])
    (trade,) = portfolio.trades
    assert (Decimal("1.5"), Decimal("8.5")) == (trade.fees_quote, trade.profit_quote)
    assert Decimal(1) == portfolio.positions[BTC].quantity


def test_a_position_takes_stop_and_target_from_the_plan_of_its_order():
    request = OrderRequest("id", BTC, Side.BUY, OrderType.MARKET, Decimal(2))
    intent = OrderIntended(NOW, request, Purpose.ENTRY, NOW, "", Decimal(90), Decimal(130))
    position = replay("USD", [intent, BOUGHT]).positions[BTC]
    assert (Decimal(90), Decimal(130)) == (position.stop, position.take_profit)


def test_what_is_not_ours_stays_beside_the_position():
    portfolio = replay("USD", [deposit(1000), deposit("0.5", "BTC"), BOUGHT])
    assert {"USD": Decimal(799), "BTC": Decimal("2.5")} == portfolio.holdings()
    assert Decimal(2) == portfolio.positions[BTC].quantity


def test_a_hand_sale_of_what_a_position_stands_on_shrinks_the_position():
    portfolio = replay("USD", [deposit(1000), BOUGHT, deposit("-0.5", "BTC"), deposit(50)])
    assert Decimal("1.5") == portfolio.positions[BTC].quantity
    assert {"USD": Decimal(849), "BTC": Decimal("1.5")} == portfolio.holdings()


def test_a_hand_sale_of_everything_closes_the_position():
    portfolio = replay("USD", [deposit(1000), deposit("0.1", "BTC"), BOUGHT, deposit(-2, "BTC")])
    assert Decimal("0.1") == portfolio.positions[BTC].quantity
    portfolio.apply(deposit("-0.1", "BTC"))
    assert (None, {"USD": Decimal(799)}) == (portfolio.position(BTC), portfolio.holdings())


def test_money_moved_in_or_out_is_neither_profit_nor_loss():
    marked = EquityMarked(NOW, Decimal(1000), Decimal(1000), ())
    portfolio = replay("USD", [deposit(1000), marked, deposit(-600)])
    assert (Decimal(0), Decimal(0)) == (portfolio.drawdown, portfolio.day_loss)
