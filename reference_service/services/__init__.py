"""The service's logic: lookups, stages, fallbacks, limits."""
