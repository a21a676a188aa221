"""Which numbers of the findings can a claim be about?

Each quantity is a place in the findings document and the scope that picks the row: ``arm`` (the
one that the headline tells about, if left out), ``step`` or ``rate`` (all steps together, if left
out), ``operation``, ``collection`` ("all" for all queries together; the cached one, if left out),
``which`` (hits, misses or mixture), ``statistic``, ``time``. ``run`` and ``cached_operation`` say
which runs it can be about at all: in any other the quantity means something else. ``hit_rate``
picks the arm whose cache hit as often, to within 2 points: "20 times fewer" is a claim about 95 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
Scope = Mapping[str, Any]

SCOPES = (
    "run", "cached_operation", "arm", "hit_rate", "step", "rate", "operation", "collection",
    "which", "statistic", "time",
)  # fmt: skip
"""What a claim's scope may name."""

HIT_RATE_WITHIN = 0.02
"""How near an arm's hit rate must lie to the one that a claim is about."""

ALL = "all"
"""The collection that stands for all queries together."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """Where a quantity is found: rows of the document, the columns that pick, the estimate."""

    place: tuple[str, ...]
    picks: tuple[str, ...]
    cell: str
    meaning: str
    default_arm: str
    rests: str
    """What it rests on, as ``analysis.claims.provenance.rests_on`` asks for it."""

    def rows(self, document: Record) -> list[Record]:
        """The rows among which a scope picks."""
        found: Any = document
        for key in self.place:
            found = found[key]
        return list(found)


def _of(
    place: str,
    *picks: str,
    rests: str = "counted",
    default_arm: str = "treatment",
    **cells: tuple[str, str],
) -> dict[str, Quantity]:
    """Quantities of one place: each name with its cell and its meaning."""
    at = tuple(place.split("."))
    return {name: Quantity(at, picks, *cell, default_arm, rests) for name, cell in cells.items()}


QUANTITIES: dict[str, Quantity] = {
    **_of(
        "shares.rows", "arm", "operation", default_arm="baseline", rests="operation",
        share=("whole", "share of the request's critical path, with all that runs inside"),
    ),
    **_of(
        "load.reductions", "arm", "step", "collection",
        reduction_factor=("factor", "queries per request without over with"),
        saved_queries_per_request=("saved_per_request", "queries per request that are saved"),
    ),
    **_of(
        "load.by_step", "arm", "top_step", "collection",
        queries_per_request=("per_request", "queries per request"),
        queries_per_s=("per_s", "queries per second at a step (the highest, if left out)"),
    ),
    **_of(
        "load.by_step", "arm", "top_step", "collection", rests="queries",
        busy_connections=("busy_connections", "connections busy at once, by Little's law"),
    ),
    **_of(
        "capacity.expectation", "arm", "collection",
        expected_queries_per_s=(
            "queries_per_s", "queries per second expected at 1000 requests/s",
        ),
    ),
    **_of(
        "capacity.expectation", "arm", "collection", rests="queries",
        expected_busy_connections=(
            "busy_connections", "busy connections expected at 1000 requests/s",
        ),
    ),
    **_of(
        "load.statements", "arm", "collection", rests="statement",
        statement_ms=("mean_ms", "mean time of the first statement on a collection"),
    ),
    **_of("load.hit_rates", "arm", "step", hit_rate=("hit_rate", "hit rate of the cache")),
    **_of(
        "load.pool_waits", "arm",
        pool_waited_share=(
            "waited_share", "share of queries that waited over 1 ms for a connection",
        ),
    ),
    **_of(
        "law.law", "arm",
        law_residual=("residual", "measured over predicted reduction, minus 1"),
    ),
    **_of(
        "faster.operations", "arm", "operation", "which", rests="operation",
        operation_ms=("after", "mean time of an operation in the arm"),
    ),
    **_of(
        "faster.operations", "arm", "operation", "which", rests="operation before",
        operation_ms_before=("before", "mean time of an operation in the baseline"),
        operation_ratio=("ratio", "how many times faster an operation is"),
        operation_saved_ms=("saved", "milliseconds saved a call of an operation"),
    ),
    **_of(
        "faster.end_to_end", "arm", "step", "statistic", "time", rests="request before",
        end_to_end_change=(
            "relative", "relative change of the response time (below 0 is faster)",
        ),
        end_to_end_difference_ms=(
            "difference", "change of the response time in ms (below 0 is faster)",
        ),
    ),
    **_of(
        "faster.end_to_end", "arm", "step", "statistic", "time", rests="request",
        end_to_end_ms=("after", "response time in the arm"),
    ),
    **_of(
        "failures", "arm",
        failed_share=("failed", "share of requests that failed"),
        refused_share=("refused", "share of requests answered 429"),
    ),
}  # fmt: skip
"""Every quantity by the name that a claim gives it."""


def find(document: Record, name: str, scope: Scope) -> tuple[Record | None, str]:
    """The estimate, or None and why this run does not hold it."""
    row, missing = find_row(document, name, scope)
    return (None if row is None else row[QUANTITIES[name].cell]), missing


def find_row(document: Record, name: str, scope: Scope) -> tuple[Record | None, str]:
    """The row of the findings in which the estimate stands, or None and why there is none."""
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
    return rows[0], ""


def _wanted(document: Record, quantity: Quantity, scope: Scope) -> tuple[dict[str, Any], str]:
    """What a row must hold, from the scope and its defaults; or why it cannot be told."""
    run = document["run"]
    collection = scope.get("collection", run["cached_collection"])
    arm = scope.get("arm", _default_arm(document, quantity))
    if "hit_rate" in scope:
        arm = _hitting(document, float(scope["hit_rate"]))
        if arm is None:
            return {}, f"no arm of this run had a hit rate near {float(scope['hit_rate']):.0%}"
    values = {
        "arm": arm,
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


def _hitting(document: Record, wanted: float) -> str | None:
    """The arm whose cache hit as often as the claim says."""
    found = {
        str(row["arm"]): abs(float(row["hit_rate"]["value"]) - wanted)
        for row in document["load"]["hit_rates"]
        if row["step"] is None and row["hit_rate"]["value"] is not None
    }
    near = [arm for arm, distance in found.items() if distance <= HIT_RATE_WITHIN]
    return min(near, key=found.__getitem__, default=None)


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
