"""Indicators: one pure function each, found through a registry."""
