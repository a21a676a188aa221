"""`GET`, `PUT` and `DELETE /personalities/{name}`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Path
from fastapi.responses import Response

from reference_service.handlers.answers import documented
from reference_service.handlers.dependencies import personality_service_dep, verified_key
from reference_service.models import NAME_PATTERN, Personality, PersonalityBody, PersonalityConfig
from reference_service.services.personality_service import PersonalityService

router = APIRouter(
    prefix="/personalities/{name}", tags=["personalities"], dependencies=[Depends(verified_key)]
)
Name = Annotated[str, Path(pattern=NAME_PATTERN, examples=["elara"])]
Personalities = Annotated[PersonalityService, Depends(personality_service_dep)]


def _body(personality: Personality) -> Response:
    return Response(orjson.dumps(asdict(personality)), media_type="application/json")


@router.get(
    "",
    response_model=PersonalityBody,
    summary="Look a personality up",
    responses=documented(401, 404, 422, 503),
)
async def get(name: Name, personalities: Personalities) -> Response:
    """Return a personality; the lookup of `POST /chat` alone."""
    return _body(await personalities.get_personality(name))


@router.put(
    "",
    response_model=PersonalityBody,
    summary="Create or replace a personality",
    responses=documented(400, 401, 413, 422, 503),
)
async def put(name: Name, config: PersonalityConfig, personalities: Personalities) -> Response:
    """Store a personality; no lookup that begins after the answer sees the old one."""
    return _body(await personalities.put(name, config))


@router.delete(
    "", status_code=204, summary="Delete a personality", responses=documented(401, 404, 422, 503)
)
async def delete(name: Name, personalities: Personalities) -> Response:
    """Delete a personality."""
    await personalities.delete(name)
    return Response(status_code=204)
