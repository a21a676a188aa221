from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from analysis.claims.thresholds import claim_rows, evaluate, of_run
from analysis.errors import InputError
from analysis.rundir.run import Run, open_run
from tests.support.runs.synthetic_run import Truth, write_run
from worthit.contract.thresholds import parse

ZERO_NS = 1_795_000_000_000_000_000
RNG = np.random.default_rng(7)


def requests(durations_ms: list[float | None], **columns: object) -> pd.DataFrame:
    """Return a requests table: one a second, sent 2 ms late, None for one that never ended."""
    count = len(durations_ms)
    intended = ZERO_NS + np.arange(count) * 10**9
    ends = [
        None if took is None else int(at) + round(took * 1e6)
        for at, took in zip(intended, durations_ms, strict=True)
    ]
    return pd.DataFrame(
        {
            "name": "/chat",
            "scenario": "chat",
            "arm": "off",
            "step": 0,
            "status_code": pd.array([200] * count, dtype="Int64"),
            "error": None,
            "intended_ns": intended,
            "sent_ns": intended + 2_000_000,
            "end_ns": pd.array(ends, dtype="Int64"),
            **columns,
        }
    )


def observed(text: str, **tables: pd.DataFrame) -> float:
    """Return the figure that a threshold sees."""
    return float(evaluate([parse(text)], **tables)["observed"].iloc[0])


@pytest.mark.parametrize("percent", [0, 50, 95, 99, 99.9, 100])
def test_percentiles_are_exact(percent: float) -> None:
    """p(N) of response time is the measured value that N % do not exceed, to the nanosecond."""
    durations = (RNG.integers(1_000, 10**10, 4321) / 1e6).tolist()

    found = observed(f"response_time: p({percent})<1", requests=requests(durations))

    ordered = sorted(durations)
    rank = max(math.ceil(percent / 100 * len(ordered)), 1)
    assert found == pytest.approx(ordered[rank - 1], abs=1e-6)


def test_all_aggregations_agree_with_pandas() -> None:
    """avg, min, max and med are those of pandas."""
    durations = [3.0, 1.0, 2.0, 10.0, 5.0]
    table = requests(list(durations))
    series = pd.Series(durations)

    found = [
        observed(f"response_time: {word}<1", requests=table)
        for word in ("avg", "min", "max", "med")
    ]

    assert found == pytest.approx([series.mean(), series.min(), series.max(), series.median()])


def test_response_service_and_lag_are_told_apart() -> None:
    """Sent 2 ms late: the response time is 2 ms longer than the service time; the lag is 2 ms."""
    table = requests([10.0, 10.0])

    found = [
        observed(f"{m}: max<1", requests=table) for m in ("response_time", "service_time", "lag")
    ]

    assert found == pytest.approx([10.0, 8.0, 2.0])


def test_k6s_own_names_mean_what_k6_measures() -> None:
    """http_req_duration is service time, http_req_failed errors, http_reqs requests."""
    table = requests([10.0, 10.0, 10.0, 10.0], error=[None, "HTTP 500", None, None])

    assert observed("http_req_duration: p(95)<1", requests=table) == pytest.approx(8.0)
    assert observed("http_req_failed: rate<0.01", requests=table) == 0.25
    assert observed("http_reqs: count>1", requests=table) == 4
    assert observed("http_reqs: rate>1", requests=table) == pytest.approx(4 / 3)


def test_what_never_ended_is_slower_than_every_limit() -> None:
    """One of four requests never ended: the slowest quarter took forever, the median did not."""
    table = requests([1.0, 2.0, 3.0, None])

    assert observed("response_time: p(75)<5", requests=table) == pytest.approx(3.0)
    assert observed("response_time: p(76)<5", requests=table) == math.inf
    assert not evaluate([parse("response_time: max<1e12")], requests=table)["within"].any()


def test_nothing_holds_of_nothing() -> None:
    """Without requests no limit holds, in neither direction; a count of them is 0."""
    empty = requests([]).head(0)

    within = evaluate(
        [parse(f"response_time: p(95){way}5") for way in ("<", ">", "!=")], requests=empty
    )["within"]

    assert within.tolist() == [False, False, False]
    assert observed("requests: count<1", requests=empty) == 0


def test_tags_choose_requests() -> None:
    """Tags choose by name, arm, step and status; text and numbers alike."""
    table = requests(
        [1.0, 2.0, 3.0],
        arm=["off", "on", "on"],
        step=[0, 0, 1],
        status_code=pd.array([200, 429, None], dtype="Int64"),
    )

    found = [
        observed(f"response_time{{{tags}}}: max<1", requests=table)
        for tags in ("arm:off", "arm:on", "arm:on,step:0", "status:429", "name:/chat")
    ]

    assert found == pytest.approx([1.0, 3.0, 2.0, 2.0, 3.0])


