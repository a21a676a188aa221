"""The LLM simulator: OpenAI-compatible, takes as long as it was told, says what it did."""
