"""Indicators: pure functions of closed candles, found in one registry."""

from trader.indicators import momentum, statistics, trend, volatility, volume
from trader.indicators.registry import INDICATORS, Indicator, Unit, compute, indicator

FAMILIES = (trend, momentum, volatility, volume, statistics)

__all__ = ["FAMILIES", "INDICATORS", "Indicator", "Unit", "compute", "indicator"]
