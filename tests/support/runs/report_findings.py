"""Findings by hand: small, of known numbers."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any, get_origin, get_type_hints

from analysis.claims.ledger import Decision, Ledger, LedgerRow
from analysis.questions.catalogue import QUESTIONS
from analysis.questions.database_load.answer import (
    DatabaseLoad,
    LoadRow,
    PredictedRow,
    ReductionRow,
    StatementRow,
)
from analysis.questions.emulated import Emulated, EmulatedRow, StageEmulationRow
from analysis.questions.findings import (
    Believed,
    Findings,
    Headline,
    RunFacts,
)
from analysis.questions.published import read_back
from analysis.questions.shares.answer import RequestRow, ShareRow, Shares, StageRow
from analysis.rundir.manifest import CrossCheck, Generator
from analysis.stats.intervals import Estimate


def typed(document: dict[str, Any]) -> Findings:
    """The findings that a JSON document says, such as one that a test has changed."""
    return read_back(json.dumps(document))


def estimate(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    unit: str = "count",
    *,
    n: int = 1200,
    reason: str | None = None,
) -> Estimate:
    """One estimate of 12 blocks."""
    return Estimate(
        value=value, low=low, high=high, unit=unit, n=n, blocks=12, reason=reason, method="by hand"
    )


def with_answers(*answers: object) -> tuple[object, ...]:
    """These answers in the catalogue's place; every other question has an empty one."""
    given = {type(answer): answer for answer in answers}
    return tuple(given.get(question.of) or _empty(question.of) for question in QUESTIONS)


def _empty(kind: type[Any]) -> object:
    """An answer of which every field is empty in its own type, or left to its default."""
    types = get_type_hints(kind)
    needed = [field.name for field in fields(kind) if field.default is MISSING]
    return kind(**{name: (get_origin(types[name]) or types[name])() for name in needed})


def run_facts(**changed: Any) -> RunFacts:  # noqa: ANN401 - as RunFacts
    """A run of two arms, one of them with a cache of `things`."""
    facts: dict[str, Any] = {
        "id": "20261123T140000Z_a-run",
        "name": "a-run",
        "question": "",
        "profile": "seed",
        "scenario": "chat",
        "started_ns": 0,
        "complete": True,
        "arms": ("off", "on"),
        "baseline": "off",
        "cached_operation": "lookup",
        "cached_collection": "things",
        "knobs": {},
        "users": None,
        "requests": 2400,
        "spans": 24000,
    }
    return RunFacts(**{**facts, **changed})


def counted_twice(
    what: str,
    from_spans: float,
    independent: float | None,
    **changed: Any,  # noqa: ANN401 - as CrossCheck
) -> CrossCheck:
    """A count by spans and by a server."""
    rest: dict[str, Any] = {"arm": None, "counted_by": "INFO", "exact": True, "tolerance": 0.0}
    return CrossCheck(
        what=what, from_spans=from_spans, independent=independent, **{**rest, **changed}
    )


def cache_findings() -> Findings:
    """A believed run of a cache: the lookup is 0.3 % of a request.

    Its queries become 20x fewer.
    """
    return Findings(
        run=run_facts(cached_operation="personality.lookup", cached_collection="personalities"),
        verdict=Believed(verdict="VALID", reasons=()),
        cross_checks=(
            counted_twice("database calls", 6000.0, 6000.0),
            counted_twice("cache hits", 1140.0, 1139.0),
        ),
        generator=(
            Generator(
                step=0,
                offered_per_s=10.0,
                achieved_per_s=10.0,
                arrivals_planned=2400,
                arrivals_sent=2400,
                dropped=0,
                lag_p50_ms=0.5,
                lag_p99_ms=1.5,
                lag_max_ms=3.0,
                in_flight_max=None,
                in_flight_cap_hits=0,
            ),
        ),
        headline=Headline(
            sentences=("Nobody notices.", "The database does 20 times less."),
            numbers={},
            arm="on",
            next=None,
        ),
        answers=with_answers(_shares(), _emulated(), _load()),
        claims=Ledger(
            file="claims.toml",
            counts={"holds": 1, "does not hold": 1, "not decided": 1},
            claims=(
                _claim("twenty times fewer", "holds", estimate(20.0, 18.0, 22.0, "ratio")),
                _claim(
                    "<b>twice</b> as fast", "does not hold", estimate(1.0, 0.99, 1.01, "ratio")
                ),
                _claim("survives an outage", "not decided", None),
            ),
        ),
    )


