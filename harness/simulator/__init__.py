"""The LLM simulator: an OpenAI-compatible server that takes as long as it was told and says what it did."""
