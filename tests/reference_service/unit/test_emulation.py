"""The latency profile's durations: whose they are, how long, and how they are marked."""

from __future__ import annotations

import asyncio
import time

import numpy as np
from opentelemetry.context import attach, detach

from reference_service.emulation import QUERIES, STAGES, EmulatedEmotions, Sampler
from reference_service.services.emotion import LexiconEmotionDetector
from reference_service.telemetry.load_baggage import caller_context
from tests.support.traces.span_sink import SpanSink, attributes


def _sampled(sampler: Sampler, stage: str, draws: int) -> np.ndarray:
    seconds = []
    for draw in range(draws):
        token = attach(caller_context({"baggage": f"worthit.draw={draw}"}))
        seconds.append(sampler.seconds({**QUERIES, **STAGES}[stage], stage))
        detach(token)
    return np.array(seconds)


def test_the_ends_of_the_write_ups_table_are_5th_and_95th_percentiles() -> None:
    """Of 20,000 draws, five per cent lie below and five above each stage's range."""
    sampler = Sampler(7, lambda: 0)
    for stage, low, high in (
        ("preferences", 0.050, 0.100),
        ("memory", 0.200, 0.500),
        ("emotion", 0.100, 0.300),
        ("other", 0.100, 0.200),
        ("personalities", 0.005, 0.010),
    ):
        seconds = _sampled(sampler, stage, 20_000)
        # Binomial: five per cent of 20,000 is 1000 with a standard deviation of 31.
        assert abs((seconds < low).mean() - 0.05) < 5 * 31 / 20_000
        assert abs((seconds > high).mean() - 0.05) < 5 * 31 / 20_000
        assert abs(np.log(seconds).mean() - np.log(low * high) / 2) < 0.02


def test_both_arms_draw_the_same_durations() -> None:
    """A draw's durations depend on seed, draw and stage only; stages are independent."""
    one, same, other = (_sampled(Sampler(seed, lambda: 0), "memory", 500) for seed in (7, 7, 8))
    emotion = _sampled(Sampler(7, lambda: 0), "emotion", 500)

    assert (one == same).all()
    assert not (one == other).any()
    assert abs(np.corrcoef(np.log(one), np.log(emotion))[0, 1]) < 0.2


async def test_the_top_up_is_slept_and_marked() -> None:
    """A stage takes its sampled time, and its span says how much of it was emulated."""
    sink = SpanSink()
    sampler = Sampler(7, lambda: 3)
    detector = EmulatedEmotions(LexiconEmotionDetector(), sampler)
    began = time.perf_counter()
    with sink.telemetry.tracer.start_as_current_span("emotion.detect"):
        found = await detector.detect("I am so happy")
    elapsed = time.perf_counter() - began

    expected = sampler.seconds(STAGES["emotion"], "emotion")
    emulated = attributes(sink.spans[0])["worthit.emulated_ns"] / 1e9
    assert "joy" == found.label
    assert expected <= elapsed
    assert expected * 0.9 < emulated <= elapsed
    await asyncio.sleep(0)
