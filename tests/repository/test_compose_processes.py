"""The processes of docker-compose.yml, started by hand with its own commands and environment.

No container engine is needed: PostgreSQL and Redis are the embedded ones (Redis with deploy/'s
configuration and start script), the collector's place is taken by the recorder, and every name and
port of the Compose network becomes a free port of 127.0.0.1. The rest is taken from the file.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import redis

from analysis import traces
from tests.support.project import compose_file
from tests.support.project.source_tree import ROOT
from worthit.environment.postgres import Postgres
from worthit.environment.redis import _binary
from worthit.environment.server import answers
from worthit.process.supervision import Process, Ready
from worthit.process.workspace import Workspace

pytestmark = pytest.mark.integration

SETTINGS = {
    "POSTGRES_PASSWORD": "pg-secret",
    "REDIS_PASSWORD": "redis-secret",
    "JUPYTER_TOKEN": "token",
    "LATENCY_PROFILE": "native",
    "PERSONALITIES": "60",
    "USERS": "200",
    "MEMORIES_PER_USER": "2",
}
"""What a .env would hold; small, and without emulated waiting, for the sake of time."""

HEALTH = {
    "recorder": ("recorder", 4318, "/healthz"),
    "simulator": ("simulator", 8080, "/healthz"),
    "service": ("service", 8000, "/readyz"),
    "locust-master": ("locust-master", 8089, "/"),
}
"""Where each one's health check in the file asks."""

REQUESTS_WANTED = 8

IN_MEMORY = "/tmp/redis.conf"  # noqa: S108 - a path inside the container, taken from the file


