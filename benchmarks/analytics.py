"""How many spans a second go from Parquet to shares, with self time and sections, on one core?

12-span traces in Parquet as `worthit` writes it. Two ways are timed: `traces.read` of the columns
that shares need and `shares.request_shares`, which has self time and the critical path in it; and
the same with `self_time` of every span and the sections as a table besides. Beside them the same
definitions by a straightforward pandas groupby-apply. Times are CPU seconds of the process, the
least of some runs: on a shared machine wall time says more about the others, and memory that is
touched for the first time costs a virtual machine several times what it costs later. Compiling,
once a machine, is not counted.

python -m benchmarks analytics                                   100 thousand to 10 million
python -m benchmarks analytics --spans 50000000 --partitions 16  beyond memory, with its peak
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pyarrow as pa

from analysis import critical_path, self_time, shares, traces
from benchmarks.support import synthetic_traces

COLUMNS = ("kind", "block")
"""What shares need beside what identifies a span."""
SIZES = (100_000, 1_000_000, 10_000_000)
PANDAS_SPANS = 2_400_000
PANDAS_TRACES = 1_500
"""As many traces as a groupby-apply does in about 10 s."""
WANTED_SPANS_PER_S = 1_000_000
WANTED_LINEAR = 1.3
WANTED_GIB = 6.0
_REPEATS = 3
"""Of the small sizes; the least CPU time counts, for what only adds is disturbance."""

_MANY_SPANS = 2_000_000
_REPEATS_OF_MANY = 2
_WAYS: Mapping[str, Mapping[str, Callable[[pd.DataFrame], object]]] = {
    "to shares": {"shares": shares.request_shares},
    "with self time and sections as tables": {
        "self time": self_time.self_time,
        "sections": critical_path.sections,
        "shares": shares.request_shares,
    },
}
"""What is asked of a table, in this order."""


def main(argv: Sequence[str]) -> int:
    """Run it; 1 where a figure misses what is wanted."""
    parser = argparse.ArgumentParser(prog="benchmarks analytics", description=__doc__)
    parser.add_argument("--spans", type=int, action="append", help="instead of the three sizes")
    parser.add_argument("--partitions", type=int, help="stream, so many parts")
    asked = parser.parse_args(list(argv))
    pa.set_cpu_count(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sizes = asked.spans or list(SIZES)
    with tempfile.TemporaryDirectory(prefix="worthit-bench-") as folder:
        small = Path(folder) / "small.parquet"
        synthetic_traces.write(small, 12_000)
        _warm(small)
        if asked.partitions:
            return _beyond_memory(Path(folder), sizes[-1], asked.partitions)
        return _in_memory(Path(folder), sizes)


def _warm(file: Path) -> None:
    """Compile, or load what was compiled before."""
    began = time.perf_counter()
    spans = traces.read(file, columns=COLUMNS)
    shares.request_shares(spans)
    critical_path.sections(spans)
    print(f"compiled or loaded in {time.perf_counter() - began:.1f} s, not counted below")


def _in_memory(folder: Path, sizes: Sequence[int]) -> int:
    rates: dict[str, dict[int, float]] = {name: {} for name in _WAYS}
    for size in sizes:
        file = folder / f"{size}.parquet"
        count = synthetic_traces.write(file, size)
        repeats = _REPEATS if count <= _MANY_SPANS else _REPEATS_OF_MANY
        for name, questions in _WAYS.items():
            seconds = _least(file, questions, repeats)
            rates[name][size] = count / sum(seconds)
            parts = " + ".join(
                f"{what} {took:.2f}"
                for what, took in zip(("read", *questions), seconds, strict=True)
            )
            print(f"{count:>11,} spans, {name}: {rates[name][size]:>9,.0f} spans/s ({parts} s)")
        file.unlink()
    by_pandas = _by_pandas(folder)
    beside = _groupby_apply(folder)
    print(f"pandas groupby-apply, same definitions: {beside:,.0f} spans/s")
    reached = [_judged(name, of_size, beside) for name, of_size in rates.items()]
    return 0 if all(reached) and by_pandas else 1


def _by_pandas(folder: Path) -> bool:
    """Whether what pandas wrote, in the order of the spans' ends, is as fast as is wanted."""
    file = folder / "pandas.parquet"
    count = synthetic_traces.write_by_pandas(file, PANDAS_SPANS)
    questions = _WAYS["with self time and sections as tables"]
    seconds = _least(file, questions, _REPEATS)
    file.unlink()
    parts = " + ".join(
        f"{what} {took:.2f}" for what, took in zip(("read", *questions), seconds, strict=True)
    )
    rate = count / sum(seconds)
    print(f"{count:>11,} spans that pandas wrote: {rate:>9,.0f} spans/s ({parts} s)")
    return rate >= WANTED_SPANS_PER_S


