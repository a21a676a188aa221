"""Real servers for one run: PostgreSQL, Redis, LLM simulator, Jaeger, services."""
