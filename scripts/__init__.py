"""Command-line tools beside run_trader.py."""
