"""The questions, asked of a run whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import analysis
from analysis.checks.counts.cross_checks import roots
from analysis.questions.asking import findings
from analysis.questions.cache_law import answer as cache_law
from analysis.questions.calls import calls_of
from analysis.questions.capacity import answer as capacity
from analysis.questions.database_load import answer as database_load
from analysis.questions.database_load.answer import LoadRow
from analysis.questions.detectability.answer import blocks_needed, smallest
from analysis.questions.published import as_dict
from analysis.questions.worth_caching import answer as worth_caching
from analysis.rundir.blocks import block_table
from analysis.rundir.run import Run
from analysis.stats.intervals import Estimate
from tests.analysis.conftest import Changed
from tests.support.runs.synthetic_run import Truth

Found = Mapping[str, Any]


def one(rows: list[dict[str, Any]], **wanted: object) -> dict[str, Any]:
    """The only row in which these columns hold these values."""
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert 1 == len(found), wanted
    return found[0]


def covers(cell: Mapping[str, Any], truth: float) -> bool:
    """Whether an estimate's interval holds the truth."""
    return bool(cell["low"] <= truth <= cell["high"])


def test_hits_misses_and_mixture_are_told_apart(found: Found) -> None:
    """A hit is a Redis call, a miss is Redis, database and Redis, the mixture lies between."""
    rows = found["faster"]["operations"]
    ratio = {
        which: one(rows, operation="personality.lookup", which=which)["ratio"]["value"]
        for which in ("hits", "mixture", "misses")
    }

    assert ratio["misses"] < 1 < ratio["mixture"] < ratio["hits"]
    assert ratio["hits"] == pytest.approx(7.28 / 0.71, rel=0.03)


def test_what_the_cache_saves_end_to_end_is_what_it_saves_at_the_lookup(found: Found) -> None:
    """Paired by draw, the whole request's gain equals the lookup's to a tenth of a millisecond."""
    saved = one(found["faster"]["operations"], operation="personality.lookup", which="mixture")
    whole = one(found["faster"]["end_to_end"], step=None, time="response", statistic="mean")

    assert "lower" == whole["decided"]
    assert -whole["difference"]["value"] == pytest.approx(saved["saved"]["value"], abs=0.1)
    assert 1680 == whole["difference"]["n"]


def test_queries_per_request_are_counted_exactly(found: Found) -> None:
    """Five queries without the cache, and one a miss fewer with it, at every rate."""
    for row in found["load"]["by_step"]:
        if row["arm"] == "off" and row["collection"] is None:
            assert (5.0, 5.0, 5.0) == pytest.approx(
                tuple(row["per_request"][key] for key in ("low", "value", "high"))
            )
            assert row["per_s"]["value"] == pytest.approx(5.0 * row["achieved_per_s"])


def test_busy_connections_follow_littles_law(found: Found) -> None:
    """Busy connections are query rate times mean query time."""
    for row in found["load"]["by_step"]:
        if row["collection"] == "personalities" and row["arm"] == "off":
            times = one(found["load"]["statements"], arm="off", collection="personalities")[
                "mean_ms"
            ]
            expected = row["per_s"]["value"] * times["value"] / 1e3

            assert row["busy_connections"]["value"] == pytest.approx(expected, rel=0.05)


def test_the_reduction_factor_is_the_count_of_queries(run: Run, found: Found) -> None:
    """Queries counted by hand give the same factor, and its interval holds the true 20."""
    row = one(found["load"]["reductions"], step=None, collection="personalities")
    spans = run.measured_spans
    counts = spans[spans["db_collection"] == "personalities"].groupby("arm").size()

    assert row["factor"]["value"] == pytest.approx(counts["off"] / counts["on"])
    assert covers(row["factor"], 20.0)


def test_the_law_holds_where_nothing_breaks_it(found: Found) -> None:
    """Every miss makes one query, so measured and predicted agree without a residual."""
    law = one(found["law"]["law"], arm="on")

    assert "as predicted" == law["decided"]
    assert law["measured"]["value"] == pytest.approx(law["predicted"]["value"])


