"""Where a simulated exchange takes its prices from."""

from trader.exchanges.feeds.base import CandleFeed, Feed
from trader.exchanges.feeds.kraken import KrakenFeed
from trader.exchanges.feeds.replay import ReplayFeed
from trader.exchanges.feeds.simulated import SimulatedFeed

__all__ = ["CandleFeed", "Feed", "KrakenFeed", "ReplayFeed", "SimulatedFeed"]
