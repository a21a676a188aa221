"""What happened when: rate, latency, queries, hit rate, pool and processor over the run?

Everything is counted into bins of equal width, so that a run of an hour draws as fast as one of a
minute. Nothing here is an estimate: it is the record, for seeing what the summaries average away.

Answer: one row a series, arm and bin: series (``rate``, ``median``, ``slowest``, ``queries``,
``busy``, ``hit_rate``, ``pool``, ``cpu``), arm (null for the machine), t_s (middle of the bin,
seconds from the start), value, n (what was counted). ``busy`` is Little's law over the bin: time
for which queries held their connections over time.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from analysis.calls.classify import is_query
from analysis.calltree.sampling import WEIGHT, weights_of
from analysis.questions.calls import held_ns
from worthit.contract.names import POOL_WAIT_NS as POOL_WAIT

COLUMNS = ("series", "arm", "t_s", "value", "n")

_POOL_METRICS = ("db.client.connection.count", "db.client.connections.usage")
"""The pool's gauge by OpenTelemetry's present and superseded name."""


def timeline(
    requests: pd.DataFrame,
    spans: pd.DataFrame,
    counters: pd.DataFrame,
    *,
    started_ns: int,
    bin_ns: int,
) -> pd.DataFrame:
    """Count the run into bins of ``bin_ns`` from ``started_ns``; what was not recorded has no row.

    Rates are per second, latencies in ms from the intended send, ``hit_rate`` of 1, ``cpu`` in
    percent of the machine, ``pool`` in connections in use.
    """
    seconds = bin_ns / 1e9
    parts = [
        *_from_requests(requests, started_ns, bin_ns),
        *_from_spans(spans, started_ns, bin_ns),
        *_from_counters(counters, started_ns, bin_ns),
    ]
    filled = [part for part in parts if not part.empty]
    if not filled:
        return pd.DataFrame({name: [] for name in COLUMNS})
    table = pd.concat(filled, ignore_index=True)
    table["t_s"] = (table["bin"] + 0.5) * seconds
    return table.loc[:, list(COLUMNS)].sort_values(["series", "arm", "t_s"], ignore_index=True)


def bin_width_ns(started_ns: int, ended_ns: int, *, bins: int = 200) -> int:
    """Width of a bin: whole seconds, at least one, so that there are at most ``bins``."""
    seconds = max(1, -(-(ended_ns - started_ns) // (bins * 1_000_000_000)))
    return int(seconds) * 1_000_000_000


def _from_requests(requests: pd.DataFrame, started_ns: int, bin_ns: int) -> list[pd.DataFrame]:
    """Arrivals per second and response time, by intended send."""
    if requests.empty:
        return []
    table = pd.DataFrame(
        {
            "arm": requests["arm"],
            "bin": (requests["intended_ns"] - started_ns) // bin_ns,
            "value": (requests["end_ns"] - requests["intended_ns"]) / 1e6,
        }
    )
    grouped = table.groupby(["arm", "bin"], dropna=False)
    n = grouped.size()
    rate = _series("rate", n * 1e9 / bin_ns, n)
    timed = grouped["value"].count()
    return [
        rate,
        _series("median", grouped["value"].median().astype("Float64"), timed),
        _series("slowest", grouped["value"].max().astype("Float64"), timed),
    ]


def _from_spans(spans: pd.DataFrame, started_ns: int, bin_ns: int) -> list[pd.DataFrame]:
    """Logical database queries per second and the share of lookups that hit."""
    if spans.empty:
        return []
    answers = []
    waited = POOL_WAIT if POOL_WAIT in spans.columns else "attributes"
    weighed = [WEIGHT] if WEIGHT in spans.columns else []
    columns = ["arm", "start_ns", "duration_ns", waited, *weighed]
    queries = spans.loc[is_query(spans), columns]
    if not queries.empty:
        n = (
            queries[["arm"]]
            .assign(bin=(queries["start_ns"] - started_ns) // bin_ns)
            .groupby(["arm", "bin"], dropna=False)
            .size()
        )
        weight = weights_of(queries)
        place = [queries["arm"], (queries["start_ns"] - started_ns) // bin_ns]
        made = weight.groupby(place, dropna=False).sum().rename_axis(n.index.names)
        answers.append(_series("queries", made * 1e9 / bin_ns, n))
        held = held_ns(queries).fillna(0.0) * weight
        busy = held.groupby(place, dropna=False).sum() / bin_ns
        answers.append(_series("busy", busy.rename_axis(n.index.names), n))
    needed = ["arm", "start_ns", "cache_hit", *weighed]
    lookups = spans.loc[spans["cache_hit"].notna(), needed]
    if not lookups.empty:
        binned = lookups.assign(
            bin=(lookups["start_ns"] - started_ns) // bin_ns,
            hits=lookups["cache_hit"].astype("float64") * weights_of(lookups),
            weight=weights_of(lookups),
        )
        grouped = binned.groupby(["arm", "bin"], dropna=False)
        hit_rate = (grouped["hits"].sum() / grouped["weight"].sum()).astype("Float64")
        answers.append(_series("hit_rate", hit_rate, grouped.size()))
    return [answer.astype({"arm": "str"}) for answer in answers]


def _from_counters(counters: pd.DataFrame, started_ns: int, bin_ns: int) -> list[pd.DataFrame]:
    """Connections in use, summed over processes, and the machine's processor."""
    if counters.empty:
        return []
    answers = []
    binned = counters.assign(bin=(counters["t_ns"] - started_ns) // bin_ns)
    cpu = binned[(binned["source"] == "machine") & (binned["name"] == "cpu_percent")]
    if not cpu.empty:
        grouped = cpu.assign(arm=None).groupby(["arm", "bin"], dropna=False)["value"]
        answers.append(_series("cpu", grouped.mean(), grouped.size()))
    pool = binned[binned["name"].isin(_POOL_METRICS)]
    if not pool.empty:
        labels = [_labels(text) for text in pool["labels"]]
        pool = pool.assign(
            arm=pd.Series([label.get("arm") for label in labels], index=pool.index, dtype="str"),
            used=[any(value == "used" for value in label.values()) for label in labels],
        )
        used = pool[pool["used"]].groupby(["arm", "bin", "labels"], dropna=False)["value"].mean()
        grouped = used.groupby(["arm", "bin"], dropna=False)
        answers.append(_series("pool", grouped.sum(), grouped.size()))
    return answers


def _series(name: str, value: pd.Series[Any], n: pd.Series[Any]) -> pd.DataFrame:
    """Rows of one series from two series indexed by arm and bin."""
    return pd.DataFrame({"value": value, "n": n}).reset_index().assign(series=name)


def _labels(text: str) -> dict[str, Any]:
    """A counter's labels; none when they cannot be read."""
    try:
        labels = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return labels if isinstance(labels, dict) else {}
