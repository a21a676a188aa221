"""The names of what is recorded: OpenTelemetry semantic conventions 1.44, each once."""

from __future__ import annotations

from typing import Final

ERROR_TYPE: Final = "error.type"
STATUS_CODE: Final = "http.response.status_code"
DATABASE_STATUS: Final = "db.response.status_code"
RESEND_COUNT: Final = "http.request.resend_count"
CACHE_HIT: Final = "cache.hit"
CACHE_SOURCE: Final = "cache.source"
KEY: Final = "worthit.key"
EMULATED_NS: Final = "worthit.emulated_ns"
POOL_WAIT_NS: Final = "worthit.pool_wait_ns"
REDIS_HITS: Final = "worthit.redis.hits"
REDIS_MISSES: Final = "worthit.redis.misses"

PERSONALITY_LOOKUP: Final = "personality.lookup"
PREFERENCES_LOAD: Final = "preferences.load"
MEMORY_RETRIEVE: Final = "memory.retrieve"
EMOTION_DETECT: Final = "emotion.detect"
CONVERSATION_LOAD: Final = "conversation.load"
CONVERSATION_APPEND: Final = "conversation.append"

Attributes = dict[str, str | int]


def postgres(
    *, operation: str, collection: str, namespace: str, address: str, port: int
) -> Attributes:
    """Return what span and metric of a statement both say."""
    return _known(
        {
            "db.system.name": "postgresql",
            "db.namespace": namespace,
            "db.operation.name": operation,
            "db.collection.name": collection,
            "server.address": address,
            "server.port": port,
        }
    )


def redis(command: str, *, namespace: str, address: str, port: int) -> Attributes:
    """Return what a command's span says; `namespace` is the database's number."""
    return _known(
        {
            "db.system.name": "redis",
            "db.namespace": namespace,
            "db.operation.name": command,
            "server.address": address,
            "server.port": port,
        }
    )


def model(*, operation: str, model: str, provider: str, address: str, port: int) -> Attributes:
    """Return what span and metric of a model call both say."""
    return _known(
        {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "server.address": address,
            "server.port": port,
        }
    )


def _known(attributes: Attributes) -> Attributes:
    """Leave out what is not known: an attribute that is not there says so, an empty one lies."""
    return {key: value for key, value in attributes.items() if value}
