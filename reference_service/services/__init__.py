"""What the service decides: lookups, stages, fallbacks, limits."""
