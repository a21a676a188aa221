"""What did this run find? The one place where every shown number comes from.

The report, the terminal, the notebooks, the demo and the README take their figures from
``findings(run)``; nothing is computed twice. docs/schemas/findings.schema.json describes the
document. An INVALID or empty run gets its verdict, its reasons and its evidence, and no answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import (
    cache_law,
    capacity,
    ceiling,
    claims,
    database_load,
    detectability,
    emulated,
    equivalence,
    failures,
    faster,
    headline,
    shares_by_arm,
    worth_caching,
)
from analysis.answers import plain, records
from analysis.blocks import block_table
from analysis.manifest import Manifest
from analysis.run import Run
from analysis.stages import by_stage
from analysis.validity import judge
from analysis.witnesses import database_calls, roots

FORMAT_VERSION = 1
"""Of the findings document; history: 1, the first."""

EXPECTED_RATE_PER_S = 1000.0
"""The rate at which the question "what would this be worth" is asked: BACKGROUND's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """The tables of a run without warm-up."""

    manifest: Manifest
    spans: pd.DataFrame
    requests: pd.DataFrame
    roots: pd.DataFrame
    blocks: pd.DataFrame


def findings(run: Run, *, claims_file: Path | None = None) -> dict[str, Any]:
    """Everything this project can say about a run, as plain JSON values.

    With ``claims_file`` the claims in it are checked too, under ``claims``.
    """
    document = _evidence(run)
    if document["verdict"]["verdict"] == "INVALID":
        return document | {"headline": None}
    spans = run.measured_spans
    tops = roots(spans)
    measured = _Measured(
        manifest=run.manifest,
        spans=spans,
        requests=run.measured_requests,
        roots=tops,
        blocks=block_table(run.manifest, run.measured_requests, tops),
    )
    document |= _answers(run, measured)
    document["headline"] = headline.headline(document)
    if claims_file is not None:
        document["claims"] = plain(claims.check(claims.read(claims_file), document))
    return document


def _evidence(run: Run) -> dict[str, Any]:
    """What is said of every run, also of one that nobody may believe."""
    manifest = run.manifest
    verdict = manifest.verdict.model_dump(mode="json")
    witnesses = [witness.model_dump(mode="json") for witness in manifest.witnesses]
    if verdict["verdict"] == "UNJUDGED":
        judgement = judge(run)
        verdict, witnesses = judgement.verdict_entry(), judgement.witness_entries()
    if run.measured_spans.empty and verdict["verdict"] != "INVALID":
        empty = "No span was recorded after the warm-up: nothing was measured."
        verdict = {"verdict": "INVALID", "reasons": [empty, *verdict["reasons"]]}
    return {
        "format_version": FORMAT_VERSION,
        "run": {
            "id": manifest.run_id,
            "name": manifest.name,
            "question": manifest.question,
            "profile": manifest.profile,
            "scenario": manifest.scenario,
            "started_ns": manifest.started_ns,
            "complete": manifest.complete,
            "arms": [arm.name for arm in manifest.arms],
            "baseline": manifest.baseline,
            "cached_operation": manifest.cached_operation,
            "cached_collection": manifest.cached_collection,
            "requests": len(run.measured_requests),
            "spans": len(run.measured_spans),
        },
        "verdict": {"verdict": verdict["verdict"], "reasons": list(verdict["reasons"])},
        "witnesses": plain(witnesses),
        "generator": plain([row.model_dump(mode="json") for row in manifest.generator]),
    }


def _answers(run: Run, measured: _Measured) -> dict[str, Any]:
    """Every question, in the order in which a report asks them."""
    manifest, spans, blocks = measured.manifest, measured.spans, measured.blocks
    staged = by_stage(spans)
    stages = shares_by_arm.stages(manifest, staged)
    shared = shares_by_arm.shares(manifest, spans, stages)
    artificial = emulated.emulated(spans)
    load = database_load.by_step(manifest, spans, blocks)
    rates = database_load.hit_rates(manifest, spans, blocks)
    ceilings = _ceilings(measured, shared)
    return {
        "shares": {
            "rows": records(shared),
            "stages": records(stages),
            "definitions": records(shares_by_arm.definitions(manifest, spans)),
            "requests": records(shares_by_arm.requests(measured.roots, blocks)),
        },
        "load": {
            "by_step": records(load),
            "reductions": records(database_load.reductions(manifest, spans, blocks)),
            "hit_rates": records(rates),
            "predicted": records(database_load.predictions(load, rates, manifest)),
            "statements": records(database_load.statements(manifest, spans, blocks)),
            "pool_waits": records(database_load.pool_waits(manifest, spans, blocks)),
        },
        "faster": {
            "operations": records(faster.operations(manifest, spans, blocks)),
            "end_to_end": records(faster.end_to_end(manifest, measured.requests, blocks)),
        },
        "law": {
            "law": records(cache_law.law(manifest, spans, blocks)),
            "explained": records(cache_law.explained(manifest, spans, blocks)),
            "misses": records(cache_law.misses(manifest, run.spans, blocks, run.events)),
        },
        "capacity": _capacity(measured, load),
        "ceiling": records(ceilings),
        "equivalence": records(equivalence.equivalence(manifest, measured.requests, blocks)),
        "detectability": records(detectability.detectability(manifest, measured.requests, blocks)),
        "worth_caching": records(_worth_caching(run, ceilings)),
        "failures": records(failures.failures(measured.requests, blocks)),
        "claims": None,
        "emulated": {
            "profile": manifest.profile,
            "rows": records(artificial),
            "stages": records(emulated.emulated(staged)),
        },
    }


def _capacity(measured: _Measured, load: pd.DataFrame) -> dict[str, Any]:
    manifest = measured.manifest
    steps = capacity.steps(manifest, measured.requests, measured.blocks)
    held = database_load.held_ms(manifest, measured.spans)
    expected = capacity.expectation(load, held, rate_per_s=EXPECTED_RATE_PER_S)
    return {
        "steps": records(steps),
        "knees": records(capacity.knees(steps)),
        "scalability": records(capacity.scalability(steps)),
        "expectation": records(expected),
        "extrapolation": records(capacity.extrapolation(load)),
    }


def _ceilings(measured: _Measured, shared: pd.DataFrame) -> pd.DataFrame:
    """Ceilings of the baseline: the time and queries that are there to be saved."""
    manifest = measured.manifest
    own, tops, spans = shared, measured.roots, measured.spans
    if manifest.baseline is not None:
        own = own[own["arm"] == manifest.baseline]
        tops = tops[tops["arm"] == manifest.baseline]
        spans = spans[spans["arm"] == manifest.baseline]
    below = ceiling.queries_under(spans, database_calls(spans), len(tops))
    mean_ms = float(tops["duration_ns"].astype("float64").mean()) / 1e6
    return ceiling.ceiling(own, below, request_ms=mean_ms)


def _worth_caching(run: Run, ceilings: pd.DataFrame) -> pd.DataFrame:
    baseline = run.manifest.baseline
    spans = run.spans if baseline is None else run.spans[run.spans["arm"] == baseline]
    return worth_caching.worth_caching(
        ceilings, spans, cached_operation=run.manifest.cached_operation
    )