def test_what_breaks_the_law_is_counted(run: Run) -> None:
    """A quarter of the misses without a query moves the factor, and is named with its effect."""
    spans = run.measured_spans
    blocks = block_table(run.manifest, run.measured_requests, roots(spans))
    asked = spans.index[(spans["arm"] == "on") & (spans["db_collection"] == "personalities")]
    quarter = asked[::4]
    fewer = spans.drop(quarter)

    (law,) = cache_law.law(run.manifest, fewer, blocks)
    rows = {row.what: row for row in cache_law.explained(run.manifest, fewer, blocks)}
    quiet = rows["misses that made no query (coalesced or negative)"]

    assert "more than predicted" == law.decided
    assert len(quarter) == quiet.count
    assert quiet.moves is not None
    assert law.residual.value == pytest.approx(quiet.moves - 1)


def test_misses_are_explained_by_their_keys(run: Run) -> None:
    """Cold arrivals ask for what nobody asked for before: every miss is a first touch."""
    spans = run.measured_spans
    blocks = block_table(run.manifest, run.measured_requests, roots(spans))
    causes = cache_law.misses(run.manifest, run.spans, blocks, run.events)

    assert ["first touch of the key"] == [row.cause for row in causes]
    assert sum(row.count for row in causes) == int(
        (~spans.loc[spans["cache_hit"].notna(), "cache_hit"].astype(bool)).sum()
    )


@pytest.mark.parametrize(
    ("ttl", "flush", "cause"),
    [("2", None, "expired"), ("60", 5_000_000_000, "flushed"), ("60", None, "unknown")],
)
def test_a_second_miss_of_a_key_has_a_cause(ttl: str, flush: int | None, cause: str) -> None:
    """A key that misses again has expired, was flushed, or nobody knows why."""
    lookups = pd.DataFrame(
        {
            "start_ns": [0, 9_000_000_000],
            "hit": [False, False],
            "key": pd.Series(["a", "a"], dtype="str"),
            "bypassed": [False, False],
        }
    )

    causes = cache_law._causes(lookups, float(ttl), [flush] if flush else [])

    assert ["first touch of the key", cause] == list(causes)


def test_shares_add_up_and_the_stage_holds_its_query(found: Found) -> None:
    """Stages of an arm add up to 1; the lookup's whole is its own time and its query's."""
    stages = [row for row in found["shares"]["stages"] if row["arm"] == "off"]
    rows = [row for row in found["shares"]["rows"] if row["arm"] == "off"]
    lookup, query = (
        one(rows, operation=name) for name in ("personality.lookup", "SELECT personalities")
    )

    assert sum(row["share"]["value"] for row in stages) == pytest.approx(1.0)
    assert lookup["whole"]["value"] == pytest.approx(
        lookup["share"]["value"] + query["share"]["value"]
    )
    assert (True, False) == (lookup["stage"], query["stage"])


def test_the_ceiling_is_amdahls(found: Found) -> None:
    """An operation with share s cannot make the request faster than 1 / (1 - s)."""
    row = one(found["ceiling"], operation="personality.lookup")

    assert row["speedup_at_most"]["value"] == pytest.approx(1 / (1 - row["share"]["value"]))
    assert row["queries_saved_at_most"] == pytest.approx(1 / 5)


def test_the_highest_step_is_predicted_from_the_others(found: Found) -> None:
    """Busy connections at the hidden rate are predicted within 15 %, and the error is said."""
    row = one(found["capacity"]["extrapolation"], arm="off", collection=None)

    assert row["extrapolates"]
    assert abs(row["error"]) <= 0.15
    assert "It extrapolates: 40/s was hidden" in row["sentence"]


def held(arm: str, milliseconds: list[float], scatter: float) -> list[LoadRow]:
    """Load rows of one query per request that is held so long at 10, 20, 40/s."""
    return [
        LoadRow(
            arm=arm,
            step=step,
            offered_per_s=10.0 * 2**step,
            achieved_per_s=10.0 * 2**step,
            collection=None,
            per_request=Estimate(value=1.0, unit="per_request", n=9, blocks=9, low=1.0, high=1.0),
            per_s=Estimate(value=10.0 * 2**step, unit="per_s", n=9, blocks=9),
            busy_connections=Estimate(value=1e-3 * ms, unit="connections", n=9, blocks=9),
            held_s_per_request=Estimate(
                value=1e-3 * ms,
                unit="s",
                n=9,
                blocks=9,
                low=1e-3 * ms * (1 - scatter),
                high=1e-3 * ms * (1 + scatter),
            ),
        )
        for step, ms in enumerate(milliseconds)
    ]


