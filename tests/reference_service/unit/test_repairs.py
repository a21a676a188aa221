"""Repairs: tried until they succeed, each for itself, and once more at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from reference_service.resilience.repairs import Repairs


def _repair(tried: list[str], name: str, *, succeeds: bool) -> Callable[[], Awaitable[bool]]:
    async def repair() -> bool:
        tried.append(name)
        return succeeds

    return repair


async def test_one_that_keeps_failing_keeps_no_other_from_its_try() -> None:
    """The first of two fails every time; the second is done in the first round."""
    repairs, tried = Repairs(), []
    repairs.add("bad", _repair(tried, "bad", succeeds=False))
    repairs.add("good", _repair(tried, "good", succeeds=True))
    await asyncio.sleep(0.4)
    waiting = (repairs.pending("bad"), repairs.pending("good"))
    await repairs.close()

    assert (True, False) == waiting
    assert "good" in tried


async def test_closing_tries_once_more(caplog: pytest.LogCaptureFixture) -> None:
    """What waited for its next try has it at once, and what is left then is told."""
    repairs, tried = Repairs(), []
    repairs.add("a", _repair(tried, "a", succeeds=True))
    repairs.add("b", _repair(tried, "b", succeeds=False))
    await repairs.close()

    assert ["a", "b"] == tried
    assert 1 == len(repairs)
    assert ["1 cached entries may be stale until they expire"] == caplog.messages


async def test_one_added_while_another_is_tried_has_its_own_try() -> None:
    """A key's repair that began before the newest fault does not count for it."""
    repairs, tried = Repairs(), []

    async def overtaken() -> bool:
        tried.append("first")
        repairs.add("key", _repair(tried, "second", succeeds=True))
        return True

    repairs.add("key", overtaken)
    await asyncio.sleep(0.7)

    assert ["first", "second"] == tried
    assert not repairs.pending("key")


async def test_parts_of_a_key_are_all_repaired() -> None:
    """A key is pending until each of its parts has succeeded."""
    repairs, tried = Repairs(), []
    repairs.add("key", _repair(tried, "one", succeeds=True), part="1")
    repairs.add("key", _repair(tried, "two", succeeds=False), part="2")
    await repairs.close()
    still = repairs.pending("key")
    repairs.add("key", _repair(tried, "two", succeeds=True), part="2")
    await repairs.close()

    assert (True, False) == (still, repairs.pending("key"))
    assert ["one", "two", "two"] == tried
