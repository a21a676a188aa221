"""One chat request from message to stored turn, stage by stage."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from uuid import uuid4

from opentelemetry.trace import Span, Tracer

from reference_service.errors import ModelError, ServiceError, ShedError
from reference_service.models import (
    ChatReply,
    ChatRequest,
    ChatTurn,
    Emotion,
    EmotionBody,
    Memory,
    Preferences,
    StoredTurn,
    Turn,
)
from reference_service.services.emotion import EmotionDetector
from reference_service.services.personality_service import PersonalityService
from reference_service.services.prompt import messages
from reference_service.services.rate_limit import RateLimiter
from reference_service.services.stages import ConversationStage, MemoryStage, PreferencesStage
from reference_service.settings import Pipeline
from reference_service.storage.model_client import ModelClient
from reference_service.storage.turns import TurnStore
from reference_service.telemetry import names
from reference_service.telemetry.keys import hashed_key
from reference_service.telemetry.spans import mark_failed, recorded

_LOG = logging.getLogger(__name__)


class ChatService:
    """Runs the stages; knows their order and which of them a reply can do without."""

    def __init__(
        self,
        *,
        tracer: Tracer,
        pipeline: Pipeline,
        log_content: bool,
        limiter: RateLimiter | None,
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
        self._log_content = log_content
        self._limiter = limiter
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
        earlier = await self._earlier(user_id, request, key)
        if earlier is not None:
            return earlier
        turn = await self._begin(user_id, request)
        await self._prepare(turn)
        completion = await self._models.chat(messages(turn))
        return await self._store(turn, completion.text, key)

    async def stream(
        self, user_id: str, request: ChatRequest, key: str | None
    ) -> AsyncIterator[str | ChatReply]:
        """Answer a message piece by piece; the last item is the reply as stored.

        Raises ServiceError, before the first piece or between two.
        """
        earlier = await self._earlier(user_id, request, key)
        if earlier is not None:
            yield earlier.reply
            yield earlier
            return
        turn = await self._begin(user_id, request)
        await self._prepare(turn)
        async with self._models.stream(messages(turn)) as streamed:
            async for piece in streamed:
                yield piece
        yield await self._store(turn, streamed.completion().text, key)

    async def _begin(self, user_id: str, request: ChatRequest) -> ChatTurn:
        if self._limiter is not None:
            await self._limiter.check(user_id)
        personality = await self._personalities.get_personality(request.personality_name)
        return ChatTurn(user_id=user_id, message=request.message, personality=personality)

    async def _earlier(
        self, user_id: str, request: ChatRequest, key: str | None
    ) -> ChatReply | None:
        """Return the reply to an earlier request with this key, if there was one.

        Looked up before all else: a turn that is stored is answered, though by now the user may
        be at the limit or the personality gone.
        """
        if key is None:
            return None
        fingerprint = _fingerprint(request.personality_name, request.message)
        stored = await self._turns.find(user_id, key, fingerprint)
        if stored is None:
            return None
        with recorded(self._tracer, names.CONVERSATION_APPEND):
            await self._remember(user_id, request.message, stored)
        return _reply(stored)

    async def _prepare(self, turn: ChatTurn) -> None:
        """Run the stages that do not need each other, one after the other or at once."""
        if self._pipeline is Pipeline.SEQUENTIAL:
            turn.preferences = await self._load_preferences(turn)
            turn.memories = await self._retrieve_memories(turn)
            turn.emotion = await self._detect_emotion(turn)
            turn.history = await self._load_conversation(turn)
            return
        try:
            async with asyncio.TaskGroup() as group:
                preferences = group.create_task(self._load_preferences(turn))
                memories = group.create_task(self._retrieve_memories(turn))
                emotion = group.create_task(self._detect_emotion(turn))
                history = group.create_task(self._load_conversation(turn))
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from group_error
        turn.preferences, turn.memories = preferences.result(), memories.result()
        turn.emotion, turn.history = emotion.result(), history.result()

    async def _load_preferences(self, turn: ChatTurn) -> Preferences:
        with recorded(self._tracer, names.PREFERENCES_LOAD) as span:
            span.set_attribute(names.KEY, hashed_key(turn.user_id))
            return await self._preferences.get(turn.user_id)

    async def _retrieve_memories(self, turn: ChatTurn) -> list[Memory]:
        """Return memories; none when they cannot be had, for a reply can do without."""
        with recorded(self._tracer, names.MEMORY_RETRIEVE) as span:
            span.set_attribute(names.KEY, hashed_key(turn.user_id, turn.message))
            try:
                return await self._memories.retrieve(turn.user_id, turn.message)
            except (ModelError, ShedError) as error:
                _do_without(span, "memories", error)
                return []

    async def _detect_emotion(self, turn: ChatTurn) -> Emotion:
        with recorded(self._tracer, names.EMOTION_DETECT) as span:
            try:
                return await self._emotions.detect(turn.message)
            except ModelError as error:
                _do_without(span, "emotion", error)
                return turn.emotion

    async def _load_conversation(self, turn: ChatTurn) -> list[Turn]:
        with recorded(self._tracer, names.CONVERSATION_LOAD):
            return await self._conversation.load(turn.user_id, turn.personality.id)

    async def _store(self, turn: ChatTurn, text: str, key: str | None) -> ChatReply:
        """Store the turn; a concurrent request with the same key may have been first."""
        with recorded(self._tracer, names.CONVERSATION_APPEND):
            stored = await self._append(turn, text, key or uuid4().hex)
            if self._log_content:  # asked for by LOG_CONTENT, never otherwise
                _LOG.info(
                    "Turn %d", stored.id, extra={"said": turn.message, "reply": stored.reply}
                )
            await self._remember(turn.user_id, turn.message, stored)
        return _reply(stored)

    async def _append(self, turn: ChatTurn, text: str, key: str) -> StoredTurn:
        try:
            return await self._turns.append(
                user_id=turn.user_id,
                personality_id=turn.personality.id,
                key=key,
                fingerprint=_fingerprint(turn.personality.name, turn.message),
                user_message=turn.message,
                reply=text,
                emotion=turn.emotion,
                memories_used=len(turn.memories),
            )
        except BaseException:  # it may be stored nevertheless: the answer alone may be lost
            await asyncio.shield(self._conversation.forget(turn.user_id, turn.personality.id))
            raise

    async def _remember(self, user_id: str, message: str, stored: StoredTurn) -> None:
        """Take note of a turn, also of one stored before: who stored it may not have come to."""
        said = Turn(id=stored.id, user_message=message, reply=stored.reply)
        await self._conversation.remember(user_id, stored.personality_id, said)


def _fingerprint(personality_name: str, message: str) -> bytes:
    return hashlib.sha256(f"{personality_name}\n{message}".encode()).digest()


def _do_without(span: Span, what: str, error: ServiceError) -> None:
    mark_failed(span, type(error).__qualname__)
    _LOG.warning("Replying without %s: %s", what, error)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure to report of several: one that has an answer of its own, else any."""
    known = group.subgroup(ServiceError)
    found: BaseException = known if known is not None else group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _reply(stored: StoredTurn) -> ChatReply:
    """Return the answer: all of it as stored, so that every answer to a key is the same."""
    return ChatReply(
        turn_id=stored.id,
        reply=stored.reply,
        personality_id=stored.personality_id,
        emotion=EmotionBody(label=stored.emotion.label, score=stored.emotion.score),
        memories_used=stored.memories_used,
        replayed=not stored.created,
    )
