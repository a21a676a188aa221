"""Spans, metrics and logs of the service, and their export by OTLP."""
