from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.support.load.load_plans import a_block
from worthit.load.chat_population import (
    message_number,
    personality_name,
    personality_of,
    user_name,
)
from worthit.load.schedule.arrival import Arrival

BLOCK = a_block()
KNOBS: dict[str, Any] = {"popular": 50, "zipf_exponent": 1.0, "cold_fraction": 0.05}


def an_arrival(ordinal: int) -> Arrival:
    """Return an arrival of this ordinal, whose draw is the same."""
    return Arrival(
        block=BLOCK, draw=ordinal, ordinal=ordinal, seed=7, intended_ns=0, scenario="chat"
    )


def test_names_are_those_that_the_service_seeds() -> None:
    """Personalities are elara, p00000, p00001, ...; users u00000, ..."""
    assert [personality_name(n) for n in (0, 1, 2, 100_000)] == [
        "elara",
        "p00000",
        "p00001",
        "p99999",
    ]
    assert user_name(12) == "u00012"


@pytest.mark.parametrize("cold_fraction", [0.05, 0.0, 0.3])
def test_the_hit_rate_is_one_minus_the_cold_fraction(cold_fraction: float) -> None:
    """A cache that forgets nothing, once the popular are in it, hits 1 - cold fraction."""
    knobs = {**KNOBS, "cold_fraction": cold_fraction}
    cached = {personality_name(number) for number in range(50)}
    hits = 0
    for ordinal in range(10_000):
        name = personality_of(an_arrival(ordinal), knobs)
        hits += name in cached
        cached.add(name)

    assert hits / 10_000 == pytest.approx(1 - cold_fraction, abs=2e-4)


def test_popular_personalities_follow_zipfs_law() -> None:
    """The first is asked for about twice as often as the second, and ten times the tenth."""
    names = Counter(
        personality_of(an_arrival(ordinal), {**KNOBS, "cold_fraction": 0.0})
        for ordinal in range(50_000)
    )

    expected = 50_000 / sum(1 / rank for rank in range(1, 51)) / np.array([1, 2, 10])
    found = [names[personality_name(rank)] for rank in (0, 1, 9)]
    assert found == pytest.approx(expected.tolist(), rel=0.06)


def test_messages_differ_by_their_number_only() -> None:
    """A thousand numbers are a thousand messages, and the same number is the same message."""
    messages = {message_number(number) for number in range(1000)}

    assert len(messages) == 1000
    assert message_number(17) == message_number(17)