def _judged(name: str, rates: dict[int, float], beside: float) -> bool:
    """Print one way's figures at its largest size; whether they are what is wanted."""
    largest, smallest = max(rates), min(rates)
    linear = rates[smallest] / rates[largest]
    reached = rates[largest] >= WANTED_SPANS_PER_S and linear <= WANTED_LINEAR
    print(
        f"{name}: {rates[largest]:,.0f} spans/s, {rates[largest] / beside:,.0f} times pandas; "
        f"cost a span, {largest:,} against {smallest:,}: {linear:.2f} (1.3 or less is wanted); "
        f"1,000,000 spans/s and near linear: {'reached' if reached else 'MISSED'}"
    )
    return reached


def _least(
    file: Path, questions: Mapping[str, Callable[[pd.DataFrame], object]], repeats: int
) -> list[float]:
    """CPU seconds of reading and of each question, of the run that took least altogether.

    Each run reads a table of its own, so that nothing is known of it before.
    """
    return min((_run(file, questions) for _ in range(repeats)), key=sum)


def _run(file: Path, questions: Mapping[str, Callable[[pd.DataFrame], object]]) -> list[float]:
    marks = [time.process_time()]
    spans = traces.read(file, columns=COLUMNS)
    marks.append(time.process_time())
    answers = []
    for question in questions.values():
        answers.append(question(spans))
        marks.append(time.process_time())
    return [after - before for before, after in pairwise(marks)]


def _beyond_memory(folder: Path, size: int, partitions: int) -> int:
    file = folder / f"{size}.parquet"
    count = synthetic_traces.write(file, size)
    began, wall = time.process_time(), time.perf_counter()
    with traces.read(file, columns=COLUMNS, partitions=partitions) as parts:
        dealt = time.process_time() - began
        table = shares.from_sums(shares.sums(part) for part in parts)
    took, wall = time.process_time() - began, time.perf_counter() - wall
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{count:,} spans in {partitions} parts: {took:.1f} s CPU ({dealt:.1f} s to deal out), "
        f"{wall:.1f} s wall, {count / took:,.0f} spans/s, peak memory {peak_gib:.2f} GiB "
        f"({WANTED_GIB:.0f} or less is wanted); shares add up to {table['share'].sum():.6f}"
    )
    return 0 if peak_gib <= WANTED_GIB and table["spans"].sum() == count else 1


def _groupby_apply(folder: Path) -> float:
    """Spans a second of the obvious pandas: one Python call a trace, loops over its spans."""
    file = folder / "pandas.parquet"
    count = synthetic_traces.write(file, PANDAS_TRACES * synthetic_traces.SPANS_PER_TRACE)
    began = time.process_time()
    spans = pd.read_parquet(file)
    sums = spans.groupby("trace_id", sort=False)[spans.columns.tolist()].apply(_one_trace)
    totals = sums.groupby("name")[["self_ns", "critical_ns"]].sum()
    took = time.process_time() - began
    whole = shares.request_shares(traces.read(file)).set_index("name")
    share = totals["critical_ns"] / totals["critical_ns"].sum()
    assert (share - whole["share"]).abs().max() < 1e-9, "the two disagree"  # noqa: S101 - a check
    sums_agree = totals["self_ns"].sum() == self_time.self_time(traces.read(file)).sum()
    assert sums_agree  # noqa: S101 - a check
    return count / took


def _one_trace(trace: pd.DataFrame) -> pd.DataFrame:
    end = trace["start_ns"] + trace["duration_ns"]
    rows = list(
        zip(trace["span_id"], trace["parent_span_id"], trace["start_ns"], end, strict=True)
    )
    children: dict[str, list[tuple[str, int, int]]] = {}
    for span, parent, start, stop in rows:
        children.setdefault(str(parent), []).append((span, start, stop))
    own = {}
    critical = dict.fromkeys(trace["span_id"], 0)
    for span, _, start, stop in rows:
        reached, covered = start, 0
        for _, low, high in sorted(children.get(span, []), key=lambda child: child[1]):
            low, high = max(low, reached), min(high, stop)  # noqa: PLW2901 - clipped
            if high > low:
                covered, reached = covered + high - low, high
        own[span] = stop - start - covered
    walk = [(span, start, stop) for span, parent, start, stop in rows if pd.isna(parent)]
    while walk:
        span, low, high = walk.pop()
        cursor = high
        for child, start, stop in sorted(children.get(span, []), key=lambda c: -c[2]):
            begin, finish = max(start, low), min(stop, high)
            if begin >= finish or (cursor < high and finish >= cursor):
                continue
            critical[span] += cursor - finish
            walk.append((child, begin, finish))
            cursor = begin
        critical[span] += cursor - low
    return pd.DataFrame(
        {
            "name": trace["name"],
            "self_ns": list(own.values()),
            "critical_ns": list(critical.values()),
        }
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
