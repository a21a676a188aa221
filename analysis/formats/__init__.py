"""Readers of trace files, one module a format; all give the same columns (``analysis.formats.columns``)."""
