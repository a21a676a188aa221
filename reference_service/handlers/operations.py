"""`GET /healthz`, `/readyz` and `/metrics`: for operators and their tools."""

from __future__ import annotations

from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from reference_service.composition import Service
from reference_service.errors import ServiceError
from reference_service.handlers.dependencies import lifecycle_dep, service_dep
from reference_service.lifecycle import Lifecycle, Startup

router = APIRouter(tags=["operations"])
Parts = Annotated[Service, Depends(service_dep)]

_READY_TIMEOUT_SECONDS: Final = 0.5


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> dict[str, str]:
    """Answer whatever the other servers do."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Can it serve?",
    responses={503: {"description": "PostgreSQL does not answer, or start-up is not over."}},
)
async def readyz(service: Parts, life: Annotated[Lifecycle, Depends(lifecycle_dep)]) -> Response:
    """Answer 200 when start-up is over and PostgreSQL answers.

    Start-up is over when the tables are there and the caches are warm. A PostgreSQL that is only
    busy answers. Redis is only reported: chats go on without it.
    """
    answers = life.startup is Startup.DONE and await _answers(service)
    report = {
        "database": "ok" if answers else "unavailable",
        "redis": service.redis_state(),
        "startup": life.startup.value,
    }
    status = 200 if answers else 503
    return Response(orjson.dumps(report), status, media_type="application/json")


@router.get(
    "/metrics",
    summary="Metrics as Prometheus text",
    response_class=PlainTextResponse,
)
async def metrics(service: Parts) -> Response:
    """Return this process's metrics."""
    text = generate_latest(service.telemetry.prometheus)
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)


async def _answers(service: Service) -> bool:
    try:
        await service.database.ping(_READY_TIMEOUT_SECONDS)
    except ServiceError:
        return False
    return True
