"""Strategies: from a snapshot to a signal."""