def test_held_time_that_moves_with_the_rate_is_not_carried_on() -> None:
    """8.8, 11, 22 ms at 10, 20, 40/s: no connections at 1000/s, but the held time per level."""
    load = held("off", [8.8, 11.0, 22.0], 0.02) + held("on", [1.0, 1.0, 1.0], 0.02)
    tried = capacity.extrapolation(load)
    off, on = (
        capacity._without_moving(row, tried, load, "off")
        for row in capacity.expectation(load, rate_per_s=1000.0, baseline="off")
    )

    assert [False, True] == [row.extrapolates for row in tried]
    assert off.busy_connections.value is None
    assert off.connections_needed is None
    assert "in off: 8.8 ms at 10/s, 11 ms at 20/s, 22 ms at 40/s" in str(
        off.busy_connections.reason
    )
    assert on.busy_connections.value == pytest.approx(1.0)
    assert on.saved_connections is not None
    assert on.saved_connections.value is None
    assert on.queries_per_s.value == pytest.approx(1000.0)


def test_held_time_that_only_scatters_is_carried_on() -> None:
    """10, 9, 11 ms with 20 % of error each is one time, and 10, 10, 10.3 ms nearly is."""
    assert capacity.extrapolation(held("off", [10.0, 9.0, 11.0], 0.2))[0].extrapolates
    assert capacity.extrapolation(held("off", [10.0, 10.0, 10.3], 0.001))[0].extrapolates


def test_a_thousand_requests_need_what_the_queue_says(found: Found) -> None:
    """Queries scale with the rate, busy connections with the query time, the pool by M/M/c."""
    row = one(found["capacity"]["expectation"], arm="off", collection="personalities")
    busy = row["busy_connections"]["value"]

    assert row["queries_per_s"]["value"] == pytest.approx(1000.0)
    assert busy == pytest.approx(7.18, rel=0.02)
    assert busy < row["connections_needed"] < 2.5 * busy
    assert row["p_wait"] <= 0.01


@pytest.mark.parametrize("change", [0.5, 1.1])
def test_a_plan_has_the_power_that_it_promises(change: float) -> None:
    """So many pairs decide a change in 80 % of 1,500 t tests, within 4 standard errors."""
    pairs = blocks_needed(1.0, change)
    assert pairs is not None
    draws = np.random.default_rng(1).normal(change, 1.0, (1_500, pairs))
    decided = stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05

    assert 0.76 <= decided.mean() <= 0.85
    assert smallest(1.0, pairs) == pytest.approx(change, rel=0.05)
    assert smallest(1.0, 5) is None


def test_pairing_needs_a_hundredth_of_the_requests(found: Found) -> None:
    """In this run pairing sees the change with a small part of what it would take without."""
    row = found["detectability"][0]

    assert row["paired_requests"] * 100 < row["unpaired_requests"]
    assert row["smallest_paired"] < abs(row["change"]) < row["smallest_unpaired"]


def simulated_hit_ratio(keys: list[int], times: list[float], ttl: float) -> float:
    """The slow obvious way: a dictionary of when each entry was set."""
    filled: dict[int, float] = {}
    hits = 0
    for time, key in sorted(zip(times, keys, strict=True)):
        if key in filled and time <= filled[key] + ttl:
            hits += 1
        else:
            filled[key] = time
    return hits / len(keys)


@pytest.mark.parametrize("ttl", [0.01, 0.5, 3.0, 1000.0])
def test_expected_hit_ratio_is_that_of_a_simulated_cache(ttl: float) -> None:
    """All keys at once give what a dictionary gives one lookup after the other."""
    rng = np.random.default_rng(6)
    keys, times = rng.zipf(1.4, 2000) % 60, rng.uniform(0, 60, 2000)

    found = worth_caching.hit_ratio(keys, times, ttl)

    assert found == pytest.approx(simulated_hit_ratio(list(keys), list(times), ttl))


def test_a_poisson_key_hits_as_the_law_says() -> None:
    """One key at rate L and TTL T hits LT / (1 + LT) of the time: 0.90 at LT 9."""
    rng = np.random.default_rng(8)
    times = np.cumsum(rng.exponential(1.0 / 9.0, 40_000))

    found = worth_caching.hit_ratio(np.zeros(40_000, dtype=np.int64), times, 1.0)

    assert found == pytest.approx(0.90, abs=0.005)


