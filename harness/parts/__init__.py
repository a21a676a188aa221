"""Real servers, started for one run and gone afterwards: each an async context manager."""
