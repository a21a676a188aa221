"""Does a personality come out of the cache, and how much sooner? Asked of the service that runs.

    python test_redis_cache.py [--url http://localhost:8000] [--personality elara]

Needs the service (`docker compose up` or `worthit up`) and its Redis: REDIS_URL, or the password
in .env for the one on port 6379. Not a pytest module: pytest looks in tests/ only.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Final

try:
    import click
    import httpx
    import redis
    from dotenv import dotenv_values
except ImportError as missing:
    sys.exit(f"{missing.name} is not installed here; use .venv/bin/python (make setup).")

COLD_REQUESTS: Final = 40
"""Enough for a 5th and a 95th percentile; each costs one query."""

WARM_REQUESTS: Final = 200

MS: Final = 1000


def redis_url() -> str:
    """The address of the service's Redis: REDIS_URL, or port 6379 with the password of .env."""
    if url := os.environ.get("REDIS_URL"):
        return url
    password = os.environ.get("REDIS_PASSWORD") or dotenv_values(".env").get("REDIS_PASSWORD")
    return f"redis://:{password}@localhost:6379/0" if password else "redis://localhost:6379/0"


def timed(ask: Callable[[], httpx.Response], before: Callable[[], object], n: int) -> list[float]:
    """Milliseconds of ``n`` requests; ``before`` runs ahead of each and is not counted."""
    taken = []
    for _ in range(n):
        before()
        started = time.perf_counter()
        ask().raise_for_status()
        taken.append((time.perf_counter() - started) * MS)
    return taken


def line(name: str, taken: list[float]) -> str:
    """One line of the result: n, median and the middle nine tenths."""
    cuts = quantiles(taken, n=20)
    spread = f"{cuts[0]:.2f} to {cuts[-1]:.2f}"
    return f"{name:<28} n={len(taken):<4} median {median(taken):.2f} ms   5th to 95th {spread} ms"


def measure(client: httpx.Client, cache: redis.Redis, personality: str) -> int:
    """Measure cold, then warm; print both and what Redis holds; give the exit code."""
    keys = [f"personality:global:{personality}:{part}" for part in ("id", "config")]
    path = f"/personalities/{personality}"
    cold = timed(lambda: client.get(path), lambda: cache.delete(*keys), COLD_REQUESTS)
    warm = timed(lambda: client.get(path), lambda: None, WARM_REQUESTS)
    click.echo(line("cache emptied before each", cold))
    click.echo(line("cache warm", warm))
    lives = {key: cache.ttl(key) for key in keys if cache.exists(key)}
    for key, seconds in lives.items():
        click.echo(f"{key:<40} for another {seconds} s")
    if len(lives) < len(keys):
        click.echo(f"{path} was answered, but Redis does not hold it: is REDIS_ENABLED=true?")
        return 1
    click.echo(
        f"Ratio of the medians: {median(cold) / median(warm):.1f}, this HTTP request and all."
    )
    return 0


@click.command()
@click.option("--url", default="http://localhost:8000", show_default=True)
@click.option("--personality", default="elara", show_default=True)
def main(url: str, personality: str) -> None:
    """Ask the running service for one personality, with its cache empty and with it warm."""
    try:
        with (
            httpx.Client(base_url=url, timeout=10) as client,
            redis.Redis.from_url(redis_url(), socket_timeout=5) as cache,
        ):
            sys.exit(measure(client, cache, personality))
    except (httpx.HTTPError, redis.RedisError) as error:
        sys.exit(f"{error}; is the service up at {url}, and Redis where REDIS_URL or .env says?")


if __name__ == "__main__":
    main()
