from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import scale, shares, traces
from analysis.calltree.call_tree import build_trees
from analysis.critical_path import critical_times
from analysis.errors import AnalysisError, ColumnError
from analysis.kernels.codes import REPEAT
from analysis.questions.shares import definitions
from tests.support.traces import awkward_traces
from tests.support.traces.span_tables import spans


def _blocks(per_block: list[list[tuple[float, float]]], arm: str = "off") -> pd.DataFrame:
    """Make one trace a pair (root ms, child ms), block by block."""
    rows = []
    for block, requests in enumerate(per_block):
        for number, (whole, part) in enumerate(requests):
            trace = f"{arm}-{block}-{number}"
            rows.append({"trace": trace, "id": "r", "takes": whole, "block": block, "arm": arm})
            rows.append(
                {"trace": trace, "id": "c", "parent": "r", "start": 1, "takes": part,
                 "block": block, "arm": arm, "name": "lookup"}
            )  # fmt: skip
    return spans(*rows)


def _drawn(rng: np.random.Generator, blocks: int, requests: int) -> pd.DataFrame:
    """Draw blocks that differ from each other, as blocks of a run do; the true share is 0.2."""
    parts = []
    for _ in range(blocks):
        level = rng.normal(20, 2)
        parts.append([(100.0, max(1.0, rng.normal(level, 3))) for _ in range(requests)])
    return _blocks(parts)


def test_a_share_is_critical_time_over_the_roots_time() -> None:
    """Shares, self and critical ms are means per request, and shares add up to 1."""
    table = shares.request_shares(_blocks([[(100, 20), (300, 60)]]))

    assert ["r", "lookup"] == table["name"].tolist()
    assert [0.8, 0.2] == pytest.approx(table["share"].tolist())
    assert [160, 40] == pytest.approx(table["critical_ms"].tolist())
    assert [160, 40] == pytest.approx(table["self_ms"].tolist())
    assert [2, 2] == table["spans"].tolist()
    assert [1, 1] == table["per_request"].tolist()


def test_an_inclusive_share_is_what_the_outermost_spans_hold() -> None:
    """Of a 100 ms request a holds 60 with all inside, also where b in it calls a again.

    By hand: root 100; a 0-60 holds b 10-50, which holds a 20-40 and c 40-45 in it; d 70-80.
    """
    table = spans(
        {"id": "r", "takes": 100},
        {"id": "a1", "parent": "r", "takes": 60, "name": "a"},
        {"id": "b", "parent": "a1", "start": 10, "takes": 40},
        {"id": "a2", "parent": "b", "start": 20, "takes": 20, "name": "a"},
        {"id": "c", "parent": "b", "start": 40, "takes": 5},
        {"id": "d", "parent": "r", "start": 70, "takes": 10},
    )

    found = shares.request_shares(table).set_index("name")

    assert {"r": 1.0, "a": 0.6, "b": 0.4, "c": 0.05, "d": 0.1} == pytest.approx(
        found["inclusive"].to_dict()
    )
    assert {"r": 0.3, "a": 0.4, "b": 0.15, "c": 0.05, "d": 0.1} == pytest.approx(
        found["share"].to_dict()
    )


def test_an_inclusive_share_is_what_plain_recursion_gives() -> None:
    """On 60 awkward traces each inclusive share equals the one of a slow walk over parents."""
    table = awkward_traces.draw(np.random.default_rng(5), 60)
    call_trees = build_trees(table)
    critical = critical_times(call_trees, "inclusive")
    expected = np.zeros(len(call_trees.operations))
    for place, parent in enumerate(call_trees.parent):
        if parent == REPEAT:
            continue
        over, above = {call_trees.operation[place]}, parent
        while above >= 0:
            over.add(call_trees.operation[above])
            above = call_trees.parent[above]
        for operation in over:
            expected[operation] += critical[place]
    roots = (call_trees.parent < 0) & (call_trees.parent != REPEAT)
    total = (call_trees.end - call_trees.start)[roots].sum()
    wanted = call_trees.operations.assign(inclusive=expected / total)

    found = shares.request_shares(table)

    both = wanted.merge(found, on=["service", "name"])
    assert len(both) == len(found)
    assert both["inclusive_x"].tolist() == pytest.approx(both["inclusive_y"].tolist())


