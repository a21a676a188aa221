"""The recorder: takes OTLP from anything, appends the bytes, leaves understanding for later."""
