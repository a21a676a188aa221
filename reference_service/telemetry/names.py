"""The names of what is recorded: OpenTelemetry semantic conventions 1.44, each once."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import SpanKind

from reference_service.telemetry.spans import SpanShape

CACHE_HIT: Final = "cache.hit"
CACHE_SOURCE: Final = "cache.source"
KEY: Final = "worthit.key"
POOL_WAIT_NS: Final = "worthit.pool_wait_ns"
REDIS_HITS: Final = "worthit.redis.hits"
REDIS_MISSES: Final = "worthit.redis.misses"

PERSONALITY_LOOKUP: Final = SpanShape("personality.lookup")
PREFERENCES_LOAD: Final = SpanShape("preferences.load")
MEMORY_RETRIEVE: Final = SpanShape("memory.retrieve")
EMOTION_DETECT: Final = SpanShape("emotion.detect")
CONVERSATION_LOAD: Final = SpanShape("conversation.load")
CONVERSATION_APPEND: Final = SpanShape("conversation.append")


def postgres_shape(
    *, operation: str, collection: str, text: str, namespace: str, address: str = "", port: int = 0
) -> SpanShape:
    """Return the shape of a statement's span; `text` holds placeholders, never values."""
    summary = f"{operation} {collection}".strip()
    return SpanShape(
        summary,
        SpanKind.CLIENT,
        {
            "db.system.name": "postgresql",
            "db.operation.name": operation,
            "db.query.summary": summary,
            "db.query.text": text,
            **_known({"db.namespace": namespace, "db.collection.name": collection}),
            **_server(address, port),
        },
    )


def redis_shape(command: str, namespace: str, address: str = "", port: int = 0) -> SpanShape:
    """Return the shape of a command's span; `namespace` is the database's number."""
    return SpanShape(
        command,
        SpanKind.CLIENT,
        {
            "db.system.name": "redis",
            "db.namespace": namespace,
            "db.operation.name": command,
            **_server(address, port),
        },
    )


def _server(address: str, port: int) -> dict[str, str | int]:
    """Return where a client's calls go, as far as it is known."""
    return _known({"server.address": address, "server.port": port})


def model_shape(
    *, operation: str, model: str, provider: str, address: str, port: int
) -> SpanShape:
    """Return the shape of a model call's span: `chat {model}` or `embeddings {model}`."""
    return SpanShape(
        f"{operation} {model}",
        SpanKind.CLIENT,
        {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            **_server(address, port),
        },
    )


def _known(attributes: dict[str, str | int]) -> dict[str, str | int]:
    """Leave out what is not known: an attribute that is not there says so, an empty one lies."""
    return {key: value for key, value in attributes.items() if value}
