"""Decisions without effects: from facts and a moment to what should be done, and because of what.

Nothing here reads a clock, a disk or a network, so that every decision can be replayed.
"""
