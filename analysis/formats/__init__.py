"""Readers of trace files, one module a format.

All give the same columns (``analysis.formats.columns``).
"""
