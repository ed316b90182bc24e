"""The commands of `run_trader.py`, one file each, imported only when called."""
