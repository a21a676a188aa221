"""Which root operation does a run answer for, and what else came in meanwhile?

Requests of different kinds are never added up: answers are for the main root operation, the one
with most traffic of what is neither a health check, nor a long-lived stream, nor background work.
The others are listed with their traffic.

Answer: root, requests, part (of all requests), mean_ms, role (main, other, health check,
long-lived stream, background work), main first, then most traffic. Of a sample
requests is an estimate.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from analysis.calltree import sampling
from analysis.calltree.call_tree import CallTrees
from analysis.calltree.roots import entries_of, roots_of
from analysis.kernels.codes import SERVER

_HEALTH = re.compile(
    r"(?:^|[\s/._-])(?:health(?:z|check|checks)?|live(?:z|ness)?|ready(?:z)?|readiness|"
    r"heartbeat|ping|metrics|favicon\.ico|actuator|grpc\.health\.v1\.health)(?:$|[\s/?])",
    re.IGNORECASE,
)
"""Names of probes: Kubernetes' and Spring's paths, gRPC's health protocol, Prometheus' scrape."""
_STREAM = re.compile(r"websocket|(?:^|[\s/])(?:ws|sse|eventsource)(?:$|[\s/])", re.IGNORECASE)
_LONG_NS = 30e9
"""A root operation that takes longer than this at the median is a stream, not a request."""
_NS_PER_MS = 1e6


def root_operations(
    spans: pd.DataFrame, call_trees: CallTrees, sent: pd.Series | None = None
) -> pd.DataFrame:
    """Give every root operation with its traffic and its role.

    ``sent`` are the trace ids of what the load sent, where that is known: what it did not send is
    background work, if it sent anything that is among the spans; else what no server began, if
    one began anything.
    """
    entries = entries_of(call_trees)
    rows = call_trees.order[entries]
    table = pd.DataFrame(
        {
            "root": roots_of(spans, call_trees).to_numpy(),
            "ns": (call_trees.end - call_trees.start)[entries],
            "serves": call_trees.kind[entries] == SERVER,
            "sent": False,
        }
    )
    weights = sampling.of_traces(spans, call_trees.order[call_trees.begins[:-1]])
    table["weight"] = 1 if weights is None else weights
    table["weighted"] = table["ns"] * table["weight"]
    if sent is not None:
        table["sent"] = spans["trace_id"].iloc[rows].isin(sent.dropna()).to_numpy()
    found = table.groupby("root", as_index=False).agg(
        requests=("weight", "sum"), mean_ms=("weighted", "sum"), middle=("ns", "median"),
        serves=("serves", "mean"), sent=("sent", "mean"),
    )  # fmt: skip
    found["mean_ms"] /= found["requests"] * _NS_PER_MS
    found["part"] = found["requests"] / max(table["weight"].sum(), 1)
    found["requests"] = found["requests"].round().astype("int64")
    asked = found["sent"] if (found["sent"] > 0).any() else found["serves"]
    found["role"] = "other"
    if (asked > 0).any():
        found.loc[asked == 0, "role"] = "background work"
    is_stream = (found["middle"] > _LONG_NS) | found["root"].str.contains(_STREAM)
    found.loc[is_stream, "role"] = "long-lived stream"
    found.loc[found["root"].str.contains(_HEALTH), "role"] = "health check"
    found = found.sort_values(["requests", "root"], ascending=[False, True], ignore_index=True)
    found.loc[_main(found), "role"] = "main"
    main = (found["role"] != "main").to_numpy()
    found = found.iloc[np.argsort(main, kind="stable")].reset_index(drop=True)
    return found[["root", "requests", "part", "mean_ms", "role"]]


def _main(found: pd.DataFrame) -> list[int]:
    """Give the row of the main one: the first of the best role that there is; none of nothing."""
    for roles in (["other"], ["background work"], ["long-lived stream"], ["health check"]):
        rows = found.index[found["role"].isin(roles)]
        if len(rows):
            return [int(rows[0])]
    return []


def others_said(table: pd.DataFrame) -> str:
    """Say in a sentence which root operation is answered for, and what the others are."""
    if len(table) < 2:  # noqa: PLR2004 - one has no others
        return ""
    main = table.iloc[0]
    named = [
        f"{row['root']} ({row['requests']:,} requests"
        f"{'' if row['role'] == 'other' else ', ' + row['role']})"
        for row in table.iloc[1:7].to_dict("records")
    ]
    more = len(table) - 1 - len(named)
    rest = f" and {more} more" if more > 0 else ""
    return (
        f"The answers are for {main['root']}, {main['requests']:,} requests: the root operation"
        " with most traffic that is no health check, long-lived stream or background work."
        f" Not in them: {'; '.join(named)}{rest}."
    )
