"""Sizing, stops and limits: pure rules with names."""
