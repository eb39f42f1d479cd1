"""Runs of real servers, replayed: what was measured beside what a replay of the same load says."""
