"""The ASGI application: routes, error answers, start and stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp

from reference_service.composition import Service, build
from reference_service.handlers import answers, chat, operations, personalities
from reference_service.handlers.body_limit import BodyLimit
from reference_service.handlers.concurrency_limit import ConcurrencyLimit
from reference_service.handlers.request_span import RequestSpan
from reference_service.lifecycle import Lifecycle
from reference_service.settings import Settings
from reference_service.telemetry import logs, setup


def create_app(service: Service) -> ASGIApp:
    """Return the application around a process's parts."""
    life = Lifecycle(service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await life.start()
        try:
            yield
        finally:
            await life.stop()

    app = FastAPI(
        title="Reference chat service",
        version="1.0.0",
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = service
    app.state.life = life
    app.state.concurrency_limit = ConcurrencyLimit(
        service.settings.chats_max_in_flight, service.instruments
    )
    answers.register(app)
    for module in (chat, personalities, operations):
        app.include_router(module.router)
    limited = BodyLimit(app, max_bytes=service.settings.max_body_bytes)
    return RequestSpan(limited, tracer=service.telemetry.tracer, instruments=service.instruments)


def from_environment() -> ASGIApp:
    """Return the application as the environment describes it; what each worker process calls."""
    settings = Settings()  # type: ignore[call-arg]  # the environment has them
    logs.configure(settings.log_level)
    return create_app(build(settings, setup.from_environment()))
