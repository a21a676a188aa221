"""Arms that were sent unlike traffic are compared kind by kind, never by their totals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from analysis.questions.asking import findings
from analysis.questions.database_load.answer import DatabaseLoad
from analysis.questions.faster import kinds
from analysis.questions.faster.answer import Faster
from analysis.rundir.run import open_run
from tests.support.runs.synthetic_run import Truth, write_run
from worthit.cli.compare import command

ORIGIN = "intended_ns"
_READ_MS, _WRITE_MS, _LONGER = 10.0, 100.0, 1.10


def _requests(
    rng: np.random.Generator, *, writes: float, longer: float, blocks: range, each: int = 150
) -> pd.DataFrame:
    """Reads of 10 ms and writes of 100 ms at the median (sigma 0.3), times ``longer``."""
    count = len(blocks) * each
    is_write = rng.uniform(size=count) < writes
    ms = np.where(is_write, _WRITE_MS, _READ_MS) * longer * np.exp(rng.normal(0, 0.3, count))
    begin = np.arange(count, dtype=np.int64) * 1_000_000
    return pd.DataFrame(
        {
            "scenario": "shop",
            "name": np.where(is_write, "POST /order", "GET /item"),
            "block": np.repeat(list(blocks), each),
            "draw": np.arange(count),
            ORIGIN: begin,
            "end_ns": begin + (ms * 1e6).astype(np.int64),
            "status_code": 200,
            "error": None,
        }
    )


def _sides(seed: int, writes: tuple[float, float], longer: float) -> list[kinds.Traffic]:
    rng = np.random.default_rng(seed)
    return [
        kinds.traffic(
            _requests(rng, writes=part, longer=by, blocks=range(8)), list(range(8)), ORIGIN
        )
        for part, by in zip(writes, (1.0, longer), strict=True)
    ]


def test_an_arm_slower_at_every_kind_is_slower_though_its_total_is_lower() -> None:
    """10 % slower at both kinds; the total says faster; by the pooled mix the truth is covered."""
    mean = np.exp(0.3**2 / 2)
    covered = lower = 0
    for seed in range(15):
        one, two = _sides(seed, (0.8, 0.2), _LONGER)
        totals = [
            sum(sum(s.sums(k)[0]) for k in s.times) / s.counts.sum().sum() for s in (one, two)
        ]
        lower += totals[1] < totals[0]
        assert kinds.unlike(one, two) is not None
        found = kinds.standardised(one, two, kinds.in_both(one, two), steps=[0] * 8).difference
        truth = mean * (_LONGER - 1) * (_READ_MS + _WRITE_MS) / 2
        covered += (found.low or 0) <= truth <= (found.high or 0)
        assert (found.low or 0) > 0

    assert 15 == lower
    assert 13 <= covered


def test_a_mix_that_differs_by_chance_is_no_unlike_traffic() -> None:
    """Of 200 pairs of arms with one mix, 8 blocks of 150 requests, at most 5 % are unlike."""
    rng = np.random.default_rng(3)

    def arm() -> kinds.Traffic:
        read = rng.binomial(150, 0.5, 8)
        counts = pd.DataFrame({"GET /item": read, "POST /order": 150 - read})
        return kinds.Traffic(blocks=tuple(range(8)), counts=counts, times={})

    called = sum(kinds.unlike(arm(), arm()) is not None for _ in range(200))

    assert 10 >= called


def test_the_worked_example_is_what_is_computed() -> None:
    """80 reads of 10 and 20 writes of 100 ms against 20 of 12 and 80 of 110: 55 and 61 ms."""

    def side(reads: tuple[int, float], writes: tuple[int, float]) -> kinds.Traffic:
        ms = np.repeat([reads[1], writes[1]], [reads[0], writes[0]])
        names = np.repeat(["GET /item", "POST /order"], [reads[0], writes[0]])
        table = _requests(
            np.random.default_rng(1),
            writes=0,
            longer=1,
            blocks=range(1),
            each=reads[0] + writes[0],
        )
        table = table.assign(name=names, end_ns=table[ORIGIN] + (ms * 1e6).astype(np.int64))
        return kinds.traffic(pd.concat([table] * 2), [0], ORIGIN)  # 40 and 160: above the fewest

    one, two = side((80, 10.0), (20, 100.0)), side((20, 12.0), (80, 110.0))
    found = kinds.standardised(one, two, ["shop: GET /item", "shop: POST /order"], steps=[0])

    assert (55.0, 61.0, 6.0) == pytest.approx(
        (found.before.value, found.after.value, found.difference.value)
    )
    assert not found.difference.has_interval


@pytest.fixture(name="unlike", scope="module")
def _unlike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose arm `on` was asked for quick requests four times as often as the arm `off`."""
    folder = write_run(
        tmp_path_factory.mktemp("unlike") / "run",
        Truth(rates_per_s=(20.0,), pairs=6, block_s=4.0, cache=False, noise=0.05),
    )
    requests = pd.read_parquet(folder / "requests.parquet")
    rng = np.random.default_rng(7)
    quick = rng.uniform(size=len(requests)) < np.where(requests["arm"] == "on", 0.8, 0.2)
    cut = (requests["end_ns"] - requests["sent_ns"]) * 9 // 10
    requests = requests.assign(
        name=np.where(quick, "GET /status", "POST /chat"),
        end_ns=requests["end_ns"] - np.where(quick, cut, 0),
    )
    requests.to_parquet(folder / "requests.parquet")
    return folder


def test_a_report_refuses_the_total_and_shows_each_kind(unlike: Path) -> None:
    """The arms do the same: by the pooled mix no difference is decided, and there is no total."""
    found = findings(open_run(unlike))
    faster = found.of(Faster)
    mean, p95 = (
        next(r for r in faster.end_to_end if r.step is None and r.statistic == which)
        for which in ("mean", "p95")
    )

    assert "Simpson" in faster.unlike[0].sentence
    assert "chat: GET /status: 2" in faster.unlike[0].sentence
    assert "not decided" == mean.decided
    assert 300 > abs(mean.difference.value or 1e9)
    assert "Simpson" in (p95.difference.reason or "")
    assert p95.difference.value is None
    assert {"chat: GET /status", "chat: POST /chat"} == {row.kind for row in faster.kinds}
    assert {"not decided"} == {row.decided for row in faster.kinds}
    assert all(row.factor.value is None for row in found.of(DatabaseLoad).reductions)


@pytest.mark.parametrize("arms", [(":off", ":on"), ("", "2")], ids=["two arms", "two runs"])
def test_compare_says_that_traffic_is_unlike(
    unlike: Path, arms: tuple[str, str], tmp_path: Path
) -> None:
    """Two arms of a run, and two runs, have rows by kind and a sentence in place of the total."""
    other = unlike
    if arms[1] == "2":
        other = write_run(
            tmp_path / "other",
            Truth(rates_per_s=(20.0,), pairs=6, block_s=4.0, cache=False, noise=0.05),
            seed=9,
        )
        requests = pd.read_parquet(other / "requests.parquet")
        names = np.where(np.arange(len(requests)) % 2 == 0, "GET /status", "POST /chat")
        requests.assign(name=names).to_parquet(other / "requests.parquet")
    second = f"{other}{arms[1] if arms[1] != '2' else ''}"
    wide = {"COLUMNS": "200"}  # so that no cell of the table wraps
    done = CliRunner().invoke(command, [f"{unlike}{arms[0]}", second], env=wide)

    assert "Simpson's paradox" in done.output
    assert "POST /chat, p95" in done.output
    assert "response time, p95" not in done.output
