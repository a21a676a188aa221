"""A report of sampled traces: what it counts is what the whole would have counted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from analysis.calltree.sampling import WEIGHT
from analysis.questions.cache_law import answer as cache_law
from analysis.questions.ceiling import answer as ceiling
from analysis.questions.database_load import answer as database_load
from analysis.questions.measured import Measured, measured
from analysis.questions.shares import answer as shares
from analysis.questions.worth_caching import answer as candidates
from analysis.rundir.run import Run, open_run
from analysis.stats.intervals import Estimate
from worthit.run.importing import ArmFiles, ImportOptions, import_traces

MS = 1_000_000
BLOCKS, REQUESTS = 8, 80
"""Blocks of each arm, and requests of each block."""
DRAWS = 12
SLOW = 3
"""Queries from which a sampler keeps a request more often."""


def _asked(random: np.random.Generator, *, on: bool) -> int:
    """Queries of a request: one to five, half of them saved by the cache of the arm ``on``."""
    most = 1 + int(random.integers(0, 5))
    return most if not on else int(random.binomial(most, 0.5))


def _span(trace: int, number: int, start: int, took: int, **more: object) -> dict[str, object]:
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{trace * 16 + number:016x}",
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + took),
        **more,
    }


def _attributes(**values: str) -> list[dict[str, object]]:
    return [
        {"key": key.replace("__", "."), "value": {"stringValue": value}}
        for key, value in values.items()
    ]


def _traces() -> list[dict[str, object]]:
    random = np.random.default_rng(5)
    spans: list[dict[str, object]] = []
    for block in range(2 * BLOCKS):
        for place in range(REQUESTS):
            trace, on = 1 + block * REQUESTS + place, block % 2 == 1
            start = (block // 2 * REQUESTS * 2 + place) * 100 * MS
            asked = _asked(random, on=on)
            each = [int(random.gamma(4, 0.5) * MS) + 1 for _ in range(asked)]
            own = int(random.gamma(4, 1.0) * MS) + 1
            about = _attributes(worthit__arm="on" if on else "off")
            root = _span(trace, 0, start, own + sum(each), name="GET /chat", kind=2)
            spans.append({**root, "attributes": about})
            for query, took in enumerate(each):
                about = _attributes(db__system__name="postgresql", db__query__text="SELECT 1")
                begun = start + sum(each[:query])
                call = _span(trace, query + 1, begun, took, name="SELECT", kind=3)
                spans.append({**call, "parentSpanId": root["spanId"], "attributes": about})
    return spans


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An imported run of all traces, in blocks of eight seconds."""
    folder = tmp_path_factory.mktemp("whole")
    named = [{"key": "service.name", "value": {"stringValue": "shop"}}]
    scopes = [{"spans": _traces()}]
    document = {"resourceSpans": [{"resource": {"attributes": named}, "scopeSpans": scopes}]}
    file = folder / "traces.json"
    file.write_text(json.dumps(document))
    options = ImportOptions(
        name="sampled",
        sources=(ArmFiles(files=(str(file),)),),
        block_seconds=REQUESTS * 2 * 0.1,
        baseline="off",
    )
    return open_run(import_traces(options, out=folder, say=lambda _: None).path)


def _kept(run: Run, rate: NDArray[np.float64], seed: int) -> Run:
    """The run with the traces that a sampler with these rates (one a trace) keeps."""
    names = np.sort(run.spans["trace_id"].unique())
    stays = np.random.default_rng(seed).random(names.size) < rate
    states = {
        name: json.dumps({"w3c.tracestate": f"ot=th:{round((1 - p) * 2**56):014x}"})
        for name, p in zip(names[stays], rate[stays], strict=True)
    }
    spans = run.spans[run.spans["trace_id"].isin(states.keys())].reset_index(drop=True)
    told = [
        json.dumps(json.loads(text) | json.loads(states[trace]))
        for text, trace in zip(spans["attributes"].fillna("{}"), spans["trace_id"], strict=True)
    ]
    sample = dataclasses.replace(run)
    sample.__dict__["spans"] = spans.assign(attributes=pd.Series(told, dtype="str"))
    return sample


