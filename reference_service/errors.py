"""The errors of serving a request, each with its HTTP response.

The sentence of an error is shown to the caller: it names what to do next and nothing about the
inside.
"""

from __future__ import annotations


class ServiceError(Exception):
    """A request cannot be served; carries the whole of its HTTP answer."""

    status: int = 503
    code: str = "unavailable"
    message: str = "The service cannot answer now; try again."
    retry_after_seconds: int | None = None

    def __init__(self, detail: str = "", *, retry_after_seconds: int | None = None) -> None:
        super().__init__(detail or self.message)
        if retry_after_seconds is not None:
            self.retry_after_seconds = retry_after_seconds


class DatabaseUnavailableError(ServiceError):
    """PostgreSQL refused, failed or took too long."""

    code = "database_unavailable"
    message = "The database does not answer; try again shortly."
    retry_after_seconds = 1


class DatabaseNotPreparedError(DatabaseUnavailableError):
    """PostgreSQL answers, but the tables are not there, or not for this user."""

    code = "database_not_prepared"
    message = "The database is not set up for the service yet; try again later."


class OverloadedError(ServiceError):
    """A bounded queue is full: waiting longer would help nobody."""

    code = "overloaded"
    message = "The service is at its limit; try again shortly."
    retry_after_seconds = 1


class ShedError(OverloadedError):
    """There was no place at the database for a lookup while Redis is away."""


class PersonalityNotFoundError(ServiceError):
    """No personality has this name."""

    status = 404
    code = "personality_not_found"
    message = "No personality has this name."


class RateLimitedError(ServiceError):
    """The user has used up the minute's requests."""

    status = 429
    code = "rate_limited"
    message = "Too many requests; wait as long as Retry-After says."
    retry_after_seconds = 60


class IdempotencyConflictError(ServiceError):
    """An idempotency key came back with another request."""

    status = 422
    code = "idempotency_key_reused"
    message = "This Idempotency-Key belongs to another message; use a new key."


class ModelError(ServiceError):
    """The model server gave no usable answer."""


class ModelUnavailableError(ModelError):
    """The model server refused the connection, or answered something that is no answer."""

    status = 502
    code = "model_unavailable"
    message = "The language model cannot be reached; try again."
    retry_after_seconds = 2


class ModelRefusedError(ModelError):
    """The model server refused what it was asked: the same again would be refused again."""

    status = 502
    code = "model_refused"
    message = "The language model refused the request; who runs the service finds why in its log."


class ModelOverloadedError(ModelError):
    """The model server asked for patience."""

    code = "model_overloaded"
    message = "The language model is overloaded; try again shortly."
    retry_after_seconds = 2


class ModelTimeoutError(ModelError):
    """The model server took longer than allowed."""

    status = 504
    code = "model_timeout"
    message = "The language model took too long; try again."


class UnauthorizedError(ServiceError):
    """The API key is missing or wrong."""

    status = 401
    code = "unauthorized"
    message = "Send a valid X-Api-Key."
