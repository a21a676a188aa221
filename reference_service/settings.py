"""The service's settings: environment variables and `.env`, validated once at start."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Pipeline(StrEnum):
    """How the stages that do not need each other run."""

    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"


class LatencyProfile(StrEnum):
    """Whether stages are slowed down to the durations of the write-up."""

    NATIVE = "native"
    SEED = "seed"


class DatabaseSettings(BaseSettings):
    """What `init-db` and `seed` need."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    database_url: SecretStr
    """PostgreSQL with pgvector."""
    embedding_dimensions: int = Field(default=256, ge=1, le=2000)
    """2000 is the most that pgvector's HNSW index takes."""


class Settings(DatabaseSettings):
    """All settings; the names in the environment are these in upper case."""

    db_pool_min: int = Field(default=2, ge=0, le=1000)
    """Connections kept open per process."""
    db_pool_max: int = Field(default=20, ge=1, le=1000)
    """Connections per process at most."""
    db_pool_timeout_seconds: float = Field(default=1.0, gt=0)
    """Longest wait for a connection. psycopg_pool's own 30 s would keep a chat waiting for
    nothing."""
    db_pool_max_waiting: int = Field(default=1000, ge=1)
    """Requests that may queue for a connection; psycopg_pool's own has no limit, and a queue
    without one never empties."""
    db_statement_timeout_ms: int = Field(default=2000, ge=1)
    """Longest run of one statement, enforced by PostgreSQL."""
    fallback_max_concurrency: int = Field(default=8, ge=1)
    """Cached lookups that may query PostgreSQL at once while Redis is away."""
    fallback_max_waiting: int = Field(default=64, ge=0)
    """Lookups that may wait for one of those places; the rest is shed with 503."""
    fallback_wait_seconds: float = Field(default=0.1, gt=0)
    """Longest such wait."""

    redis_enabled: bool = False
    """Whether the personality cache is connected at all."""
    redis_url: SecretStr | None = None
    redis_timeout_ms: int = Field(default=40, ge=1)
    """Longest wait for Redis, connecting included; while the process itself is held up does not
    count. A request waits so once at most. An answer takes a tenth of a millisecond."""
    redis_max_connections: int = Field(default=50, ge=1)
    """Connections per process at most. A reply takes a tenth of a millisecond, so few carry
    thousands a second; the rest is for what has gathered while the process was held up."""
    personality_ttl_seconds: int = Field(default=86_400, ge=1)
    personality_negative_ttl_seconds: int = Field(default=45, ge=1)
    personality_prewarm: int = Field(default=0, ge=0)
    """Personalities loaded into the cache at start, in the order of their names."""
    preferences_cache_enabled: bool = False
    preferences_ttl_seconds: int = Field(default=3_600, ge=1)
    memory_cache_enabled: bool = False
    memory_ttl_seconds: int = Field(default=300, ge=1)
    conversation_buffer_enabled: bool = False
    conversation_ttl_seconds: int = Field(default=86_400, ge=1)
    conversation_turns: int = Field(default=10, ge=0, le=100)
    """Turns of the conversation that the model is shown."""
    rate_limit_enabled: bool = False
    rate_limit_per_minute: int = Field(default=60, ge=1)

    chats_max_in_flight: int = Field(default=1000, ge=1)
    """Chats under way per process; the next one gets 503. At 3 s a reply two processes hold 400 a
    second with 600 each; the rest is for a burst."""
    pipeline: Pipeline = Pipeline.SEQUENTIAL
    memories_per_reply: int = Field(default=5, ge=1, le=50)

    llm_base_url: str
    """An OpenAI-compatible server; ends in /v1."""
    llm_model: str = "sim-chat"
    embedding_model: str = "sim-embed"
    llm_provider: str = "openai"
    """gen_ai.provider.name on spans and metrics."""
    llm_api_key: SecretStr | None = None
    llm_timeout_seconds: float = Field(default=30.0, gt=0)
    """For a reply as a whole, retries included; of a stream, for what the model takes of it."""
    embedding_timeout_seconds: float = Field(default=5.0, gt=0)
    llm_retries: int = Field(default=1, ge=0, le=5)
    llm_max_connections: int = Field(default=4000, ge=1)

    latency_profile: LatencyProfile = LatencyProfile.NATIVE
    latency_seed: int = 7

    api_key: SecretStr | None = None
    max_body_bytes: int = Field(default=65_536, ge=1)
    shutdown_seconds: int = Field(default=30, ge=0)
    log_level: str = "INFO"
    log_content: bool = False
    """Whether logs may hold the text of messages."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.redis_needed and self.redis_url is None:
            raise ValueError(
                "REDIS_URL is not set, but a setting needs Redis; set it, or turn off "
                "REDIS_ENABLED, PREFERENCES_CACHE_ENABLED, MEMORY_CACHE_ENABLED, "
                "CONVERSATION_BUFFER_ENABLED and RATE_LIMIT_ENABLED"
            )
        if self.db_pool_min > self.db_pool_max:
            raise ValueError(
                f"DB_POOL_MIN is {self.db_pool_min}, above DB_POOL_MAX = {self.db_pool_max}; "
                "lower the first"
            )
        return self

    @property
    def redis_needed(self) -> bool:
        """Whether any part wants Redis."""
        return (
            self.redis_enabled
            or self.preferences_cache_enabled
            or self.memory_cache_enabled
            or self.conversation_buffer_enabled
            or self.rate_limit_enabled
        )