def _shares() -> Shares:
    named = [
        (arm, name, share, estimate(share, share * 0.9, share * 1.1, "share"))
        for arm, lookup in (("off", 0.003), ("on", 0.0004))
        for name, share in (("chat sim", 0.8), ("memory", 0.15), ("lookup", lookup))
    ]
    return Shares(
        rows=tuple(
            ShareRow(
                arm=arm,
                service="chat",
                operation=name,
                spans=1200,
                per_request=1.0,
                self_ms=3000 * share,
                critical_ms=3000 * share,
                share=cell,
                whole=cell,
                stage=True,
                root=False,
            )
            for arm, name, share, cell in named
        ),
        stages=tuple(
            StageRow(arm=arm, service="chat", operation=name, critical_ms=3000 * share, share=cell)
            for arm, name, share, cell in named
        ),
        definitions=(),
        requests=(
            RequestRow(arm="off", mean_ms=estimate(3000.0, 2950.0, 3050.0, "ms")),
            RequestRow(arm="on", mean_ms=estimate(2991.0, 2941.0, 3041.0, "ms")),
        ),
        services=(),
        root_operations="",
    )


def _emulated() -> Emulated:
    def row(operation: str | None, share: float, emulated_ms: float) -> EmulatedRow:
        return EmulatedRow(
            arm="off",
            service=None if operation is None else "chat",
            operation=operation,
            spans=1200,
            emulated_ms=emulated_ms,
            share=share,
        )

    return Emulated(
        profile="seed",
        rows=(row(None, 0.97, 2900.0),),
        stages=(
            StageEmulationRow(
                arm="off",
                service="chat",
                operation="chat sim",
                emulated_ms=2400.0,
                share=1.0,
            ),
        ),
        wholes=(),
    )


def _load() -> DatabaseLoad:
    by_step = tuple(
        LoadRow(
            arm=arm,
            step=step,
            offered_per_s=rate,
            achieved_per_s=rate,
            collection="personalities",
            per_request=estimate(each, each * 0.9, each * 1.1),
            per_s=estimate(rate * each, rate * each * 0.9, rate * each * 1.1, "per_s"),
            busy_connections=estimate(rate * each / 100, None, None, "connections"),
            held_s_per_request=estimate(each / 100, None, None, "s"),
        )
        for arm, each in (("off", 1.0), ("on", 0.05))
        for step, rate in enumerate((10.0, 20.0))
    )
    return DatabaseLoad(
        by_step=by_step,
        predicted=tuple(
            PredictedRow(
                arm="on",
                step=step,
                offered_per_s=rate,
                collection="personalities",
                per_s=estimate(rate / 20, rate / 25, rate / 15, "per_s"),
            )
            for step, rate in enumerate((10.0, 20.0))
        ),
        reductions=(
            _reduction("personalities", (1.0, 1.0, 1.0), (0.05, 0.04, 0.06), (20.0, 17.0, 24.0)),
            _reduction(None, (5.0, 4.9, 5.1), (4.05, 4.0, 4.1), (1.23, 1.2, 1.26)),
        ),
        hit_rates=(),
        statements=tuple(
            StatementRow(
                arm=arm,
                statement="SELECT personalities",
                collection="personalities",
                per_request=estimate(each, each * 0.9, each * 1.1),
                mean_ms=estimate(7.0, 6.9, 7.1, "ms"),
                per_s=estimate(20 * each, 18 * each, 22 * each, "per_s"),
            )
            for arm, each in (("off", 1.0), ("on", 0.05))
        ),
        pool_waits=(),
    )


def _reduction(
    collection: str | None,
    before: tuple[float, float, float],
    after: tuple[float, float, float],
    factor: tuple[float, float, float],
) -> ReductionRow:
    saved = before[0] - after[0]
    return ReductionRow(
        arm="on",
        step=None,
        collection=collection,
        before=estimate(*before),
        after=estimate(*after),
        factor=estimate(*factor, "ratio"),
        saved_per_request=estimate(saved, saved * 0.9, saved * 1.1),
        saved_per_s=estimate(saved * 10, saved * 9, saved * 11, "per_s"),
        decided="higher",
    )


def _claim(text: str, verdict: Decision, measured: Estimate | None) -> LedgerRow:
    return LedgerRow(
        id="x",
        text=text,
        verdict=verdict,
        sentence="Because.",
        quantity="reduction_factor",
        scope={},
        comparison="at least",
        limits=(20.0, None),
        estimate=measured,
        rests_on=None if measured is None else "counted",
        emulated_share=None,
        n=None if measured is None else measured.n,
        would_decide="run outage" if measured is None else None,
        note="",
    )