@dataclass(kw_only=True)
class ByHand:
    """The Compose network on loopback."""

    workspace: Workspace
    postgres_url: str
    ports: dict[tuple[str, int], int]
    """(service, port inside its container) -> port of 127.0.0.1."""

    def here(self, text: str) -> str:
        """``text`` of the file with names, ports and paths of containers replaced."""
        filled = compose_file.filled(text, SETTINGS)
        if filled.startswith("postgresql://"):
            return self.postgres_url
        for name, port in self.ports:
            host = {"service": "chat", "recorder": "(?:recorder|collector)"}.get(name, name)
            filled = re.sub(
                rf"(?<=[/@]){host}:{port}\b", f"127.0.0.1:{self.at(name, port)}", filled
            )
        filled = filled.replace("0.0.0.0", "127.0.0.1").replace("locust-master", "127.0.0.1")
        return filled.replace("/recorded", str(self.workspace.path))

    def at(self, name: str, port: int) -> int:
        """The loopback port of a container's port."""
        return self.ports[name, port]

    def command(self, name: str) -> list[str]:
        """The service's command for here: this interpreter, ports of loopback."""
        raw = compose_file.services()[name]["command"]
        words = [self.here(word) for word in (shlex.split(raw) if isinstance(raw, str) else raw)]
        mine = {
            str(port): str(here) for (owner, port), here in self.ports.items() if owner == name
        }
        words = [mine.get(word, word) for word in words]
        programs = {
            "python": sys.executable,
            "locust": str(Path(sys.executable).with_name("locust")),
        }
        return [programs.get(words[0], words[0]), *words[1:]]

    def environment(self, name: str) -> dict[str, str]:
        """The service's environment for here, and what its image sets."""
        raw = compose_file.services()[name].get("environment", {})
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        image = {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        return image | {key: self.here(str(value)) for key, value in raw.items()}

    async def start(
        self, name: str, *more: str, called: str | None = None, ready: Ready | None = None
    ) -> Process:
        """Start one service of the file; ready when its health check's address answers."""
        if ready is None and name in HEALTH:
            owner, port, path = HEALTH[name]
            ready = answers(f"http://127.0.0.1:{self.at(owner, port)}{path}")
        return await self.workspace.start(
            called or name,
            [*self.command(name), *more],
            env=self.environment(name),
            ready=ready,
            timeout_seconds=60,
            cwd=ROOT if name.startswith("locust") else None,
        )


async def start_redis(by_hand: ByHand) -> redis.Redis:
    """Redis by the file's own shell script and configuration, on a free port."""
    port = by_hand.at("redis", 6379)
    folder = by_hand.workspace.path
    conf = (ROOT / "deploy/redis/redis.conf").read_text(encoding="utf-8")
    conf = conf.replace("port 6379", f"port {port}").replace("bind * -::*", "bind 127.0.0.1")
    (folder / "redis.conf").write_text(conf.replace("dir /data", f"dir {folder}"))
    shell, flag, script = compose_file.command("redis", SETTINGS)
    script = script.replace("/etc/redis/redis.conf", str(folder / "redis.conf"))
    script = script.replace(IN_MEMORY, str(folder / "with-password.conf"))
    script = script.replace("exec redis-server", f"exec {_binary()}")
    client = redis.Redis(port=port, password=SETTINGS["REDIS_PASSWORD"], decode_responses=True)

    async def ready() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    environment = {"PATH": os.defpath, **compose_file.environment("redis", SETTINGS)}
    await by_hand.workspace.start("redis", [shell, flag, script], env=environment, ready=ready)
    return client


@asynccontextmanager
async def network() -> AsyncIterator[ByHand]:
    """A workspace with PostgreSQL in it and a port for everything else."""
    async with Workspace() as workspace, Postgres(workspace) as postgres:
        inside = [
            ("redis", 6379),
            ("recorder", 4317),
            ("recorder", 4318),
            ("simulator", 8080),
            ("service", 8000),
            ("locust-master", 8089),
            ("locust-master", 5557),
        ]
        ports = {place: workspace.free_port() for place in inside}
        yield ByHand(workspace=workspace, postgres_url=postgres.url(), ports=ports)


async def run_to_end(argv: list[str], environment: dict[str, str], cwd: Path) -> tuple[int, str]:
    """Run a program; its exit code and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=environment,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


def get(url: str, form: dict[str, str] | None = None) -> bytes:
    """GET, or POST of a form."""
    data = urlencode(form).encode() if form is not None else None
    with urllib.request.urlopen(url, data=data, timeout=10) as reply:  # noqa: S310 - loopback
        body: bytes = reply.read()
    return body


def page(by_hand: ByHand) -> str:
    """Locust's page."""
    return f"http://127.0.0.1:{by_hand.at('locust-master', 8089)}"


async def start_locust(by_hand: ByHand) -> None:
    """The master and as many workers as the file asks for, by its commands."""
    bind = str(by_hand.at("locust-master", 5557))
    web = ["--web-host", "127.0.0.1", "--web-port", str(by_hand.at("locust-master", 8089))]
    count: int = compose_file.services()["locust-worker"]["scale"]
    await by_hand.start("locust-master", *web, "--master-bind-port", bind)
    for number in range(count):
        await by_hand.start("locust-worker", "--master-port", bind, called=f"worker-{number}")
    await until(lambda: workers(page(by_hand)) == count)


async def load_with_locust(by_hand: ByHand) -> dict[str, Any]:
    """A few requests, started and stopped as the page's buttons do it; Locust's statistics."""
    host = f"http://127.0.0.1:{by_hand.at('service', 8000)}"
    wanted = {"user_count": "2", "spawn_rate": "2", "user_classes": "chat", "host": host}
    get(f"{page(by_hand)}/swarm", wanted)
    await until(lambda: requests_done(page(by_hand)) >= REQUESTS_WANTED)
    statistics: dict[str, Any] = json.loads(get(f"{page(by_hand)}/stats/requests"))
    get(f"{page(by_hand)}/stop", {})
    return statistics


async def fill_database(by_hand: ByHand) -> None:
    """The one-shot service, to its end."""
    argv, environment = by_hand.command("init"), by_hand.environment("init")
    code, printed = await run_to_end(argv, environment, by_hand.workspace.path)
    assert code == 0, printed


def workers(page: str) -> int:
    """How many workers the master sees."""
    return len(json.loads(get(f"{page}/stats/requests")).get("workers", []))


def requests_done(page: str) -> int:
    """Requests that the master has counted."""
    rows = json.loads(get(f"{page}/stats/requests"))["stats"]
    return max(
        (int(row["num_requests"]) for row in rows if row["name"] == "Aggregated"), default=0
    )


async def until(true: Callable[[], bool], seconds: float = 40) -> None:
    """Wait until the callable says yes."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.2)


@pytest.mark.timeout(120)
async def test_the_set_works_by_its_own_commands() -> None:
    """Set-up, service, simulator, recorder, Locust and the write-up's checks work as written."""
    async with network() as by_hand:
        # All at once where Compose would wait, for the sake of time.
        cache, *_ = await asyncio.gather(
            start_redis(by_hand),
            by_hand.start("recorder"),
            by_hand.start("simulator"),
            fill_database(by_hand),
            start_locust(by_hand),
        )
        service = await by_hand.start("service")
        reply = chat_as_the_write_up_does(by_hand)
        statistics = await load_with_locust(by_hand)
        script = await run_to_end(*redis_cache_script(by_hand))
        keys = set(cache.keys("personality:*"))
        log = service.log.read_text(encoding="utf-8", errors="replace")
        await service.stop()
        spans = traces.read(by_hand.workspace.path / "traces.otlp")

    assert reply["reply"]
    assert (0, True) == (script[0], "cache warm" in script[1]), script[1]
    assert {"personality:global:elara:id", "personality:global:elara:config"} <= keys
    lines = [line for line in log.splitlines() if re.search("cache|redis", line, re.IGNORECASE)]
    for words in ("PersonalityCache: Connected to Redis", "Cache hit for", "Cached personality"):
        assert any(words in line for line in lines), words
    assert [worker["state"] for worker in statistics["workers"]] == ["running"] * 2
    assert statistics["fail_ratio"] == 0
    assert (spans[spans["kind"] == "SERVER"]["name"] == "POST /chat").sum() > REQUESTS_WANTED


def chat_as_the_write_up_does(by_hand: ByHand) -> dict[str, Any]:
    """The write-up's curl line with its headers and body, port replaced; the reply."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{by_hand.at('service', 8000)}/chat",
        data=b'{"message": "Hi", "personality_name": "elara"}',
        headers={"X-User-Id": "test"},
    )
    with urllib.request.urlopen(request, timeout=20) as reply:  # noqa: S310 - loopback
        body: dict[str, Any] = json.loads(reply.read())
    return body


def redis_cache_script(by_hand: ByHand) -> tuple[list[str], dict[str, str], Path]:
    """`python test_redis_cache.py` for here."""
    url = f"http://127.0.0.1:{by_hand.at('service', 8000)}"
    address = urlsplit(by_hand.environment("service")["REDIS_URL"])
    assert address.port == by_hand.at("redis", 6379)
    environment = {**by_hand.environment("locust-master"), "REDIS_URL": address.geturl()}
    return [sys.executable, "test_redis_cache.py", "--url", url], environment, ROOT
