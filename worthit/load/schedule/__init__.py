"""When every arrival is due, and everything random about it."""
