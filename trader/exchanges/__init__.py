"""Exchanges and the way to them."""
