"""Spans, metrics and logs of the service, and their way out by OTLP."""
