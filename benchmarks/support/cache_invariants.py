"""Checks of the personality cache's invariants: small in tests, full size in a benchmark."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from reference_service.composition import Service
from reference_service.errors import OverloadedError
from reference_service.models import PersonalityConfig
from reference_service.storage.personalities import PersonalityStore

AT_ONCE = 100
"""Lookups in flight together."""

CANCELLED = 0.3
"""The share of callers who leave."""

LEFT_AFTER_SECONDS = 0.002
"""Until when they do: a lookup takes about as long."""

READERS = 3
"""Of each of the two instances that race."""


async def cancelled_lookups(
    parts: Service,
    names: Sequence[str],
    *,
    lookups: int,
    flush: Callable[[], Awaitable[None]],
    flush_every: int,
) -> Counter[str]:
    """Look names up while callers leave at any moment; return how the lookups ended.

    `right`, `wrong` (another name's personality: must be 0), `cancelled` and `shed`.
    """
    rng = random.Random(7)
    ended: Counter[str] = Counter()

    async def one(name: str) -> None:
        task = asyncio.create_task(parts.personalities.get_personality(name))
        if rng.random() < CANCELLED:
            await asyncio.sleep(rng.random() * LEFT_AFTER_SECONDS)
            task.cancel()
        try:
            ended["right" if (await task).name == name else "wrong"] += 1
        except asyncio.CancelledError:
            ended["cancelled"] += 1
        except OverloadedError:
            ended["shed"] += 1

    for start in range(0, lookups, AT_ONCE):
        if start % flush_every == 0:
            await flush()
        await asyncio.gather(*(one(rng.choice(names)) for _ in range(AT_ONCE)))
    return ended


async def races(writer: Service, reader: Service, *, writes: int) -> tuple[int, int]:
    """Write through one instance while both read; return stale reads (must be 0) and all reads.

    A read is stale when it gives less than what PostgreSQL had committed before it began.
    """
    config = PersonalityConfig(archetype="raced", system_prompt="You are raced.")
    await writer.personalities.put("raced", config)
    stale = reads = 0

    async def write() -> None:
        for _ in range(writes):
            await writer.personalities.put("raced", config)

    async def read(parts: Service) -> None:
        nonlocal stale, reads
        store = PersonalityStore(parts.database)
        while not writing.done():
            committed = await store.get("raced")
            found = await parts.personalities.get_personality("raced")
            stale += committed is not None and found.row_version < committed.row_version
            reads += 1

    writing = asyncio.create_task(write())
    await asyncio.gather(writing, *(read(one) for one in (reader, writer) * READERS))
    await writer.personalities.delete("raced")
    return stale, reads
