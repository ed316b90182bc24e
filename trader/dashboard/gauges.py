"""The state as text for Prometheus (exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Callable

from trader.dashboard.reading import Reading

_Gauge = tuple[str, str, str, Callable[[Reading], float]]
_GAUGES: tuple[_Gauge, ...] = (
    ("running", "gauge", "1 while the loop is alive", lambda r: r.running),
    ("stopped", "gauge", "1 while an emergency stop is in force", lambda r: bool(r.view.stopped)),
    ("live", "gauge", "1 when real money is traded", lambda r: r.state.get("mode") == _REAL),
    ("equity_quote", "gauge", "worth of the account", lambda r: float(r.view.equity)),
    ("cash_quote", "gauge", "cash of the account", lambda r: float(r.view.portfolio.cash)),
    ("drawdown_ratio", "gauge", "fall from the peak", lambda r: float(r.view.portfolio.drawdown)),
    ("fees_quote_total", "counter", "fees paid", lambda r: float(r.view.portfolio.fees_quote)),
    ("fills_total", "counter", "fills of our orders", lambda r: len(r.view.fills)),
    ("trades_total", "counter", "closed trades", lambda r: len(r.view.portfolio.trades)),
    ("open_orders", "gauge", "orders that are not over", lambda r: len(r.view.open_orders())),
    ("positions", "gauge", "pairs that are held", lambda r: len(r.view.portfolio.positions)),
    (
        "unprotected_positions", "gauge", "positions without a stop",
        lambda r: len(r.state.get("unprotected") or {}),
    ),
    (
        "beat_age_seconds", "gauge", "since the loop's last sign of life; -1 before the first",
        lambda r: -1.0 if r.age_seconds is None else r.age_seconds,
    ),
)  # fmt: skip
_REAL = "LIVE"


def gauges(reading: Reading) -> str:
    """All gauges, one metric with help and type after the other."""
    return "".join(
        f"# HELP trader_{name} {told}\n# TYPE trader_{name} {kind}\n"
        f"trader_{name} {float(value(reading)):.10g}\n"
        for name, kind, told, value in _GAUGES
    )
