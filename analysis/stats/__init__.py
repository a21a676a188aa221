"""Intervals, quantiles, scalability, queueing."""
