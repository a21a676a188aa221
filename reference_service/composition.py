"""The composition root: makes every part once and hands each its own.

What BACKGROUND's `get_personality_cache_dep()` did with a module-level singleton happens here: one cache a process, made only when
Redis is enabled.
"""

from __future__ import annotations

import logging
import os
import random
import time
from dataclasses import dataclass, field
from uuid import uuid4

from opentelemetry.sdk.resources import Resource

from reference_service.services.chat import ChatService
from reference_service.services.circuit_breaker import CircuitBreaker
from reference_service.services.conversation import RedisConversationBuffer, StoredConversation
from reference_service.services.database_gate import DatabaseGate
from reference_service.services.emotion import LexiconEmotionDetector
from reference_service.services.personality_cache import PersonalityCache
from reference_service.services.personality_service import PersonalityService
from reference_service.services.retry_budget import RetryBudget
from reference_service.services.stages import ConversationStage, VectorMemories
from reference_service.settings import Settings
from reference_service.storage import vectors
from reference_service.storage.database import Database, PreparedExecutor
from reference_service.storage.memories import MemoryStore
from reference_service.storage.model_client import ModelClient
from reference_service.storage.personalities import PersonalityStore
from reference_service.storage.preferences import PreferencesStore
from reference_service.storage.redis_link import RedisLink
from reference_service.storage.turns import TurnStore
from reference_service.telemetry import wire
from reference_service.telemetry.export import OtlpPoster, SpanExporter
from reference_service.telemetry.metrics import CacheMetrics, Registry
from reference_service.telemetry.spans import Tracer

_LOG = logging.getLogger(__name__)

_SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"


@dataclass(slots=True, kw_only=True)
class Service:
    """A process's parts."""

    settings: Settings
    registry: Registry
    tracer: Tracer
    exporter: SpanExporter | None
    database: Database
    redis: RedisLink | None
    models: ModelClient
    personalities: PersonalityService
    chat: ChatService
    started: bool = field(default=False)

    async def start(self) -> None:
        """Open connections and warm the cache; does not wait for servers that are away."""
        if self.exporter is not None:
            self.exporter.start()
        await self.database.open()
        if self.settings.redis_enabled:
            _LOG.info("✅ PersonalityCache: Connected to Redis")
        self.started = True

    async def stop(self) -> None:
        """Close everything in the reverse order; spans last, for closing makes some."""
        await self.personalities.close()
        await self.models.close()
        if self.redis is not None:
            await self.redis.close()
        await self.database.close()
        if self.exporter is not None:
            self.exporter.stop()

    def redis_state(self) -> str:
        """Return the breaker's state, or that Redis is not used."""
        return "unused" if self.redis is None else self.redis.breaker.state.value


def build(settings: Settings) -> Service:
    """Make the parts; nothing is connected yet."""
    vectors.register()
    registry = Registry()
    exporter = _exporter(settings)
    tracer = Tracer(None if exporter is None else exporter.add, random.Random(os.urandom(16)))  # noqa: S311 - ids, not secrets
    database = _database(settings, tracer)
    redis = _redis(settings, tracer)
    models = _models(settings, tracer)
    personalities = _personalities(settings, tracer, registry, database, redis)
    turns = TurnStore(database)
    chat = ChatService(
        tracer=tracer,
        pipeline=settings.pipeline,
        personalities=personalities,
        preferences=PreferencesStore(database),
        memories=VectorMemories(models, MemoryStore(database), settings.memories_per_reply),
        emotions=LexiconEmotionDetector(),
        conversation=_conversation(settings, registry, redis, turns),
        turns=turns,
        models=models,
    )
    return Service(
        settings=settings,
        registry=registry,
        tracer=tracer,
        exporter=exporter,
        database=database,
        redis=redis,
        models=models,
        personalities=personalities,
        chat=chat,
    )


def _exporter(settings: Settings) -> SpanExporter | None:
    endpoint = settings.otel_exporter_otlp_endpoint
    if not endpoint or settings.otel_sdk_disabled:
        return None
    attributes = {
        "service.name": settings.otel_service_name,
        "service.instance.id": str(uuid4()),
    }
    resource_attributes = Resource.create(attributes).attributes
    resource = wire.resource({key: str(value) for key, value in resource_attributes.items()})
    scope = wire.scope("reference_service", "1")

    def frame(spans: list[bytes]) -> bytes:
        return wire.trace_request(
            resource_body=resource, scope_body=scope, spans=spans, schema_url=_SCHEMA_URL
        )

    return SpanExporter(OtlpPoster(endpoint, "/v1/traces"), frame)


def _database(settings: Settings, tracer: Tracer) -> Database:
    return Database(
        settings.database_url.get_secret_value(),
        tracer=tracer,
        pool_min=settings.db_pool_min,
        pool_max=settings.db_pool_max,
        timeout_seconds=settings.db_pool_timeout_seconds,
        max_waiting=settings.db_pool_max_waiting,
        statement_timeout_ms=settings.db_statement_timeout_ms,
        executor=PreparedExecutor(),
    )


def _redis(settings: Settings, tracer: Tracer) -> RedisLink | None:
    if not settings.redis_needed or settings.redis_url is None:
        return None
    return RedisLink(
        settings.redis_url.get_secret_value(),
        tracer=tracer,
        breaker=CircuitBreaker("redis", time.monotonic),
        timeout_seconds=settings.redis_timeout_ms / 1000,
        max_connections=settings.redis_max_connections,
    )


def _models(settings: Settings, tracer: Tracer) -> ModelClient:
    key = settings.llm_api_key
    return ModelClient(
        settings.llm_base_url,
        tracer=tracer,
        budget=RetryBudget(),
        rng=random.Random(os.urandom(16)),  # noqa: S311 - jitter, not secrets
        chat_model=settings.llm_model,
        embedding_model=settings.embedding_model,
        dimensions=settings.embedding_dimensions,
        provider=settings.llm_provider,
        api_key=None if key is None else key.get_secret_value(),
        chat_timeout_seconds=settings.llm_timeout_seconds,
        embedding_timeout_seconds=settings.embedding_timeout_seconds,
        retries=settings.llm_retries,
        max_connections=settings.llm_max_connections,
    )


def _personalities(
    settings: Settings,
    tracer: Tracer,
    registry: Registry,
    database: Database,
    redis: RedisLink | None,
) -> PersonalityService:
    metrics = CacheMetrics(registry, "personality")
    cache = None
    if settings.redis_enabled and redis is not None:
        cache = PersonalityCache(
            redis,
            metrics=metrics,
            ttl_seconds=settings.personality_ttl_seconds,
            negative_ttl_seconds=settings.personality_negative_ttl_seconds,
            rng=random.Random(os.urandom(16)),  # noqa: S311 - jitter, not secrets
        )
    gate = DatabaseGate(
        places=settings.fallback_max_concurrency,
        max_waiting=settings.fallback_max_waiting,
        wait_seconds=settings.fallback_wait_seconds,
    )
    return PersonalityService(
        PersonalityStore(database), cache, gate=gate, metrics=metrics, tracer=tracer
    )


def _conversation(
    settings: Settings, registry: Registry, redis: RedisLink | None, turns: TurnStore
) -> ConversationStage:
    record = StoredConversation(turns, settings.conversation_turns)
    if not settings.conversation_buffer_enabled or redis is None:
        return record
    return RedisConversationBuffer(
        redis,
        record,
        metrics=CacheMetrics(registry, "conversation"),
        count=settings.conversation_turns,
        ttl_seconds=settings.conversation_ttl_seconds,
    )
