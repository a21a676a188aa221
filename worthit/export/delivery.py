"""Deliver many messages gently: few in flight, a bounded rate, patience when told to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from worthit.errors import PartError
from worthit.export.messages import Message
from worthit.export.transports import Answer, Transport, Verdict

FIRST_BACK_OFF_S: Final = 0.5
"""Wait after the first "not now" that names no time; doubled each time."""

LONGEST_BACK_OFF_S: Final = 30.0
"""No wait of our own choice is longer: a receiver that restarts is back by then."""

LONGEST_RETRY_AFTER_S: Final = 300.0
"""A receiver that asks for more than this is not waited for."""

ATTEMPTS: Final = 8
"""Tries of one message; with the back-offs above they last about a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How hard to push."""

    spans_per_s: float
    """Upper bound of the rate. Jaeger's own queue drops what it cannot store without saying so."""
    in_flight: int
    """Messages sent and not yet answered, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What became of the messages."""

    spans: int
    """Spans in messages that the endpoint took, less those it says it rejected."""
    rejected: int
    """Spans that the endpoint rejected out of messages it took."""
    rejected_why: str
    retries: int


class DeliveryError(PartError):
    """The endpoint refused, or stopped answering; the message says how far it got."""


class Delivery:
    """One replay under way.

    A wait that the receiver asks for holds every message, not only the one that was answered:
    the others would only be refused too.
    """

    def __init__(
        self,
        transport: Transport,
        endpoint: str,
        pace: Pace,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_progress: Callable[[int], None] = lambda _spans: None,
    ) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._pace = pace
        self._clock = clock
        self._sleep = sleep
        self._on_progress = on_progress
        self._slots = asyncio.Semaphore(pace.in_flight)
        self._hold_until = 0.0
        self._offered = 0
        self._spans = 0
        self._rejected = 0
        self._rejected_why = ""
        self._retries = 0

    async def run(self, messages: Iterable[Message]) -> Delivered:
        """Send all messages; returns when every one is answered.

        Raises
        ------
        DeliveryError
            When a message cannot be delivered; the others in flight are given up.
        """
        started = self._clock()
        try:
            async with asyncio.TaskGroup() as group:
                for message in messages:
                    await self._sleep_until(started + self._offered / self._pace.spans_per_s)
                    await self._slots.acquire()
                    self._offered += message.spans
                    group.create_task(self._deliver(message))
        except ExceptionGroup as group:
            # several messages may fail at once, each in its own way: one sentence is enough
            raise _telling(group) from None
        return Delivered(
            spans=self._spans,
            rejected=self._rejected,
            rejected_why=self._rejected_why,
            retries=self._retries,
        )

    async def _deliver(self, message: Message) -> None:
        try:
            answer = await self._until_taken(message)
        finally:
            self._slots.release()
        self._spans += message.spans - answer.rejected_spans
        self._rejected += answer.rejected_spans
        self._rejected_why = answer.reason or self._rejected_why
        self._on_progress(message.spans)

    async def _until_taken(self, message: Message) -> Answer:
        for attempt in range(ATTEMPTS):
            await self._sleep_until(self._hold_until)
            answer = await self._transport.send(message.payload)
            if answer.verdict is Verdict.TAKEN:
                return answer
            self._give_up_if_final(answer)
            if attempt < ATTEMPTS - 1:
                self._retries += 1
                wait = answer.retry_after_s
                if wait is None:
                    wait = min(FIRST_BACK_OFF_S * 2**attempt, LONGEST_BACK_OFF_S)
                self._hold_until = max(self._hold_until, self._clock() + wait)
        raise self._error(
            f"still did not take it after {ATTEMPTS} tries, the last answer: {answer.reason}"
        )

    def _give_up_if_final(self, answer: Answer) -> None:
        nothing_yet = self._spans == 0 and self._retries == 0
        if answer.verdict is Verdict.NEVER:
            raise self._error(f"refused the spans: {answer.reason}")
        if answer.verdict is Verdict.UNREACHABLE and nothing_yet:
            raise self._error(f"cannot be reached: {answer.reason}")
        if answer.retry_after_s is not None and answer.retry_after_s > LONGEST_RETRY_AFTER_S:
            raise self._error(f"asks for {answer.retry_after_s:,.0f} s of rest: {answer.reason}")

    def _error(self, what: str) -> DeliveryError:
        return DeliveryError(
            f"{self._endpoint} {what}. {self._spans:,} spans were sent before."
            " Check that an OTLP receiver listens there (Jaeger: http://HOST:4318) and start"
            " again; sending the same span twice does no harm."
        )

    async def _sleep_until(self, moment: float) -> None:
        while (wait := moment - self._clock()) > 0:
            await self._sleep(wait)


def _telling(group: ExceptionGroup[Exception]) -> Exception:
    """Give the error that says most: a foreseen one, else the first."""
    foreseen = group.subgroup(DeliveryError)
    error: Exception = foreseen or group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
