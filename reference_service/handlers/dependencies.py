"""FastAPI dependencies: the parts that the composition root put on the application."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import Header, Request

from reference_service.composition import Service
from reference_service.errors import UnauthorizedError
from reference_service.handlers.concurrency_limit import ConcurrencyLimit
from reference_service.lifecycle import Lifecycle
from reference_service.services.chat import ChatService
from reference_service.services.personality_service import PersonalityService


async def service_dep(request: Request) -> Service:
    """Return the process's parts."""
    service: Service = request.app.state.service
    return service


async def lifecycle_dep(request: Request) -> Lifecycle:
    """Return what knows whether start-up is over."""
    life: Lifecycle = request.app.state.life
    return life


async def chat_service_dep(request: Request) -> ChatService:
    """Return the chat service."""
    return (await service_dep(request)).chat


async def concurrency_limit_dep(request: Request) -> ConcurrencyLimit:
    """Return what bounds the chats under way."""
    limit: ConcurrencyLimit = request.app.state.concurrency_limit
    return limit


async def personality_service_dep(request: Request) -> PersonalityService:
    """Return the personality service."""
    return (await service_dep(request)).personalities


async def verified_key(
    request: Request,
    x_api_key: Annotated[str | None, Header(description="Demanded when API_KEY is set.")] = None,
) -> None:
    """Raise UnauthorizedError unless the key is right, or none is demanded."""
    expected = (await service_dep(request)).settings.api_key
    if expected is None:
        return
    given = (x_api_key or "").encode()
    if not secrets.compare_digest(given, expected.get_secret_value().encode()):
        raise UnauthorizedError
