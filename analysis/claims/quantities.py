"""Which numbers of the findings can a claim be about?

Each quantity is a place in the findings and the scope that picks the row: ``arm`` (the
one that the headline tells about, if left out), ``step`` or ``rate`` (all steps together, if left
out), ``operation``, ``collection`` ("all" for all queries together; the cached one, if left out),
``which`` (hits, misses or mixture), ``statistic``, ``time``. ``run`` and ``cached_operation`` say
which runs it can be about at all: in any other the quantity means something else. ``hit_rate``
picks the arm whose cache hit as often, to within 2 points: "20 times fewer" is a claim about 95 %.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from analysis.claims.provenance import (
    COUNTED,
    Provenance,
    of_operation,
    of_queries,
    of_request,
)
from analysis.errors import InputError
from analysis.questions.cache_law.answer import CacheLaw, LawRow
from analysis.questions.capacity.answer import Capacity, ExpectationRow
from analysis.questions.database_load.answer import (
    DatabaseLoad,
    HitRateRow,
    LoadRow,
    PoolWaitRow,
    ReductionRow,
    StatementRow,
)
from analysis.questions.failures.answer import FailureRow, Failures
from analysis.questions.faster.answer import EndToEndRow, Faster, OperationRow
from analysis.questions.findings import Findings
from analysis.questions.shares.answer import ShareRow, Shares
from analysis.stats.intervals import Estimate

Row = TypeVar("Row")

Scope = Mapping[str, str | int | float]
"""What a claim says of where it holds, by the names in ``SCOPES``."""

SCOPES = (
    "run", "cached_operation", "arm", "hit_rate", "step", "rate", "service", "operation",
    "collection", "which", "statistic", "time",
)  # fmt: skip
"""What a claim's scope may name."""

HIT_RATE_WITHIN = 0.02
"""How near an arm's hit rate must lie to the one that a claim is about."""

ALL = "all"
"""The collection that stands for all queries together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity(Generic[Row]):
    """Where a quantity is found: rows of an answer, the fields that pick one, the estimate."""

    meaning: str
    rows: Callable[[Findings], tuple[Row, ...]]
    """The rows among which a scope picks."""
    picks: tuple[str, ...]
    """Fields of a row that a scope's names pick by; ``top_step`` is the highest load level."""
    cell: Callable[[Row], Estimate]
    provenance: Callable[[Findings, Row], Provenance]
    default_arm: Literal["baseline", "treatment"] = "treatment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a run says of a quantity."""

    estimate: Estimate
    provenance: Provenance


def _counted(_found: Findings, _row: object) -> Provenance:
    return COUNTED


def _of(
    row: type[Row],
    rows: Callable[[Findings], tuple[Row, ...]],
    *picks: str,
    provenance: Callable[[Findings, Row], Provenance] = _counted,
    default_arm: Literal["baseline", "treatment"] = "treatment",
    **cells: tuple[Callable[[Row], Estimate], str],
) -> dict[str, Quantity[Any]]:
    """Quantities of the same rows: each name with its cell and its meaning."""
    del row  # tells the type checker what the other arguments are about
    return {
        name: Quantity(
            meaning=meaning,
            rows=rows,
            picks=picks,
            cell=cell,
            provenance=provenance,
            default_arm=default_arm,
        )
        for name, (cell, meaning) in cells.items()
    }


