"""Campaigns against the program by its developers: kills, faults, long runs, emergency stops.

Each is a command that prints its figures: `python -m campaigns.kill --kills 100 --seed 1 --json`.
They are not installed. `docs/campaigns.md` tells what each does and what its figures mean.
"""
