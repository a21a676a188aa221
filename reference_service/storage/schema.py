"""The tables, and deterministic data for them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from psycopg.types.numeric import Int4

from reference_service.storage import vectors
from reference_service.storage.vectors import FloatArray

_EMBEDDING_INDEX: Final = (
    "CREATE INDEX IF NOT EXISTS memories_embedding ON memories "
    "USING hnsw (embedding vector_cosine_ops)"
)

_SCHEMA: Final = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SEQUENCE IF NOT EXISTS personality_versions;
CREATE TABLE IF NOT EXISTS personalities (
    name text PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    archetype text NOT NULL,
    system_prompt text NOT NULL,
    traits jsonb NOT NULL,
    row_version bigint NOT NULL DEFAULT nextval('personality_versions')
);
CREATE TABLE IF NOT EXISTS preferences (
    user_id text PRIMARY KEY,
    language text NOT NULL,
    tone text NOT NULL,
    reply_length text NOT NULL
);
CREATE TABLE IF NOT EXISTS memories (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL,
    content text NOT NULL,
    embedding vector({dimensions}) NOT NULL
);
CREATE INDEX IF NOT EXISTS memories_user ON memories (user_id);
{embedding_index};
CREATE TABLE IF NOT EXISTS turns (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL,
    personality_id uuid NOT NULL,
    idempotency_key text NOT NULL,
    fingerprint bytea NOT NULL,
    user_message text NOT NULL,
    reply text NOT NULL,
    emotion text NOT NULL,
    emotion_score double precision NOT NULL DEFAULT 0,
    memories_used integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, idempotency_key)
);
-- Tables made before these columns get them; turns stored until then keep the defaults.
ALTER TABLE turns ADD COLUMN IF NOT EXISTS emotion_score double precision NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN IF NOT EXISTS memories_used integer NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS turns_recent ON turns (user_id, personality_id, id DESC);
"""
TABLES: Final = ("personalities", "preferences", "memories", "turns")
"""What the service cannot do without."""
_LOCK: Final = 7_201_955_311
"""Any number: two services that start at once must not both create the tables."""

_ARCHETYPES: Final = ("wise_mentor", "cheerful_friend", "stoic_guide", "curious_scholar")
_TONES: Final = ("neutral", "warm", "playful", "formal")
_LANGUAGES: Final = ("en", "de", "fr", "es")
_LENGTHS: Final = ("short", "medium", "long")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """How much `seed` puts in."""

    personalities: int
    users: int
    memories_per_user: int
    seed: int
    dimensions: int


def init_db(url: str, dimensions: int) -> None:
    """Create what is missing; running it again changes nothing."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        connection.execute(
            _SCHEMA.format(dimensions=dimensions, embedding_index=_EMBEDDING_INDEX).encode()
        )


def personality_name(index: int) -> str:
    """Return the name of the personality at an index: `elara`, then `p00000`, `p00001`, ..."""
    return "elara" if index == 0 else f"p{index - 1:05d}"


def seed(url: str, filling: Filling) -> None:
    """Fill the tables; the same arguments give the same rows, and rows already there stay."""
    vectors.register()
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for table, columns, rows in (
            (
                "personalities",
                ("name", "id", "archetype", "system_prompt", "traits"),
                _personalities(filling),
            ),
            (
                "preferences",
                ("user_id", "language", "tone", "reply_length"),
                _preferences(filling),
            ),
        ):
            _copy_new(cursor, table, columns, rows)
        _seed_memories(cursor, filling)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE personalities, preferences, memories")


def has_personalities(url: str) -> bool:
    """Whether `seed` has run to its end: its rows appear in one transaction."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT EXISTS (SELECT FROM personalities)").fetchone()
    return bool(found and found[0])


def _copy_new(
    cursor: psycopg.Cursor[tuple[object, ...]],
    table: str,
    columns: tuple[str, ...],
    rows: Iterator[tuple[object, ...]],
) -> None:
    """Copy rows into a table; those whose key is taken stay out."""
    names = {
        "table": sql.Identifier(table),
        "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
    }
    cursor.execute(
        sql.SQL(
            "CREATE TEMP TABLE filling ON COMMIT DROP AS SELECT {columns} FROM {table} LIMIT 0"
        ).format(**names)
    )
    with cursor.copy(sql.SQL("COPY filling ({columns}) FROM STDIN").format(**names)) as copy:
        for row in rows:
            copy.write_row(row)
    cursor.execute(
        sql.SQL(
            "INSERT INTO {table} ({columns}) SELECT * FROM filling ON CONFLICT DO NOTHING"
        ).format(**names)
    )
    cursor.execute("DROP TABLE filling")


def _personalities(filling: Filling) -> Iterator[tuple[str, UUID, str, str, Jsonb]]:
    for index in range(filling.personalities + 1):
        rng = random.Random(f"{filling.seed}:personality:{index}")  # noqa: S311 - test data
        name = personality_name(index)
        archetype = _ARCHETYPES[0] if index == 0 else rng.choice(_ARCHETYPES)
        traits = {trait: round(rng.random(), 2) for trait in ("warmth", "humour", "candour")}
        prompt = f"You are {name.capitalize()}, a {archetype.replace('_', ' ')}. " * 4
        yield (
            name,
            UUID(int=rng.getrandbits(128), version=4),
            archetype,
            prompt.strip(),
            Jsonb(traits),
        )


def _preferences(filling: Filling) -> Iterator[tuple[str, str, str, str]]:
    for index in range(filling.users):
        rng = random.Random(f"{filling.seed}:user:{index}")  # noqa: S311 - test data
        yield f"u{index:05d}", rng.choice(_LANGUAGES), rng.choice(_TONES), rng.choice(_LENGTHS)


def _seed_memories(cursor: psycopg.Cursor[tuple[object, ...]], filling: Filling) -> None:
    """Copy memories of users that have none yet, with vectors of random direction."""
    row = cursor.execute("SELECT array_agg(DISTINCT user_id) FROM memories").fetchone()
    present = set(row[0] or ()) if row and isinstance(row[0], list) else set()
    if not present:  # built over all rows at once, the index takes a quarter of the time
        cursor.execute("DROP INDEX IF EXISTS memories_embedding")
    cursor.execute(
        """CREATE TEMP TABLE filling (id int, user_id text, content text, embedding real[])
        ON COMMIT DROP"""
    )
    with cursor.copy("COPY filling FROM STDIN (FORMAT BINARY)") as copy:
        for index in range(filling.users):
            user = f"u{index:05d}"
            if user in present:
                continue
            rng = random.Random(f"{filling.seed}:memories:{index}")  # noqa: S311 - test data
            for number in range(filling.memories_per_user):
                floats = [rng.gauss(0.0, 1.0) for _ in range(filling.dimensions)]
                vector = FloatArray(struct.pack(f"<{filling.dimensions}f", *floats))
                content = f"{user} remembers thing {number}: {rng.getrandbits(64):016x}"
                copy.write_row((Int4(number), user, content, vector))
    cursor.execute(
        """INSERT INTO memories (user_id, content, embedding)
        SELECT user_id, content, embedding::vector FROM filling ORDER BY user_id, id"""
    )
    cursor.execute(_EMBEDDING_INDEX)
