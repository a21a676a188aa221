"""Sampled traces: each stands for 1/p requests, and shares and counts are those of the whole."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analysis import queries, shares
from analysis.calltree import sampling

MS = 1_000_000


def _requests(count: int, seed: int, *, failing: float = 0.05) -> pd.DataFrame:
    """Requests of a root and some queries; failing ones ask ten times and wait long."""
    random = np.random.default_rng(seed)
    failed = random.random(count) < failing
    asked = np.where(failed, 10, 1 + random.integers(0, 3, count))
    took = np.where(failed, 4.0, random.gamma(4.0, 0.5, count))
    rows = []
    for number in range(count):
        trace, start = f"{number + 1:032x}", number * 1000 * MS
        each = max(int(took[number] * MS), 1)
        whole = int(each * asked[number] + random.gamma(4.0, 2.0) * MS) + 1
        about = {"trace_id": trace, "service": "shop", "status": "UNSET"}
        root = {"span_id": f"{number + 1:012x}0000", "parent_span_id": None, "db_system": None}
        named = "GET /failing" if failed[number] else "GET /fine"
        rows.append(
            {**about, **root, "name": named, "kind": "SERVER", "start_ns": start,
             "duration_ns": whole}
        )  # fmt: skip
        for query in range(asked[number]):
            rows.append(  # noqa: PERF401 - a row is easier to read so
                {**about, "span_id": f"{number + 1:012x}{query + 1:04x}", "name": "SELECT",
                 "parent_span_id": root["span_id"], "kind": "CLIENT", "db_system": "postgresql",
                 "start_ns": start + query * each, "duration_ns": each}
            )  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(
        attributes=None, db_operation="SELECT", db_collection="t", block=pd.NA, arm=None
    ).astype({"attributes": "str", "duration_ns": "Int64", "block": "Int32", "arm": "str"})


def _kept(whole: pd.DataFrame, seed: int, rates: dict[str, float]) -> pd.DataFrame:
    """The traces that a sampler with a rate for each root operation keeps, and what it writes."""
    random = np.random.default_rng(seed)
    roots = whole[whole["parent_span_id"].isna()].set_index("trace_id")["name"]
    rate = roots.map(rates)
    chosen = rate[random.random(len(rate)) < rate.to_numpy()]
    spans = whole[whole["trace_id"].isin(chosen.index)].reset_index(drop=True)
    threshold = {
        p: f"{round((1 - p) * 2**56):014x}".rstrip("0") or "0" for p in set(rates.values())
    }
    states = spans["trace_id"].map(chosen).map(threshold)
    return spans.assign(
        attributes=[json.dumps({"w3c.tracestate": f"ot=th:{state}"}) for state in states]
    )


@pytest.mark.parametrize(
    ("state", "probability"),
    [
        ("ot=th:0", 1.0),
        ("ot=th:8", 0.5),
        ("ot=th:c", 0.25),
        ("ot=th:fd70a", 0.01),
        ("vendor=1,ot=rv:abcdef01234567;th:c", 0.25),
        ("ot=p:3", 0.125),
        ("ot=p:3;r:5,other=th:8", 0.125),
        ("other=th:8", None),
        ("ot=th:xyz", None),
        ("", None),
    ],
)
def test_trace_state_names_a_probability(state: str, probability: float | None) -> None:
    """1 - threshold/2^56 with the digits filled up at the right, as OpenTelemetry defines it."""
    assert sampling.of_trace_state(state) == (
        None if probability is None else pytest.approx(probability, rel=1e-4)
    )


@pytest.mark.parametrize(
    ("attributes", "weight"),
    [
        ({"sampling.probability": 0.2}, 5),
        ({"SampleRate": 20}, 20),
        ({"SampleRate": "20"}, 20),
        ({"sampler.type": "probabilistic", "sampler.param": 0.1}, 10),
        ({"sampler.type": "const", "sampler.param": True}, 1),
        ({"microsoft.sample_rate": 25}, 4),
        ({"_dd.rule_psr": 0.5}, 2),
        ({"_dd.rule_psr": 0.5, "_dd.limit_psr": 0.2}, 10),
        ({"meta.refinery.original_sample_rate": 4}, 1),
        ({"sampling.probability": 0.5, "w3c.tracestate": "ot=th:c"}, 4),
        ({"sampling.probability": 0}, 1),
        ({"sampling.probability": "often"}, 1),
    ],
)
def test_attributes_of_other_tracers_name_one_too(
    attributes: dict[str, object], weight: float
) -> None:
    """Each tool's own attribute gives the number of requests that a trace stands for."""
    spans = _requests(3, seed=1).assign(attributes=json.dumps(attributes))

    assert sampling.of_spans(spans).weights == pytest.approx(weight)


