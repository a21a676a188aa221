"""Jaeger: its JSON, its HTTP API of both generations, its documents in a search engine."""
