"""`POST /chat`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Header
from fastapi.responses import Response

from reference_service.handlers.answers import documented
from reference_service.handlers.body import read_chat_request
from reference_service.handlers.concurrency_limit import ConcurrencyLimit
from reference_service.handlers.dependencies import (
    chat_service_dep,
    concurrency_limit_dep,
    verified_key,
)
from reference_service.handlers.event_stream import EventStream, Item
from reference_service.models import KEY_PATTERN, USER_PATTERN, ChatReply, ChatRequest
from reference_service.services.chat import ChatService

_BODY: Final = {
    "required": True,
    "content": {"application/json": {"schema": ChatRequest.model_json_schema()}},
}
_ANSWERED: Final[dict[str, Any]] = {
    "description": "The reply; with `stream`, events `delta`, then `done` (the reply) or `error`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}

router = APIRouter(tags=["chat"], dependencies=[Depends(verified_key)])


@router.post(
    "/chat",
    response_model=ChatReply,
    summary="Answer a message",
    responses={200: _ANSWERED, **documented(400, 401, 404, 413, 422, 429, 502, 503, 504)},
    openapi_extra={"requestBody": _BODY},
)
async def chat(
    service: Annotated[ChatService, Depends(chat_service_dep)],
    limit: Annotated[ConcurrencyLimit, Depends(concurrency_limit_dep)],
    request: Annotated[ChatRequest, Depends(read_chat_request)],
    x_user_id: Annotated[str, Header(pattern=USER_PATTERN)],
    idempotency_key: Annotated[str | None, Header(pattern=KEY_PATTERN)] = None,
) -> Response:
    """Answer a message of the user in `X-User-Id`.

    A 200 says that the turn is stored. Send the same `Idempotency-Key` again after an unclear end:
    the turn is stored once, and answered as it was the first time, whatever has changed since.
    Requests with one key at the same time each call the model; the turn stored first answers
    all, and of a stream `done` counts. Beyond CHATS_MAX_IN_FLIGHT chats under way in one process
    the answer is 503 at once, before the model has been asked.
    """
    if not request.stream:
        with limit:
            reply = await service.reply(x_user_id, request, idempotency_key)
        return Response(reply.model_dump_json().encode(), media_type="application/json")
    items = _inside(limit, service.stream(x_user_id, request, idempotency_key))
    first = await anext(items)  # what fails before the first piece has a status of its own
    return EventStream(first, items)


async def _inside(
    limit: ConcurrencyLimit, items: AsyncIterator[Item]
) -> AsyncGenerator[Item, None]:
    """Give the items while holding a place; closing this closes them, and their spans, too."""
    with limit:
        # An async generator is what a function with `yield` returns, whatever it is declared as.
        async with aclosing(cast("AsyncGenerator[Item, None]", items)) as opened:
            async for item in opened:
                yield item