def test_the_next_thing_to_cache_has_keys_that_repeat(found: Found) -> None:
    """Preferences of 200 users are asked for over and over; memories have no key recorded."""
    rows = found["worth_caching"]
    preferences = one(rows, operation="preferences.load")
    memories = one(rows, operation="memory.retrieve")

    assert 200 == preferences["keys"]
    assert 0.85 < preferences["best_hit_ratio"] < 0.95
    assert preferences["hit_ratios"]["1"] < preferences["hit_ratios"]["3600"]
    assert "No key was recorded" in memories["sentence"]
    assert "preferences.load" == found["headline"]["next"]


def test_emulated_time_is_told_apart(found: Found) -> None:
    """The simulator's whole answer is emulated, the lookup stage itself is not."""
    rows = found["emulated"]["rows"]

    assert one(rows, arm="off", operation="chat sim-chat")["share"] == pytest.approx(1.0)
    assert one(rows, arm="off", operation="SELECT personalities")["share"] == pytest.approx(
        0.9, abs=0.01
    )
    assert 0.9 < one(rows, arm="off", operation=None)["share"] <= 1.0


def test_an_a_a_run_finds_no_difference(small: Changed) -> None:
    """Two equal arms, each with noise of its own, come out as not decided and as the same."""
    truth = Truth(cache=False, noise=0.05, rates_per_s=(30.0,), pairs=8)

    found = as_dict(findings(small(truth)))

    assert (
        "not decided"
        == one(found["faster"]["end_to_end"], step=None, time="response", statistic="mean")[
            "decided"
        ]
    )
    assert [] == found["law"]["law"]
    assert "database queries in both arms" in " ".join(found["headline"]["sentences"])


def test_estimates_become_plain_columns(run: Run) -> None:
    """``analysis.table`` gives value, low and high of an answer's rows as columns of their own."""
    table = analysis.table(analysis.ask(run, analysis.DatabaseLoad).hit_rates)

    assert {"arm", "hit_rate", "hit_rate_low", "hit_rate_high"} <= set(table.columns)
    assert (table["hit_rate_low"] <= table["hit_rate"]).all()


def test_pool_waits_come_from_the_spans(run: Run) -> None:
    """Each query's wait for a connection is read from its span, and long ones are counted."""
    spans = run.measured_spans.copy()
    calls = spans.index[spans["db_system"] == "postgresql"]
    waited = np.where(np.arange(len(calls)) % 4 == 0, 3_000_000, 20_000)
    spans.loc[calls, "attributes"] = [json.dumps({"worthit.pool_wait_ns": int(w)}) for w in waited]
    blocks = block_table(run.manifest, run.measured_requests, roots(spans))

    row = database_load.pool_waits(calls_of(run.manifest, spans), blocks)[0]

    assert row.waited_share.value == pytest.approx(0.25, abs=0.01)
    assert row.wait_ms.value == pytest.approx(0.765, abs=0.03)
    assert row.longest_ms == pytest.approx(3.0)


def test_arms_without_a_cache_have_no_hit_rate_and_no_misses(run: Run) -> None:
    """An arm without a Redis says "no hit" of every lookup, and that means nothing."""
    arms = tuple(replace(arm, redis=False) for arm in run.manifest.arms)
    manifest = replace(run.manifest, arms=arms)
    spans = run.measured_spans
    blocks = block_table(manifest, run.measured_requests, roots(spans))

    assert () == database_load.hit_rates(manifest, spans, blocks)
    assert () == cache_law.misses(manifest, run.spans, blocks, run.events)
    assert 4 == len(database_load.hit_rates(run.manifest, spans, blocks))


def test_lookups_that_the_cache_did_not_answer_are_told_apart(run: Run) -> None:
    """A fallback says "no hit" as a miss does; its source tells that the cache was away."""
    spans = run.measured_spans.copy()
    missed = spans.index[spans["cache_hit"].eq(other=False).fillna(value=False)]
    away = missed[: len(missed) // 2]
    spans.loc[away, "attributes"] = spans.loc[away, "attributes"].str.replace(
        '"cache.source": "database"', '"cache.source": "fallback"'
    )
    blocks = block_table(run.manifest, run.measured_requests, roots(spans))

    rows = {row.what: row for row in cache_law.explained(run.manifest, spans, blocks)}
    causes = {row.cause: row for row in cache_law.misses(run.manifest, spans, blocks, run.events)}

    told = rows["lookups that the cache did not answer, counted as misses"]
    assert len(away) == told.count == causes["the cache did not answer"].count
    assert told.moves == pytest.approx(0.5, abs=0.05)
