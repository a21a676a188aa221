"""The values that the service's parts exchange, and the HTTP bodies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
"""A personality's name: part of a Redis key and of a path, so nothing that means something in
either."""
USER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$"
KEY_PATTERN = r"^[A-Za-z0-9_.:-]{1,128}$"
TEXT_PATTERN = r"^[^\x00]*$"
"""Any text without NUL, which PostgreSQL cannot store."""
MESSAGE_MAX_CHARACTERS = 8_000
"""Longest message; some 2,000 tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Personality:
    """A personality as stored."""

    id: UUID
    name: str
    archetype: str
    system_prompt: str
    traits: dict[str, Any]
    row_version: int
    """Grows with every write of this name, also across deletion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """How a user wants to be answered."""

    language: str = "en"
    tone: str = "neutral"
    reply_length: str = "medium"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Something remembered about a user, and how far it is from the message."""

    content: str
    distance: float
    """Cosine distance, 0 to 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message and its reply."""

    id: int
    """Grows with every turn stored."""
    user_message: str
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTurn:
    """A turn as PostgreSQL has it."""

    id: int
    personality_id: UUID
    reply: str
    emotion: Emotion
    memories_used: int
    created: bool
    """Whether this very write made it; if not, an earlier one with the same key did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emotion:
    """What a message sounds like."""

    label: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What the language model answered; None where it did not say."""

    text: str
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None


@dataclass(slots=True, kw_only=True)
class ChatTurn:
    """All that the stages found out about one message."""

    user_id: str
    message: str
    personality: Personality
    preferences: Preferences = field(default_factory=Preferences)
    memories: list[Memory] = field(default_factory=list)
    emotion: Emotion = field(default_factory=lambda: Emotion(label="neutral", score=0.0))
    history: list[Turn] = field(default_factory=list)


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class ChatRequest(BaseModel):
    """A message to a personality."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"message": "Hi", "personality_name": "elara"}]},
    )

    message: Annotated[
        str,
        StringConstraints(min_length=1, max_length=MESSAGE_MAX_CHARACTERS, pattern=TEXT_PATTERN),
    ]
    personality_name: Name
    stream: bool = Field(default=False, description="Answer with server-sent events.")


class EmotionBody(BaseModel):
    """What the message sounds like."""

    label: str
    score: float


class ChatReply(BaseModel):
    """The reply; once it is sent, the turn is stored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "turn_id": 1,
                    "reply": "Hello.",
                    "personality_id": "a1b2c3d4-0000-4000-8000-000000000000",
                    "emotion": {"label": "neutral", "score": 0.0},
                    "memories_used": 5,
                    "replayed": False,
                }
            ]
        }
    )

    turn_id: int
    reply: str
    personality_id: UUID
    emotion: EmotionBody
    memories_used: int
    replayed: bool = Field(
        default=False, description="Whether an earlier request with this Idempotency-Key made it."
    )


TraitText = Annotated[str, StringConstraints(max_length=1_000, pattern=TEXT_PATTERN)]
TraitNumber = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
"""A degree. Bounded: PostgreSQL's jsonb writes 1e84 as an integer of 85 digits, which no JSON
library takes for a number again."""


class PersonalityConfig(BaseModel):
    """What `PUT /personalities/{name}` sets."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "archetype": "wise_mentor",
                    "system_prompt": "You are Elara, patient and kind.",
                    "traits": {"warmth": 0.9},
                }
            ]
        },
    )

    archetype: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=TEXT_PATTERN)]
    system_prompt: Annotated[
        str, StringConstraints(min_length=1, max_length=4_000, pattern=TEXT_PATTERN)
    ]
    traits: dict[TraitText, TraitNumber | TraitText | bool] = Field(
        default_factory=dict, max_length=64
    )


class PersonalityBody(PersonalityConfig):
    """A personality as `GET /personalities/{name}` shows it."""

    model_config = ConfigDict(extra="ignore")

    id: UUID
    name: str
    row_version: int


class ErrorBody(BaseModel):
    """Every answer that is not a success."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": "overloaded",
                    "message": "The service is at its limit; try again shortly.",
                }
            ]
        }
    )

    error: str = Field(description="One word for programs.")
    message: str = Field(description="One sentence for people.")
