"""OTLP as JSON and as protobuf: the same messages, read to the same columns."""