QUANTITIES: dict[str, Quantity[Any]] = {
    **_of(
        ShareRow, lambda found: found.of(Shares).rows, "arm", "service", "operation",
        default_arm="baseline",
        provenance=lambda found, row: of_operation(found, row.arm, row.operation),
        share=(
            lambda row: row.whole,
            "share of the request's critical path, with all that runs inside",
        ),
    ),
    **_of(
        ReductionRow, lambda found: found.of(DatabaseLoad).reductions,
        "arm", "step", "collection",
        reduction_factor=(lambda row: row.factor, "queries per request without over with"),
        saved_queries_per_request=(
            lambda row: row.saved_per_request, "queries per request that are saved",
        ),
    ),
    **_of(
        LoadRow, lambda found: found.of(DatabaseLoad).by_step, "arm", "top_step", "collection",
        queries_per_request=(lambda row: row.per_request, "queries per request"),
        queries_per_s=(
            lambda row: row.per_s, "queries per second at a step (the highest, if left out)",
        ),
    ),
    **_of(
        LoadRow, lambda found: found.of(DatabaseLoad).by_step, "arm", "top_step", "collection",
        provenance=lambda found, row: of_queries(found, row.arm, row.collection),
        busy_connections=(
            lambda row: row.busy_connections, "connections busy at once, by Little's law",
        ),
    ),
    **_of(
        ExpectationRow, lambda found: found.of(Capacity).expectation, "arm", "collection",
        expected_queries_per_s=(
            lambda row: row.queries_per_s, "queries per second expected at 1000 requests/s",
        ),
    ),
    **_of(
        ExpectationRow, lambda found: found.of(Capacity).expectation, "arm", "collection",
        provenance=lambda found, row: of_queries(found, row.arm, row.collection),
        expected_busy_connections=(
            lambda row: row.busy_connections, "busy connections expected at 1000 requests/s",
        ),
    ),
    **_of(
        StatementRow, lambda found: found.of(DatabaseLoad).statements, "arm", "collection",
        provenance=lambda found, row: of_operation(found, row.arm, row.statement),
        statement_ms=(
            lambda row: row.mean_ms, "mean time of the first statement on a collection",
        ),
    ),
    **_of(
        HitRateRow, lambda found: found.of(DatabaseLoad).hit_rates, "arm", "step",
        hit_rate=(lambda row: row.hit_rate, "hit rate of the cache"),
    ),
    **_of(
        PoolWaitRow, lambda found: found.of(DatabaseLoad).pool_waits, "arm",
        pool_waited_share=(
            lambda row: row.waited_share,
            "share of queries that waited over 1 ms for a connection",
        ),
    ),
    **_of(
        LawRow, lambda found: found.of(CacheLaw).law, "arm",
        law_residual=(lambda row: row.residual, "measured over predicted reduction, minus 1"),
    ),
    **_of(
        OperationRow, lambda found: found.of(Faster).operations,
        "arm", "service", "operation", "which",
        provenance=lambda found, row: of_operation(found, row.arm, row.operation, row.which),
        operation_ms=(lambda row: row.after, "mean time of an operation in the arm"),
    ),
    **_of(
        OperationRow, lambda found: found.of(Faster).operations,
        "arm", "service", "operation", "which",
        provenance=lambda found, row: of_operation(found, found.run.baseline, row.operation),
        operation_ms_before=(
            lambda row: row.before, "mean time of an operation in the baseline",
        ),
        operation_ratio=(lambda row: row.ratio, "how many times faster an operation is"),
        operation_saved_ms=(
            lambda row: row.saved, "milliseconds saved per call of an operation",
        ),
    ),
    **_of(
        EndToEndRow, lambda found: found.of(Faster).end_to_end,
        "arm", "step", "statistic", "time",
        provenance=lambda found, _row: of_request(found, found.run.baseline),
        end_to_end_change=(
            lambda row: row.relative,
            "relative change of the response time (below 0 is faster)",
        ),
        end_to_end_difference_ms=(
            lambda row: row.difference,
            "change of the response time in ms (below 0 is faster)",
        ),
    ),
    **_of(
        EndToEndRow, lambda found: found.of(Faster).end_to_end,
        "arm", "step", "statistic", "time",
        provenance=lambda found, row: of_request(found, row.arm),
        end_to_end_ms=(lambda row: row.after, "response time in the arm"),
    ),
    **_of(
        FailureRow, lambda found: found.of(Failures).rows, "arm",
        failed_share=(lambda row: row.failed, "share of requests that failed"),
        refused_share=(lambda row: row.refused, "share of requests answered 429"),
    ),
}  # fmt: skip
"""Every quantity by the name that a claim gives it. That a saving is made in the baseline is why
its provenance is that of the baseline's time."""


