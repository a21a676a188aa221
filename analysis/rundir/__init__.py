"""The run directory: opened, checked, read."""
