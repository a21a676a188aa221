"""What is written of every request: rows, counts, client spans."""
