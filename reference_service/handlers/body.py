"""The body of `POST /chat`, read and checked in one pass."""

from __future__ import annotations

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from reference_service.models import ChatRequest


async def read_chat_request(request: Request) -> ChatRequest:
    """Return the request in the body, whatever its Content-Type: `curl -d` calls JSON a form.

    Raises RequestValidationError.
    """
    try:
        return ChatRequest.model_validate_json(await request.body())
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError(
            [{**detail, "loc": ("body", *detail["loc"])} for detail in details]
        ) from error
