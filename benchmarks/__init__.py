"""Benchmarks that print ratios in one run: ``python -m benchmarks --list``."""