def test_of_several_probabilities_in_one_trace_the_smallest_counts() -> None:
    """The trace is whole only where every service kept it."""
    spans = _requests(2, seed=1)
    states = [json.dumps({"w3c.tracestate": "ot=th:8"})] * len(spans)
    states[1] = json.dumps({"w3c.tracestate": "ot=th:c"})

    assert [4.0, 2.0] == list(sampling.of_spans(spans.assign(attributes=states)).weights)


def test_a_sample_of_unknown_kind_is_said() -> None:
    """Tail sampling without probabilities, and a part without any, are reasons in words."""
    spans = _requests(10, seed=1)
    policy = json.dumps({"tailsampling.policy": "errors"})
    silent = spans.assign(attributes=np.where(spans["name"] == "SELECT", None, policy))
    first = spans["trace_id"] == spans["trace_id"].iloc[0]
    partly = spans.assign(attributes=np.where(first, '{"SampleRate":4}', None))

    chosen, mixed = sampling.of_spans(silent), sampling.of_spans(partly)

    after = spans.assign(attributes='{"tailsampling.policy":"x","w3c.tracestate":"ot=th:8"}')

    assert "10 of 10 traces were chosen by tailsampling.policy" in chosen.reasons[0]
    assert (
        "10 of 10 traces were chosen by tailsampling.policy" in sampling.of_spans(after).reasons[0]
    )
    assert "9 of 10 traces do not say" in mixed.reasons[0]
    assert () == sampling.of_spans(spans).reasons
    assert not sampling.of_spans(spans).is_sampled


def test_mixed_rates_bias_naive_shares_and_not_weighted_ones() -> None:
    """Of 60 samples that keep every error, about 57 intervals hold the share of the whole."""
    whole = _requests(2000, seed=7)
    truth = _select_share(shares.request_shares(whole))["share"]
    asked = float(queries.per_request(whole)["per_request"].sum())
    inside, naive, weighted, per_request = 0, [], [], []
    for seed in range(60):
        sample = _kept(whole, seed, {"GET /failing": 1.0, "GET /fine": 0.1})
        found = _select_share(shares.request_shares(sample))
        inside += found["share_low"] <= truth <= found["share_high"]
        weighted.append(found["share"])
        naive.append(_select_share(shares.request_shares(sample.assign(attributes=None)))["share"])
        per_request.append(float(queries.per_request(sample)["per_request"].sum()))
    error = np.std(weighted) / 60**0.5

    assert 52 <= inside <= 60
    assert abs(np.mean(weighted) - truth) < 4 * error
    assert abs(np.mean(naive) - truth) > 10 * error
    assert asked == pytest.approx(np.mean(per_request), rel=0.02)


def test_uniform_samples_have_the_shares_of_the_whole_within_their_intervals() -> None:
    """At one rate for all the weights move nothing, and the interval is the sampling's."""
    whole = _requests(2000, seed=8)
    truth = _select_share(shares.request_shares(whole))["share"]
    rates = {"GET /failing": 0.125, "GET /fine": 0.125}
    found = [shares.request_shares(_kept(whole, seed, rates)) for seed in range(60)]
    rows = [_select_share(table) for table in found]

    assert 52 <= sum(row["share_low"] <= truth <= row["share_high"] for row in rows)
    assert found[0].attrs["interval"].startswith("95 % interval of the sampling alone")
    assert 2000 == pytest.approx(
        np.mean(
            [queries.per_request(_kept(whole, s, rates))["requests"].iloc[0] for s in range(9)]
        ),
        rel=0.05,
    )


def test_weighted_sums_add_up_over_parts() -> None:
    """Shares of two parts together are those of all traces at once."""
    sample = _kept(_requests(400, seed=3), 1, {"GET /failing": 1.0, "GET /fine": 0.5})
    first = sample["trace_id"] < f"{200:032x}"
    parts = [sample[first].reset_index(drop=True), sample[~first].reset_index(drop=True)]

    together = shares.from_sums([shares.sums(part) for part in parts])

    pd.testing.assert_frame_equal(shares.request_shares(sample), together)


def _counted_requests(spans: pd.DataFrame) -> int:
    return int(queries.per_request(spans)["requests"].iloc[0])


def _select_share(table: pd.DataFrame) -> pd.Series:
    return table[table["name"] == "SELECT"].iloc[0]
