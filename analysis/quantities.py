"""Which numbers of the findings can a claim be about?

Each quantity is a place in the findings document and the scope that picks the row: ``arm`` (the
one that the headline tells about, if left out), ``step`` or ``rate`` (all steps together, if left
out), ``operation``, ``collection`` ("all" for all queries together; the cached one, if left out),
``which`` (hits, misses or mixture), ``statistic``, ``time``. ``run`` and ``cached_operation`` say
which runs it can be about at all: in any other the quantity means something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
Scope = Mapping[str, Any]

SCOPES = (
    "run", "cached_operation", "arm", "step", "rate", "operation", "collection", "which",
    "statistic", "time",
)  # fmt: skip
"""What a claim's scope may name."""

ALL = "all"
"""The collection that stands for all queries together."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """Where a quantity is found: rows of the document, the columns that pick, the estimate."""

    rows: Callable[[Record], list[Record]]
    cell: str
    picks: tuple[str, ...]
    meaning: str
    default_arm: str = "treatment"


QUANTITIES: dict[str, Quantity] = {
    "share": Quantity(
        lambda d: d["shares"]["rows"], "whole", ("arm", "operation"),
        "share of the request's critical path, with all that runs inside", "baseline",
    ),
    "reduction_factor": Quantity(
        lambda d: d["load"]["reductions"], "factor", ("arm", "step", "collection"),
        "queries per request without over with",
    ),
    "saved_queries_per_request": Quantity(
        lambda d: d["load"]["reductions"], "saved_per_request", ("arm", "step", "collection"),
        "queries per request that are saved",
    ),
    "queries_per_request": Quantity(
        lambda d: d["load"]["by_step"], "per_request", ("arm", "top_step", "collection"),
        "queries per request",
    ),
    "queries_per_s": Quantity(
        lambda d: d["load"]["by_step"], "per_s", ("arm", "top_step", "collection"),
        "queries per second at a step (the highest, if left out)",
    ),
    "busy_connections": Quantity(
        lambda d: d["load"]["by_step"], "busy_connections", ("arm", "top_step", "collection"),
        "connections busy at once, by Little's law",
    ),
    "expected_queries_per_s": Quantity(
        lambda d: d["capacity"]["expectation"], "queries_per_s", ("arm", "collection"),
        "queries per second expected at 1000 requests/s",
    ),
    "expected_busy_connections": Quantity(
        lambda d: d["capacity"]["expectation"], "busy_connections", ("arm", "collection"),
        "busy connections expected at 1000 requests/s",
    ),
    "statement_ms": Quantity(
        lambda d: d["load"]["statements"], "mean_ms", ("arm", "collection"),
        "mean time of the first statement on a collection",
    ),
    "hit_rate": Quantity(
        lambda d: d["load"]["hit_rates"], "hit_rate", ("arm", "step"), "hit rate of the cache",
    ),
    "law_residual": Quantity(
        lambda d: d["law"]["law"], "residual", ("arm",),
        "measured over predicted reduction, minus 1",
    ),
    "operation_ms": Quantity(
        lambda d: d["faster"]["operations"], "after", ("arm", "operation", "which"),
        "mean time of an operation in the arm",
    ),
    "operation_ms_before": Quantity(
        lambda d: d["faster"]["operations"], "before", ("arm", "operation", "which"),
        "mean time of an operation in the baseline",
    ),
    "operation_ratio": Quantity(
        lambda d: d["faster"]["operations"], "ratio", ("arm", "operation", "which"),
        "how many times faster an operation is",
    ),
    "operation_saved_ms": Quantity(
        lambda d: d["faster"]["operations"], "saved", ("arm", "operation", "which"),
        "milliseconds saved a call of an operation",
    ),
    "end_to_end_change": Quantity(
        lambda d: d["faster"]["end_to_end"], "relative", ("arm", "step", "statistic", "time"),
        "relative change of the response time (below 0 is faster)",
    ),
    "end_to_end_difference_ms": Quantity(
        lambda d: d["faster"]["end_to_end"], "difference", ("arm", "step", "statistic", "time"),
        "change of the response time in ms (below 0 is faster)",
    ),
    "end_to_end_ms": Quantity(
        lambda d: d["faster"]["end_to_end"], "after", ("arm", "step", "statistic", "time"),
        "response time in the arm",
    ),
    "failed_share": Quantity(
        lambda d: d["failures"], "failed", ("arm",), "share of requests that failed",
    ),
    "refused_share": Quantity(
        lambda d: d["failures"], "refused", ("arm",), "share of requests answered 429",
    ),
}  # fmt: skip
"""Every quantity by the name that a claim gives it."""


def find(document: Record, name: str, scope: Scope) -> tuple[Record | None, str]:
    """The estimate, or None and why this run does not hold it."""
    for key, have in (("run", "name"), ("cached_operation", "cached_operation")):
        if key in scope and document["run"][have] != scope[key]:
            return None, f"this run is not about {scope[key]}"
    quantity = QUANTITIES[name]
    wanted, missing = _wanted(document, quantity, scope)
    if missing:
        return None, missing
    rows = [
        row
        for row in quantity.rows(document)
        if all(row.get(key) == value for key, value in wanted.items())
    ]
    if not rows:
        words = ", ".join(f"{key} {value}" for key, value in wanted.items() if value is not None)
        return None, f"this run has no {name.replace('_', ' ')} for {words}"
    return rows[0][quantity.cell], ""


def _wanted(document: Record, quantity: Quantity, scope: Scope) -> tuple[dict[str, Any], str]:
    """What a row must hold, from the scope and its defaults; or why it cannot be told."""
    run = document["run"]
    collection = scope.get("collection", run["cached_collection"])
    values = {
        "arm": scope.get("arm", _default_arm(document, quantity)),
        "collection": None if collection == ALL else collection,
        "operation": scope.get("operation", run["cached_operation"]),
        "statistic": scope.get("statistic", "mean"),
        "time": scope.get("time", "response"),
    }
    if "which" in scope:
        values["which"] = scope["which"]
    wanted = {key: values[key] for key in quantity.picks if key in values}
    if "arm" in wanted and wanted["arm"] not in run["arms"]:
        return {}, f"this run has no arm {wanted['arm'] or 'to compare with'}"
    missing = ""
    if "step" in quantity.picks or "top_step" in quantity.picks:
        wanted["step"], missing = _step(document, scope, top="top_step" in quantity.picks)
    return wanted, missing


def _default_arm(document: Record, quantity: Quantity) -> str | None:
    baseline = document["run"]["baseline"]
    if quantity.default_arm == "baseline":
        return str(baseline) if baseline else None
    told = (document.get("headline") or {}).get("arm")
    if told is not None:
        return str(told)
    others = [arm for arm in document["run"]["arms"] if arm != baseline]
    return others[0] if others else None


def _step(document: Record, scope: Scope, *, top: bool) -> tuple[int | None, str]:
    """The step that is meant: by number, by rate, the highest, or all together."""
    if "step" in scope:
        return int(scope["step"]), ""
    offered = {row["offered_per_s"]: row["step"] for row in document["load"]["by_step"]}
    if "rate" in scope:
        rate = float(scope["rate"])
        if rate not in offered:
            return None, f"this run has no step at {rate:g}/s"
        return offered[rate], ""
    return (offered[max(offered)] if top and offered else None), ""
