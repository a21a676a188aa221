"""The composition root: makes every part once and hands each what it needs.

What the write-up's `get_personality_cache_dep()` did with a module-level singleton happens here:
one personality cache a process, made only when Redis is enabled.
"""

from __future__ import annotations

import math
import os
import random
from dataclasses import dataclass

from reference_service import emulation
from reference_service.models import Memory, Preferences
from reference_service.resilience.circuit_breaker import CircuitBreaker
from reference_service.resilience.database_gate import DatabaseGate
from reference_service.resilience.retry_budget import RetryBudget
from reference_service.services import cached_stages
from reference_service.services.chat import ChatService
from reference_service.services.conversation import RedisConversationBuffer, StoredConversation
from reference_service.services.emotion import EmotionDetector, LexiconEmotionDetector
from reference_service.services.fallback import Fallback, GatedMemories, GatedPreferences
from reference_service.services.personality_cache import WRITER_TTL_SECONDS, PersonalityCache
from reference_service.services.personality_service import PersonalityService
from reference_service.services.rate_limit import RateLimiter
from reference_service.services.result_cache import ResultCache
from reference_service.services.stages import (
    ConversationStage,
    MemoryStage,
    NearestMemories,
    PreferencesStage,
    VectorMemories,
)
from reference_service.settings import LatencyProfile, Settings
from reference_service.storage import vectors
from reference_service.storage.database import Database, Executor, PreparedExecutor
from reference_service.storage.memories import MemoryStore
from reference_service.storage.model_client import ModelClient
from reference_service.storage.personalities import PersonalityStore
from reference_service.storage.preferences import PreferencesStore
from reference_service.storage.redis_link import RedisLink
from reference_service.storage.turns import TurnStore
from reference_service.telemetry.metrics import CacheMetrics, Instruments
from reference_service.telemetry.setup import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A process's parts, as far as handlers and the life cycle need them."""

    settings: Settings
    telemetry: Telemetry
    instruments: Instruments
    database: Database
    redis: RedisLink | None
    models: ModelClient
    memories: MemoryStore
    caches: tuple[ResultCache[Preferences] | ResultCache[list[Memory]], ...]
    buffer: RedisConversationBuffer | None
    personalities: PersonalityService
    chat: ChatService

    def redis_state(self) -> str:
        """Return the breaker's state, or that Redis is not used."""
        return "unused" if self.redis is None else self.redis.breaker.state.value


def build(settings: Settings, telemetry: Telemetry) -> Service:
    """Make the parts; nothing is connected yet."""
    vectors.register()
    return _Builder(settings, telemetry).service()


