"""The recorder: takes OTLP from anything, appends the bytes as they come, leaves understanding for later."""