def test_a_chain_of_50000_spans_has_inclusive_shares() -> None:
    """Depth costs no more than length: every level of an endless caller counts once."""
    chain: list[dict[str, Any]] = [{"id": "0", "takes": 100, "name": "root"}]
    chain += [
        {"id": str(at), "parent": str(at - 1), "takes": 50, "name": "deep"}
        for at in range(1, 50_000)
    ]

    found = shares.request_shares(spans(*chain)).set_index("name")["inclusive"]

    assert {"root": 1.0, "deep": 0.5} == found.to_dict()


def test_the_interval_is_the_jackknife_over_blocks() -> None:
    """The interval equals the delete-one-block jackknife, done here with plain loops."""
    rng = np.random.default_rng(4)
    parts = [
        [(100.0, float(rng.uniform(10, 40))) for _ in range(int(rng.integers(2, 6)))]
        for _ in range(7)
    ]
    critical = np.array([sum(part for _, part in block) for block in parts])
    whole = np.array([sum(root for root, _ in block) for block in parts])
    left_out = [
        (critical.sum() - critical[i]) / (whole.sum() - whole[i]) for i in range(len(parts))
    ]
    spread = np.sqrt(6 / 7 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    reach = stats.t.ppf(0.975, 6) * spread

    row = shares.request_shares(_blocks(parts)).set_index("name").loc["lookup"]

    assert critical.sum() / whole.sum() == pytest.approx(row["share"])
    assert row["share"] - reach == pytest.approx(row["share_low"])
    assert row["share"] + reach == pytest.approx(row["share_high"])


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 300 drawn runs of 8 unlike blocks, 95 % of intervals hold the true share (90 to 99 %)."""
    rng = np.random.default_rng(11)
    critical = rng.normal(20, 2, (300, 8)) + rng.normal(0, 3 / np.sqrt(30), (300, 8))
    roots = np.full(8, 100.0)

    intervals = [
        shares._interval(run[:, np.newaxis], roots, np.zeros(8, np.int64)) for run in critical
    ]

    covered = np.mean([low[0] <= 0.2 <= high[0] for low, high in intervals])
    assert 0.90 <= covered <= 0.99


def test_load_levels_are_strata_of_a_share() -> None:
    """An operation is 10, 20 and 40 % at three levels: their scatter alone makes the interval.

    Each block adds 1 % of its own: half-width 2.13 * 1 % / sqrt(18), t of 15 degrees of freedom;
    how the levels differ would make 6 %. At 95 % of 300 repeats fewer than 269 in 1 of 10^4 seeds.
    """
    rng = np.random.default_rng(12)
    levels = np.repeat([0, 1, 2], 6)
    at = np.array([10.0, 20.0, 40.0])[levels]
    ends = np.array(
        [
            shares._interval(
                (at + rng.normal(0.0, 1.0, 18))[:, np.newaxis], np.full(18, 100.0), levels
            )
            for _ in range(300)
        ]
    )[:, :, 0]

    covered = np.sum((ends[:, 0] <= at.mean() / 100) & (at.mean() / 100 <= ends[:, 1]))
    assert covered >= 269
    assert float(np.median(ends[:, 1] - ends[:, 0])) / 2 == pytest.approx(0.0050, rel=0.1)


def test_without_enough_blocks_there_is_no_interval_and_a_reason() -> None:
    """Five blocks, or none, give NaN and say what is missing."""
    five = shares.request_shares(_blocks([[(100, 20)]] * 5))
    none = shares.request_shares(_blocks([[(100, 20)]]).drop(columns="block"))

    assert five[["share_low", "share_high"]].isna().all(axis=None)
    assert "No interval: 5 blocks of spans, 1 more needed." == five.attrs["interval"]
    assert none[["share_low", "share_high"]].isna().all(axis=None)
    assert none.attrs["interval"].startswith("No interval: the spans name no blocks")


def test_shares_can_be_had_by_arm() -> None:
    """Each arm's shares are over its own requests, with its own interval or reason."""
    both = pd.concat(
        [_blocks([[(100, 20)]] * 6, "off"), _blocks([[(100, 10)]] * 2, "on")], ignore_index=True
    )
    nameless = both.assign(arm=both["arm"].where(both["arm"] == "on"))

    table = shares.request_shares(both, by="arm")

    found = table[table["name"] == "lookup"].set_index("arm")["share"]
    assert {"off": 0.2, "on": 0.1} == pytest.approx(found.to_dict())
    assert {"off", "on"} == set(table.attrs["interval"])
    unnamed = shares.request_shares(nameless, by="arm")
    assert 0.2 == pytest.approx(unnamed[unnamed["arm"].isna()]["share"].min())
    with pytest.raises(ColumnError, match="no column flavour"):
        shares.request_shares(both, by="flavour")
    for by in ("name", "block"):
        with pytest.raises(ColumnError, match=f"has a column {by} of its own"):
            shares.request_shares(both, by=by)


def test_requests_without_a_duration_have_no_share() -> None:
    """Where the roots' total time is 0 a share is missing, not 0 and not infinite."""
    table = shares.request_shares(spans({"id": "a", "takes": None}))

    assert table["share"].isna().all()


def test_partitions_add_up_to_the_whole(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Dealt out by trace id, in parts on disk, the traces give the same shares to the last bit."""
    table = awkward_traces.draw(np.random.default_rng(8), 400)
    table["block"] = (table["trace_id"].str[-1].map(lambda c: int(c, 16)) % 7).astype("Int32")
    file = tmp_path_factory.mktemp("parts") / "spans.parquet"
    table.to_parquet(file)
    whole = shares.request_shares(traces.read(file))

    with traces.read(file, partitions=5) as parts:
        sizes = [len(part) for part in parts]
        seen = [set(part["trace_id"]) for part in parts]
        added = shares.from_sums(shares.sums(part) for part in parts)
        folder = parts.files[0].parent

    assert len(table) == sum(sizes)
    assert min(sizes) > 0
    assert 400 == len(set.union(*seen)) == sum(map(len, seen))
    pd.testing.assert_frame_equal(whole, added)
    assert not folder.exists()
    with pytest.raises(AnalysisError, match=r"The part .*0000\.arrow is not there"):
        list(parts)
    with pytest.raises(AnalysisError, match="counted from 1; 0 were asked for"):
        traces.read(file, partitions=0)


def test_dask_gives_what_one_process_gives(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The identical functions on Dask's distributed scheduler give equal shares."""
    distributed = pytest.importorskip("distributed")
    table = awkward_traces.draw(np.random.default_rng(9), 200)
    file = tmp_path_factory.mktemp("dask") / "spans.parquet"
    table.to_parquet(file)
    whole = shares.request_shares(traces.read(file), "crisp")

    with (
        distributed.Client(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
        ) as client,
        traces.read(file, partitions=3) as parts,
    ):
        spread = scale.request_shares(parts, "crisp", client=client)
        counts = scale.over(parts, len, client=client)

    pd.testing.assert_frame_equal(whole, spread)
    assert len(table) == sum(counts)


def test_another_definition_is_put_beside_the_answer() -> None:
    """Parallel work moves the answer between definitions, and a sentence says by how much."""
    table = spans(
        {"id": "r", "takes": 100},
        {"id": "a", "parent": "r", "start": 0, "takes": 90, "name": "slow"},
        {"id": "b", "parent": "r", "start": 0, "takes": 80, "name": "beside"},
    )

    found = definitions.definitions(table)

    beside = found.set_index("name").loc["beside"]
    assert 0 == beside["share"]
    assert 80 / 180 == pytest.approx(beside["self_time"])
    assert (
        "By another definition: Jaeger's critical path would move no share; CRISP's critical path "
        "would move no share; self time instead of the critical path would move at most "
        "beside, from 0.00% to 44.44%."
    ) == definitions.sentence(found)