class NotMeasured(Exception):  # noqa: N818 - it is no error of anybody
    """Why a run does not hold a quantity, as the end of a sentence."""


def find(found: Findings, name: str, scope: Scope) -> Found:
    """What a run says of a quantity.

    Raises
    ------
    NotMeasured
        When it does not hold it.
    """
    for key, own in (
        ("run", found.run.name),
        ("cached_operation", found.run.cached_operation),
    ):
        if key in scope and own != scope[key]:
            raise NotMeasured(f"this run is not about {scope[key]}")
    quantity = QUANTITIES[name]
    wanted = _wanted(found, quantity, scope)
    meant = [
        row
        for row in quantity.rows(found)
        if all(getattr(row, field) == value for field, value in wanted.items())
    ]
    if "service" in quantity.picks and len(services := {row.service for row in meant}) > 1:
        raise InputError(
            f"The claim is about the operation {wanted['operation']}, which the services"
            f" {' and '.join(sorted(services))} have; name one of them in its scope, as in"
            f' scope = {{ service = "{min(services)}" }}'
        )
    for row in meant[:1]:
        return Found(estimate=quantity.cell(row), provenance=quantity.provenance(found, row))
    words = ", ".join(f"{field} {value}" for field, value in wanted.items() if value is not None)
    raise NotMeasured(f"this run has no {name.replace('_', ' ')} for {words}")


def _wanted(found: Findings, quantity: Quantity[Any], scope: Scope) -> dict[str, object]:
    """What a row's fields must be, from the scope and its defaults."""
    run = found.run
    collection = scope.get("collection", run.cached_collection)
    values: dict[str, object] = {
        "arm": _arm(found, quantity, scope),
        "collection": None if collection == ALL else collection,
        "operation": scope.get("operation", run.cached_operation),
        "statistic": scope.get("statistic", "mean"),
        "time": scope.get("time", "response"),
    }
    values |= {key: scope[key] for key in ("service", "which") if key in scope}
    wanted = {key: values[key] for key in quantity.picks if key in values}
    if "arm" in wanted and wanted["arm"] not in run.arms:
        raise NotMeasured(f"this run has no arm {wanted['arm'] or 'to compare with'}")
    if "step" in quantity.picks or "top_step" in quantity.picks:
        wanted["step"] = _step(found, scope, top="top_step" in quantity.picks)
    return wanted


def _arm(found: Findings, quantity: Quantity[Any], scope: Scope) -> object:
    """The arm that is meant: the one that hits so often, the one named, or the default."""
    if "hit_rate" in scope:
        return _hitting(found, float(scope["hit_rate"]))
    if "arm" in scope:
        return scope["arm"]
    if quantity.default_arm == "baseline":
        return found.run.baseline
    if found.headline is not None and found.headline.arm is not None:
        return found.headline.arm
    return next(iter(found.run.treatments), None)


def _hitting(found: Findings, wanted: float) -> str:
    """The arm whose cache hit as often as the claim says."""
    near = {
        row.arm: abs(row.hit_rate.value - wanted)
        for row in found.of(DatabaseLoad).hit_rates
        if row.step is None and row.hit_rate.value is not None
        if abs(row.hit_rate.value - wanted) <= HIT_RATE_WITHIN
    }
    if not near:
        raise NotMeasured(f"no arm of this run had a hit rate near {wanted:.0%}")
    return min(near, key=near.__getitem__)


def _step(found: Findings, scope: Scope, *, top: bool) -> int | None:
    """The step that is meant: by number, by rate, the highest, or all together."""
    if "step" in scope:
        return int(scope["step"])
    offered = {row.offered_per_s: row.step for row in found.of(DatabaseLoad).by_step}
    if "rate" in scope:
        rate = float(scope["rate"])
        if rate not in offered:
            raise NotMeasured(f"this run has no step at {rate:g}/s")
        return offered[rate]
    return offered[max(offered)] if top and offered else None
