"""Servers, faults and traces that several benchmarks use."""
