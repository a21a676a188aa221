"""Replay a recorded run into any OTLP endpoint: choose traces, make messages, deliver gently."""
