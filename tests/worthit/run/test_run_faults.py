"""An experiment's faults: a Redis that hangs and one that is gone, when their time comes."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.support.runs.experiments import SMALL, experiment
from worthit.environment.faults import Faults
from worthit.environment.redis import ExternalRedis, Redis, ask
from worthit.errors import UsageError
from worthit.experiments.plan import make_plan
from worthit.process.workspace import Workspace
from worthit.run.artifacts import Events

pytestmark = pytest.mark.integration

OUTAGE = (
    SMALL.replace("warmup_s = 3", "warmup_s = 0.1")
    + """fault = "redis-hangs"

[[arms]]
name = "gone"
env = { REDIS_ENABLED = true }
fault = "redis-gone"
"""
)
FIRST_BLOCKS_BEGIN_S = 8.0
"""Three warm-ups of 0.1 s, then blocks of 2 s; by now every arm has begun its first."""


async def answers(redis: Redis) -> bool:
    """Whether it says PONG within a moment."""
    async with ask(redis.url, timeout_seconds=0.2) as client:
        return bool(await client.ping())


async def test_each_fault_lasts_from_its_arms_warm_up_to_the_loads_end() -> None:
    """One hangs, one refuses, a third Redis answers; afterwards all do; both ends are events."""
    plan = make_plan(experiment(OUTAGE))
    events = Events(time.time_ns)
    async with (
        Workspace() as workspace,
        Redis(workspace, name="redis-on") as hangs,
        Redis(workspace, name="redis-gone") as gone,
        Redis(workspace, name="redis-other") as other,
    ):
        async with Faults(plan, {"on": hangs, "gone": gone}, events.add) as faults:
            assert [await answers(redis) for redis in (hangs, gone)] == [True, True]
            faults.follow(time.time_ns() - round(FIRST_BLOCKS_BEGIN_S * 1e9))
            while len(events.rows) < 2:  # noqa: ASYNC110 - no event tells of a row
                await asyncio.sleep(0.01)
            faults.check()
            with pytest.raises(RedisTimeoutError):
                await answers(hangs)
            with pytest.raises(RedisConnectionError):
                await answers(gone)
            assert await answers(other)
        assert [await answers(redis) for redis in (hangs, gone, other)] == [True] * 3

    told = [(kind, json.loads(detail)["arm"]) for _, kind, detail in events.rows]
    assert told == [
        *(("fault_start", "on"), ("fault_start", "gone")),
        *(("fault_end", "on"), ("fault_end", "gone")),
    ]


async def test_a_load_that_ends_before_is_spared() -> None:
    """A run that is stopped in its warm-up has no fault to end."""
    events = Events(time.time_ns)
    async with Workspace() as workspace, Redis(workspace) as redis:
        async with Faults(
            make_plan(experiment(OUTAGE)), {"on": redis, "gone": redis}, events.add
        ) as faults:
            faults.follow(time.time_ns() + 10**12)
        assert await answers(redis)

    assert events.rows == []


def test_a_redis_of_the_users_own_is_never_stopped() -> None:
    """REDIS_URL and a fault exclude each other, in a sentence."""
    own = ExternalRedis("redis://127.0.0.1:6379/0")

    with pytest.raises(UsageError, match="which is never stopped; unset REDIS_URL"):
        Faults(make_plan(experiment(OUTAGE)), {"on": own, "gone": own}, Events(time.time_ns).add)


def test_an_arm_without_redis_has_none_that_could_fail() -> None:
    """The mistake is told with the key's path."""
    text = SMALL.replace(
        "env = { REDIS_ENABLED = false }", 'env = { REDIS_ENABLED = false }\nfault = "redis-gone"'
    )

    with pytest.raises(
        UsageError, match=r"small\.toml: arms\[0\]\.fault: the arm off has no Redis"
    ):
        experiment(text)