def test_a_rate_is_over_the_time_of_what_it_is_about() -> None:
    """Arms took turns of 10 s at 10/s: each has 10/s, and a name of every fifth request 2/s."""
    at_s = np.arange(0, 40, 0.1)
    table = requests([1.0] * len(at_s)).assign(
        intended_ns=ZERO_NS + (at_s * 1e9).astype(np.int64),
        block=(at_s // 10).astype(np.int32),
        arm=np.where(at_s // 10 % 2 == 0, "off", "on"),
        name=np.where(np.arange(len(at_s)) % 5 == 0, "/rare", "/chat"),
    )

    assert observed("requests: rate>1", requests=table) == pytest.approx(10, rel=0.02)
    assert observed("requests{arm:on}: rate>1", requests=table) == pytest.approx(10, rel=0.02)
    assert observed("requests{arm:on,name:/rare}: rate>1", requests=table) == pytest.approx(
        2, rel=0.02
    )


@pytest.mark.parametrize(
    ("text", "figure", "within"),
    [("response_time: p(95)<6", 9.0, False), ("response_time: p(95)>6", 1.0, False),
     ("response_time: p(95)<10", 9.0, True)],
)  # fmt: skip
def test_of_several_arms_the_worst_decides(text: str, figure: float, *, within: bool) -> None:
    """98 requests of 1 ms in one arm would hide 2 of 9 ms in the other from the pooled p95."""
    table = requests([1.0] * 98 + [9.0] * 2, arm=["off"] * 98 + ["on"] * 2)

    answer = evaluate([parse(text)], requests=table)
    (row,) = claim_rows(answer)

    assert (figure, within) == (answer["observed"].iloc[0], answer["within"].iloc[0])
    assert "the worst" in row["sentence"]


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("<", False),
        ("<=", True),
        (">", False),
        (">=", True),
        ("==", True),
        ("===", True),
        ("!=", False),
    ],
)
def test_every_operator_of_k6(operator: str, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    """At the limit itself each operator says what mathematics says."""
    table = requests([5.0])

    assert evaluate([parse(f"response_time: max{operator}5")], requests=table)[
        "within"
    ].tolist() == [expected]


def test_shares_and_queries_are_held_against_their_tables() -> None:
    """Share and queries per request are read from the analysis' own answers, chosen by tags."""
    shares = pd.DataFrame(
        {"service": "chat", "name": ["a", "b"], "share": [0.25, 0.75], "inclusive": [1.0, 0.75]}
    )
    queries = pd.DataFrame(
        {
            "call": ["query", "query", "cache"],
            "service": "chat",
            "db_collection": ["personalities", "users", None],
            "statement": ["SELECT a", "SELECT b", "GET"],
            "per_request": [0.05, 1.0, 2.0],
        }
    )

    assert observed("share{operation:a}: value<2", shares=shares) == 1.0
    assert observed("share{operation:b}: value<1", shares=shares) == 0.75
    assert observed("share{service:chat}: value<=1", shares=shares) == 1.0
    assert observed("queries_per_request: value<1", queries=queries) == pytest.approx(1.05)
    assert observed(
        "queries_per_request{collection:personalities}: value<1", queries=queries
    ) == pytest.approx(0.05)


@pytest.fixture(name="perfect", scope="module")
def _perfect(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose cache always hits: the arm on asks the database for no personality."""
    truth = Truth(rates_per_s=(20.0,), pairs=2, block_s=2.0, hit_rate=1.0)
    return open_run(write_run(tmp_path_factory.mktemp("perfect") / "run", truth))


@pytest.mark.parametrize(
    "text",
    [
        "queries_per_request{arm:on,collection:personalities}: value<0.01",
        "share{arm:on,operation:SELECT personalities}: value<0.001",
    ],
)
def test_a_perfect_cache_makes_no_query_and_that_is_0(perfect: Run, text: str) -> None:
    """80 requests without one of what the other arm does: a zero, and within its limit."""
    answer = of_run([parse(text)], perfect)

    assert [(0.0, 80, True)] == list(
        zip(answer["observed"], answer["n"], answer["within"], strict=True)
    )
    assert ["holds"] == [row["verdict"] for row in claim_rows(answer)]


@pytest.mark.parametrize(
    "text",
    [
        "queries_per_request{collection:personalites}: value<0.01",
        "queries_per_request{arm:third}: value<100",
        "queries_per_request{arm:third,collection:personalities}: value<100",
        "share{arm:third,operation:SELECT personalities}: value<1",
        "share{operation:personality.lookups}: value<1",
        "errors{arm:third}: rate<0.01",
    ],
)
def test_what_the_run_never_saw_is_not_decided(perfect: Run, text: str) -> None:
    """A name that is misspelt, an arm that is not there: no zero, and no word of holding."""
    answer = of_run([parse(text)], perfect)
    (row,) = claim_rows(answer)

    assert [False] == answer["within"].tolist()
    assert ("not decided", 0) == (row["verdict"], row["n"])
    assert "Nothing was recorded that it speaks of." == row["sentence"]
    assert row["would_decide"]


def test_without_any_query_in_the_run_nobody_knows_of_queries(perfect: Run) -> None:
    """A service whose database calls are not traced makes none by its spans: no zero either."""
    spans = perfect.spans[perfect.spans["db_system"] != "postgresql"]
    untraced = Run(path=perfect.path, manifest=perfect.manifest, written=perfect.written)
    untraced.__dict__.update(spans=spans)

    answer = of_run([parse("queries_per_request{arm:on}: value<1")], untraced)

    assert ["not decided"] == [row["verdict"] for row in claim_rows(answer)]


def test_a_request_that_never_ended_is_said_in_words() -> None:
    """Infinity is no figure to print."""
    (row,) = claim_rows(evaluate([parse("response_time: max<5")], requests=requests([1.0, None])))

    assert ("does not hold", "A request that it speaks of never ended.") == (
        row["verdict"],
        row["sentence"],
    )


def test_a_missing_table_is_an_error_and_not_a_pass() -> None:
    """A threshold on shares without spans is refused."""
    with pytest.raises(InputError, match="needs spans, and there are none"):
        evaluate([parse("share{operation:a}: value<1")], requests=requests([1.0]))