class _Builder:
    """Holds what several parts share while they are made."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._rng = random.Random(os.urandom(16))  # noqa: S311 - jitter, no secrets
        self._telemetry = telemetry
        self._tracer = telemetry.tracer
        self._instruments = Instruments(telemetry.meter)
        self._sampler = (
            emulation.Sampler(settings.latency_seed, lambda: self._rng.getrandbits(62))
            if settings.latency_profile is LatencyProfile.SEED
            else None
        )
        self._database = self._make_database()
        self._redis = self._make_redis()
        self._models = self._make_models()
        self._memory_store = MemoryStore(self._database)
        self._gate = DatabaseGate(
            places=settings.fallback_max_concurrency,
            max_waiting=settings.fallback_max_waiting,
            wait_seconds=settings.fallback_wait_seconds,
        )
        self._buffer: RedisConversationBuffer | None = None
        self._caches: list[ResultCache[Preferences] | ResultCache[list[Memory]]] = []

    def service(self) -> Service:
        """Return the whole."""
        personalities = self._make_personalities()
        chat = self._make_chat(personalities)
        return Service(
            settings=self._settings,
            telemetry=self._telemetry,
            instruments=self._instruments,
            database=self._database,
            redis=self._redis,
            models=self._models,
            memories=self._memory_store,
            caches=tuple(self._caches),
            buffer=self._buffer,
            personalities=personalities,
            chat=chat,
        )

    def _make_database(self) -> Database:
        settings = self._settings
        executor: Executor = PreparedExecutor()
        if self._sampler is not None:
            executor = emulation.EmulatedExecutor(executor, self._sampler)
        return Database(
            settings.database_url.get_secret_value(),
            tracer=self._tracer,
            pool_min=settings.db_pool_min,
            pool_max=settings.db_pool_max,
            timeout_seconds=settings.db_pool_timeout_seconds,
            max_waiting=settings.db_pool_max_waiting,
            statement_timeout_ms=settings.db_statement_timeout_ms,
            executor=executor,
            instruments=self._instruments,
        )

    def _make_redis(self) -> RedisLink | None:
        settings = self._settings
        if not settings.redis_needed or settings.redis_url is None:
            return None
        return RedisLink(
            settings.redis_url.get_secret_value(),
            tracer=self._tracer,
            breaker=CircuitBreaker("redis"),
            timeout_seconds=settings.redis_timeout_ms / 1000,
            max_connections=settings.redis_max_connections,
            instruments=self._instruments,
        )

    def _make_models(self) -> ModelClient:
        settings = self._settings
        key = settings.llm_api_key
        return ModelClient(
            settings.llm_base_url,
            tracer=self._tracer,
            instruments=self._instruments,
            budget=RetryBudget(),
            rng=self._rng,
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

    def _make_personalities(self) -> PersonalityService:
        metrics = CacheMetrics(self._instruments, "personality")
        return PersonalityService(
            PersonalityStore(self._database),
            self._personality_cache(metrics),
            fallback=Fallback(self._gate, metrics),
            metrics=metrics,
            tracer=self._tracer,
        )

    def _personality_cache(self, metrics: CacheMetrics) -> PersonalityCache | None:
        settings = self._settings
        if not settings.redis_enabled or self._redis is None:
            return None
        return PersonalityCache(
            self._redis,
            metrics=metrics,
            ttl_seconds=settings.personality_ttl_seconds,
            negative_ttl_seconds=settings.personality_negative_ttl_seconds,
            writer_ttl_seconds=_writer_ttl_seconds(settings),
            rng=self._rng,
        )

    def _make_chat(self, personalities: PersonalityService) -> ChatService:
        settings = self._settings
        turns = TurnStore(self._database)
        limiter = None
        if settings.rate_limit_enabled and self._redis is not None:
            limiter = RateLimiter(
                self._redis,
                per_minute=settings.rate_limit_per_minute,
                instruments=self._instruments,
            )
        return ChatService(
            tracer=self._tracer,
            pipeline=settings.pipeline,
            log_content=settings.log_content,
            limiter=limiter,
            personalities=personalities,
            preferences=self._preferences(),
            memories=self._memories(),
            emotions=self._emotions(),
            conversation=self._conversation(turns),
            turns=turns,
            models=self._models,
        )

    def _preferences(self) -> PreferencesStage:
        """Emulation goes around the cache: a hit saves the query, not the rest of the stage."""
        stage: PreferencesStage = PreferencesStore(self._database)
        if self._settings.preferences_cache_enabled and self._redis is not None:
            metrics = CacheMetrics(self._instruments, "preferences")
            cache = ResultCache(
                self._redis,
                encode=cached_stages.encode_preferences,
                decode=cached_stages.decode_preferences,
                metrics=metrics,
                ttl_seconds=self._settings.preferences_ttl_seconds,
                rng=self._rng,
            )
            self._caches.append(cache)
            gated = GatedPreferences(stage, Fallback(self._gate, metrics))
            stage = cached_stages.CachedPreferences(stage, gated, cache)
        if self._sampler is not None:
            stage = emulation.EmulatedPreferences(stage, self._sampler)
        return stage

    def _memories(self) -> MemoryStage:
        """Emulation goes inside the cache: a hit saves the embedding and the search, all of it."""
        stage = self._search(self._memory_store)
        if self._settings.memory_cache_enabled and self._redis is not None:
            metrics = CacheMetrics(self._instruments, "memory")
            cache = ResultCache(
                self._redis,
                encode=cached_stages.encode_memories,
                decode=cached_stages.decode_memories,
                metrics=metrics,
                ttl_seconds=self._settings.memory_ttl_seconds,
                rng=self._rng,
            )
            self._caches.append(cache)
            gated = GatedMemories(self._memory_store, Fallback(self._gate, metrics))
            stage = cached_stages.CachedMemories(stage, self._search(gated), cache)
        return stage

    def _search(self, store: NearestMemories) -> MemoryStage:
        stage: MemoryStage = VectorMemories(self._models, store, self._settings.memories_per_reply)
        return stage if self._sampler is None else emulation.EmulatedMemories(stage, self._sampler)

    def _emotions(self) -> EmotionDetector:
        detector: EmotionDetector = LexiconEmotionDetector()
        if self._sampler is not None:
            detector = emulation.EmulatedEmotions(detector, self._sampler)
        return detector

    def _conversation(self, turns: TurnStore) -> ConversationStage:
        settings = self._settings
        record = StoredConversation(turns, settings.conversation_turns)
        stage: ConversationStage = record
        if settings.conversation_buffer_enabled and self._redis is not None:
            stage = self._buffer = RedisConversationBuffer(
                self._redis,
                record,
                metrics=CacheMetrics(self._instruments, "conversation"),
                count=settings.conversation_turns,
                ttl_seconds=settings.conversation_ttl_seconds,
                rng=self._rng,
            )
        if self._sampler is not None:
            stage = emulation.EmulatedConversation(stage, self._sampler)
        return stage


def _writer_ttl_seconds(settings: Settings) -> int:
    """Return a time after which no statement is under way, with its waits and its retry."""
    waits = 2 * settings.db_pool_timeout_seconds
    statement = settings.db_statement_timeout_ms / 1000
    return max(WRITER_TTL_SECONDS, math.ceil(2 * (waits + statement)))
