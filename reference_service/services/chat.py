"""One chat request from message to stored turn, stage by stage."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from uuid import uuid4

from reference_service.errors import ServiceError
from reference_service.models import (
    ChatReply,
    ChatRequest,
    ChatTurn,
    Completion,
    Emotion,
    EmotionBody,
    Memory,
    Personality,
    Preferences,
    StoredTurn,
    Turn,
)
from reference_service.services.emotion import EmotionDetector
from reference_service.services.personality_service import PersonalityService
from reference_service.services.prompt import messages
from reference_service.services.stages import ConversationStage, MemoryStage, PreferencesStage
from reference_service.settings import Pipeline
from reference_service.storage.model_client import ModelClient
from reference_service.storage.turns import TurnStore
from reference_service.telemetry import names
from reference_service.telemetry.spans import Tracer

_LOG = logging.getLogger(__name__)


class ChatService:
    """Runs the stages; knows their order and which of them a reply can do without."""

    def __init__(
        self,
        *,
        tracer: Tracer,
        pipeline: Pipeline,
        personalities: PersonalityService,
        preferences: PreferencesStage,
        memories: MemoryStage,
        emotions: EmotionDetector,
        conversation: ConversationStage,
        turns: TurnStore,
        models: ModelClient,
    ) -> None:
        self._tracer = tracer
        self._pipeline = pipeline
        self._personalities = personalities
        self._preferences = preferences
        self._memories = memories
        self._emotions = emotions
        self._conversation = conversation
        self._turns = turns
        self._models = models

    async def reply(self, user_id: str, request: ChatRequest, key: str | None) -> ChatReply:
        """Answer a message; when this returns, the turn is stored, exactly once for each key.

        Raises ServiceError.
        """
        fingerprint = _fingerprint(request)
        personality = await self._personalities.get_personality(request.personality_name)
        if key is not None:
            earlier = await self._turns.find(user_id, key, fingerprint)
            if earlier is not None:
                return _reply(earlier, personality, (), replayed=True)
        turn = await self._prepare(user_id, request.message, personality)
        completion = await self._models.chat(messages(turn))
        return await self._store(turn, completion, key, fingerprint)

    async def _prepare(self, user_id: str, message: str, personality: Personality) -> ChatTurn:
        turn = ChatTurn(user_id=user_id, message=message, personality=personality)
        if self._pipeline is Pipeline.PARALLEL:
            async with asyncio.TaskGroup() as group:
                preferences = group.create_task(self._load_preferences(user_id))
                memories = group.create_task(self._retrieve_memories(user_id, message))
                emotion = group.create_task(self._detect_emotion(message))
                history = group.create_task(self._load_conversation(turn))
            turn.preferences, turn.memories = preferences.result(), memories.result()
            turn.emotion, turn.history = emotion.result(), history.result()
            return turn
        turn.preferences = await self._load_preferences(user_id)
        turn.memories = await self._retrieve_memories(user_id, message)
        turn.emotion = await self._detect_emotion(message)
        turn.history = await self._load_conversation(turn)
        return turn

    async def _load_preferences(self, user_id: str) -> Preferences:
        with self._tracer.span(names.PREFERENCES_LOAD):
            return await self._preferences.get(user_id)

    async def _retrieve_memories(self, user_id: str, message: str) -> list[Memory]:
        with self._tracer.span(names.MEMORY_RETRIEVE):
            return await self._memories.retrieve(user_id, message)

    async def _detect_emotion(self, message: str) -> Emotion:
        with self._tracer.span(names.EMOTION_DETECT):
            return await self._emotions.detect(message)

    async def _load_conversation(self, turn: ChatTurn) -> list[Turn]:
        with self._tracer.span(names.CONVERSATION_LOAD):
            return await self._conversation.load(turn.user_id, turn.personality.id)

    async def _store(
        self, turn: ChatTurn, completion: Completion, key: str | None, fingerprint: bytes
    ) -> ChatReply:
        said = Turn(user_message=turn.message, reply=completion.text)
        with self._tracer.span(names.CONVERSATION_APPEND):
            stored = await self._turns.append(
                user_id=turn.user_id,
                personality_id=turn.personality.id,
                key=key or uuid4().hex,
                fingerprint=fingerprint,
                turn=said,
                emotion=turn.emotion.label,
            )
            replayed = stored.reply != completion.text
            if not replayed:
                await self._conversation.remember(turn.user_id, turn.personality.id, said)
        return _reply(
            stored, turn.personality, turn.memories, replayed=replayed, emotion=turn.emotion
        )


def _fingerprint(request: ChatRequest) -> bytes:
    asked = f"{request.personality_name}\n{request.message}"
    return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).digest()


def _reply(
    stored: StoredTurn,
    personality: Personality,
    memories: list[Memory] | tuple[()],
    *,
    replayed: bool,
    emotion: Emotion | None = None,
) -> ChatReply:
    return ChatReply.model_construct(
        turn_id=stored.id,
        reply=stored.reply,
        personality_id=personality.id,
        emotion=EmotionBody.model_construct(
            label=stored.emotion, score=emotion.score if emotion else 0.0
        ),
        memories_used=len(memories),
        replayed=replayed,
    )


__all__ = ["AsyncIterator", "ChatService", "ServiceError"]
