"""Which traces `worthit export` sends."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.rundir.run import Run, open_run
from tests.support.runs.synthetic_run import EMPTY, Truth, write_foreign_run, write_run
from worthit.errors import UsageError
from worthit.export.selection import Selection, choose

SMALL = Truth(rates_per_s=(10.0,), pairs=2, block_s=2.0)


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(write_run(tmp_path_factory.mktemp("runs") / "small", SMALL))


def test_without_wishes_everything_is_chosen(run: Run) -> None:
    """An empty selection means every span of every trace, warm-up included."""
    chosen = choose(run, Selection())

    assert chosen.traces is None
    assert chosen.span_count == len(run.spans)
    assert chosen.trace_count == run.spans["trace_id"].nunique()


def test_the_slowest_are_those_a_plain_sort_gives(run: Run) -> None:
    """The N slowest are the N longest roots of the blocks that count, never of the warm-up."""
    counted = run.measured_spans
    roots = counted[counted["parent_span_id"].isna()]
    expected = frozenset(roots.sort_values("duration_ns")["trace_id"].tail(3))

    assert expected == choose(run, Selection(slowest=3)).traces


def test_a_caller_outside_the_run_hides_no_trace(tmp_path: Path) -> None:
    """A first span whose parent was never recorded, as a load generator's, begins its trace."""
    folder = write_run(tmp_path / "called", SMALL)
    spans = pd.read_parquet(folder / "spans.parquet", dtype_backend="pyarrow")
    first = spans["parent_span_id"].isna()
    expected = choose(open_run(folder), Selection(slowest=3)).traces
    spans.loc[first, "parent_span_id"] = "ffffffffffffffff"
    spans.to_parquet(folder / "spans.parquet")

    assert expected == choose(open_run(folder), Selection(slowest=3)).traces
    assert expected is not None


def test_an_arm_is_all_of_its_spans(run: Run) -> None:
    """Choosing an arm takes as many spans as the table holds of it."""
    assert int((run.spans["arm"] == "on").sum()) == choose(run, Selection(arm="on")).span_count


def test_arm_and_slowest_go_together(run: Run) -> None:
    """The slowest of an arm are all of that arm."""
    chosen = choose(run, Selection(arm="off", slowest=2))
    arms = run.spans[run.spans["trace_id"].isin(chosen.traces or ())]["arm"].unique()

    assert ["off"] == list(arms)
    assert chosen.trace_count == 2


def test_a_beginning_of_an_id_is_enough(run: Run) -> None:
    """A trace is found by its id in either case, or by a beginning that no other trace has."""
    trace: str = run.spans["trace_id"].iloc[0]

    assert frozenset({trace}) == choose(run, Selection(trace_id=trace.upper())).traces


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (Selection(arm="of"), "no span of arm 'of' was found; its arms are off, on"),
        (Selection(trace_id="ffffffff"), "no trace whose id begins with 'ffffffff'"),
        (Selection(trace_id=""), "no trace whose id begins with ''"),
        (Selection(trace_id="0"), "is the beginning of"),
    ],
    ids=["arm", "unknown id", "empty id", "short id"],
)
def test_what_is_not_there_is_a_sentence(run: Run, wanted: Selection, sentence: str) -> None:
    """An unknown arm or trace says what there is."""
    with pytest.raises(UsageError, match=sentence):
        choose(run, wanted)


def test_an_empty_run_has_nothing_to_send(tmp_path: Path) -> None:
    """A run without spans is refused, not sent as nothing."""
    run = open_run(write_run(tmp_path / "empty", SMALL, EMPTY))

    with pytest.raises(UsageError, match="holds no spans"):
        choose(run, Selection(slowest=1))


def test_a_run_of_somebody_elses_service_has_no_arms(tmp_path: Path) -> None:
    """Without arms and blocks every trace counts, and asking for an arm says so."""
    run = open_run(write_foreign_run(tmp_path / "foreign", requests=20))

    assert choose(run, Selection(slowest=1)).trace_count == 1
    with pytest.raises(UsageError, match="its spans name no arm"):
        choose(run, Selection(arm="on"))


def test_unfinished_roots_are_never_the_slowest(tmp_path: Path) -> None:
    """A run whose roots never ended says so instead of picking some."""
    folder = write_run(tmp_path / "unfinished", SMALL)
    spans = pd.read_parquet(folder / "spans.parquet", dtype_backend="pyarrow")
    spans.loc[spans["parent_span_id"].isna(), "duration_ns"] = None
    spans.to_parquet(folder / "spans.parquet")

    with pytest.raises(UsageError, match="no trace with a finished first span"):
        choose(open_run(folder), Selection(slowest=1))