def _rates(run: Run, rates: tuple[float, float]) -> NDArray[np.float64]:
    """The first rate for requests of many queries, the second for the others."""
    calls = run.spans.groupby("trace_id").size().sort_index() - 1
    return np.where(calls.to_numpy() >= SLOW, *rates)


def _answers(run: Measured) -> Iterator[tuple[str, Estimate]]:
    """What a report says of queries, the reduction and the time."""
    load = {row.arm: row for row in database_load.load_rows(run) if row.collection is None}
    for arm, row in load.items():
        yield f"queries per request, {arm}", row.per_request
        yield f"queries per second, {arm}", row.per_s
    for reduction in database_load.reductions(run.manifest, run.calls, run.blocks):
        if reduction.step is None and reduction.collection is None:
            yield "reduction factor", reduction.factor
    for share in run.once(shares.answer).rows:
        yield f"share of {share.operation}, {share.arm}", share.share
    for request in run.once(shares.answer).requests:
        yield f"mean of a request, {request.arm}", request.mean_ms


@pytest.mark.parametrize("rates", [(0.25, 0.25), (1 / 16, 1 / 16), (0.25, 1 / 16)])
def test_a_sample_answers_as_the_whole_does_within_its_intervals(
    whole: Run, rates: tuple[float, float]
) -> None:
    """Of the draws at one rate and at two, nine of ten intervals hold the truth.

    No answer alone is held by fewer than 8 of 12, where one of a true 95 % falls in one of 10,000
    tries. How often they hold in many more draws: ``benchmarks coverage``.
    """
    truth = {name: found.value for name, found in _answers(measured(whole))}
    inside = dict.fromkeys(truth, 0)
    values: dict[str, list[float]] = {name: [] for name in truth}
    for seed in range(DRAWS):
        for name, found in _answers(measured(_kept(whole, _rates(whole, rates), seed))):
            value = truth[name]
            assert value is not None, name
            assert found.value is not None, name
            inside[name] += found.includes(value)
            values[name].append(found.value)

    assert [] == [(name, held) for name, held in inside.items() if held < 8]
    assert sum(inside.values()) >= 0.9 * DRAWS * len(inside)
    for name, value in truth.items():
        error = float(np.std(values[name])) / DRAWS**0.5
        assert float(np.mean(values[name])) == pytest.approx(value, abs=5 * error), name


def test_a_sample_tells_no_causes_of_misses_and_says_so(run: Run) -> None:
    """A key's lookups that were not kept would make first touches of later ones."""
    every = np.full(run.spans["trace_id"].nunique(), 0.25)

    asked, sample = (measured(one).once(cache_law.answer) for one in (run, _kept(run, every, 1)))

    assert (True, None) == (bool(asked.misses), asked.causes_unknown)
    assert ((), cache_law.OF_A_SAMPLE) == (sample.misses, sample.causes_unknown)


def test_ceilings_and_traffic_are_weighted_and_hit_ratios_are_not_given(whole: Run) -> None:
    """Queries under an operation and requests are those of the whole; keys of a sample are not."""
    all_of_them = measured(whole)
    sample = measured(_kept(whole, _rates(whole, (1.0, 0.25)), 1))
    expected, found = (ceiling.answer(one).rows[0] for one in (all_of_them, sample))

    assert WEIGHT not in all_of_them.spans.columns
    assert found.queries_per_request == pytest.approx(expected.queries_per_request, rel=0.05)
    assert int(sample.root_operations["requests"].sum()) == pytest.approx(
        2 * BLOCKS * REQUESTS, rel=0.05
    )
    assert float(sample.blocks["requests"].sum()) == pytest.approx(2 * BLOCKS * REQUESTS, rel=0.05)
    assert all("are a sample" in row.sentence for row in candidates.answer(sample).rows)
