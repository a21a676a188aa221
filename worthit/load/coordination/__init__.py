"""Which worker sends which arrivals, and what became of each."""
