"""What did this run find? The one place where every shown number comes from.

The report, the terminal, the notebooks, the demo and the README take their figures from
``findings(run)``; nothing is computed twice. docs/schemas/findings.schema.json describes the
document. An INVALID or empty run gets its verdict, its reasons and its evidence, and no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.calltree.call_tree import CallTrees, build_trees
from analysis.calltree.stages import by_stage
from analysis.checks.cross_checks import is_database_call, roots
from analysis.checks.verdict import judge
from analysis.claims import claims
from analysis.questions import emulated
from analysis.questions.cache_law import answer as cache_law
from analysis.questions.capacity import answer as capacity
from analysis.questions.ceiling import answer as ceiling
from analysis.questions.database_load import answer as database_load
from analysis.questions.detectability import answer as detectability
from analysis.questions.equivalence import answer as equivalence
from analysis.questions.failures import answer as failures
from analysis.questions.faster import answer as faster
from analysis.questions.headline import answer as headline
from analysis.questions.rows import plain, records
from analysis.questions.shares import answer as shares_by_arm
from analysis.questions.worth_caching import answer as worth_caching
from analysis.rundir.blocks import block_table
from analysis.rundir.manifest import Generator, Manifest
from analysis.rundir.run import Run

FORMAT_VERSION = 1
"""Of the findings document; history: 1, the first."""

_AT_ONCE = 2
"""Questions answered at once; one of them is often the trees, which most others do not need."""

_OF_ROOTS = ("parent_span_id", "kind", "arm", "block", "start_ns", "duration_ns")
"""What is asked of the spans that begin a request."""

EXPECTED_RATE_PER_S = 1000.0
"""The rate at which the question "what would this be worth" is asked: the write-up's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """The tables of a run without warm-up."""

    manifest: Manifest
    spans: pd.DataFrame
    requests: pd.DataFrame
    roots: pd.DataFrame
    blocks: pd.DataFrame
    calls: pd.DataFrame
    """``database_load.calls_of`` the spans."""
    load: pd.DataFrame
    """``database_load.by_step`` of the calls."""


def findings(run: Run, *, claims_file: Path | None = None) -> dict[str, Any]:
    """Everything this project can say about a run, as plain JSON values.

    With ``claims_file`` the claims in it are checked too, under ``claims``.
    """
    run = _judged(run)
    document = _evidence(run)
    if document["verdict"]["verdict"] == "INVALID":
        return document | {"headline": None}
    spans = run.projected_measured_spans
    tops = roots(spans[list(_OF_ROOTS)], ids=spans["span_id"])
    blocks = block_table(run.manifest, run.measured_requests, tops)
    calls = database_load.calls_of(run.manifest, spans)
    measured = _Measured(
        manifest=run.manifest,
        spans=spans,
        requests=run.measured_requests,
        roots=tops,
        blocks=blocks,
        calls=calls,
        load=database_load.by_step(run.manifest, calls, blocks),
    )
    document |= _answers(run, measured)
    document["headline"] = headline.headline(document)
    if claims_file is not None:
        document["claims"] = plain(claims.check(claims.read(claims_file), document))
    return document


def _judged(run: Run) -> Run:
    """The run with a verdict: its own, or that of now."""
    if run.manifest.verdict.verdict != "UNJUDGED":
        return run
    judgement = judge(run)
    manifest = replace(
        run.manifest,
        verdict=judgement.verdict_entry(),
        cross_checks=judgement.cross_check_entries(),
        set_aside=judgement.set_aside,
    )
    is_regular = run.written is run.manifest
    return replace(run, manifest=manifest, written=manifest if is_regular else run.written)


def _evidence(run: Run) -> dict[str, Any]:
    """What is said of every run, also of one that nobody may believe."""
    manifest = run.manifest
    verdict = asdict(manifest.verdict)
    cross_checks = [asdict(cross_check) for cross_check in manifest.cross_checks]
    if run.projected_measured_spans.empty and verdict["verdict"] != "INVALID":
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
            "knobs": {arm.name: arm.knobs for arm in manifest.arms if arm.knobs},
            "users": (manifest.experiment.get("data") or {}).get("users"),
            "requests": len(run.measured_requests),
            "spans": len(run.projected_measured_spans),
        },
        "verdict": {"verdict": verdict["verdict"], "reasons": list(verdict["reasons"])},
        "cross_checks": plain(cross_checks),
        "generator": plain([_told(row) for row in manifest.generator]),
    }


def _told(row: Generator) -> dict[str, Any]:
    """What the load said of a step; what only newer loads say is left out where it is missing."""
    newer = {"unknown", "requests", "errors", "service_ms", "response_ms"}
    return {k: value for k, value in asdict(row).items() if k not in newer or value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trees:
    """What needs the call trees of all requests: planted once, walked once under either rules."""

    call_trees: CallTrees
    tables: shares_by_arm.Tables
    shared: pd.DataFrame
    ceilings: pd.DataFrame


def _answers(run: Run, measured: _Measured) -> dict[str, Any]:
    """Every question, in the order in which a report asks them.

    Two at once: kernels, Arrow and most of pandas' sums leave Python to others meanwhile.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        trees = threads.submit(_trees, measured)
        asked = {
            name: threads.submit(_QUESTIONS[name], run, measured, trees)
            for name in sorted(_QUESTIONS, key=lambda name: name in _OF_TREES)
        }
        return {name: asked[name].result() for name in _QUESTIONS} | {"claims": None}


def _trees(measured: _Measured) -> _Trees:
    call_trees = build_trees(measured.spans)
    tables = shares_by_arm.tables(measured.manifest, measured.spans, call_trees)
    shared = shares_by_arm.shares(measured.manifest, tables)
    ceilings = _ceilings(measured, shared, call_trees)
    return _Trees(call_trees=call_trees, tables=tables, shared=shared, ceilings=ceilings)


def _shares(_run: Run, measured: _Measured, trees: Future[_Trees]) -> dict[str, Any]:
    manifest, tables = measured.manifest, trees.result().tables
    return {
        "rows": records(trees.result().shared),
        "stages": records(shares_by_arm.stages(manifest, tables)),
        "definitions": records(shares_by_arm.definitions(tables)),
        "requests": records(shares_by_arm.requests(measured.roots, measured.blocks)),
    }


def _load(_run: Run, measured: _Measured, _trees: Future[_Trees]) -> dict[str, Any]:
    manifest, blocks, calls = measured.manifest, measured.blocks, measured.calls
    rates = database_load.hit_rates(manifest, measured.spans, blocks)
    return {
        "by_step": records(measured.load),
        "reductions": records(database_load.reductions(manifest, calls, blocks)),
        "hit_rates": records(rates),
        "predicted": records(database_load.predictions(measured.load, rates, manifest)),
        "statements": records(database_load.statements(manifest, calls, blocks)),
        "pool_waits": records(database_load.pool_waits(manifest, calls, blocks)),
    }


def _faster(_run: Run, measured: _Measured, _trees: Future[_Trees]) -> dict[str, Any]:
    manifest, blocks = measured.manifest, measured.blocks
    return {
        "operations": records(faster.operations(manifest, _answered(measured), blocks)),
        "end_to_end": records(faster.end_to_end(manifest, measured.requests, blocks)),
    }


def _answered(measured: _Measured) -> pd.DataFrame:
    """The spans without those of requests that were not answered as asked, where load says so."""
    spans, requests = measured.spans, measured.requests
    if requests.empty:
        return spans
    otherwise = requests.loc[~failures.succeeded(requests), "trace_id"].dropna()
    return spans[~spans["trace_id"].isin(otherwise)] if len(otherwise) else spans


def _law(run: Run, measured: _Measured, _trees: Future[_Trees]) -> dict[str, Any]:
    manifest, blocks = measured.manifest, measured.blocks
    about_cache = _about_cache(manifest, measured.spans)
    return {
        "law": records(cache_law.law(manifest, about_cache, blocks)),
        "explained": records(cache_law.explained(manifest, about_cache, blocks)),
        "misses": records(_misses(run, blocks)),
    }


def _capacity(_run: Run, measured: _Measured, _trees: Future[_Trees]) -> dict[str, Any]:
    manifest, load = measured.manifest, measured.load
    steps = capacity.steps(manifest, measured.requests, measured.blocks)
    expected = capacity.expectation(
        load, rate_per_s=EXPECTED_RATE_PER_S, baseline=manifest.baseline
    )
    return {
        "steps": records(steps),
        "knees": records(capacity.knees(steps)),
        "scalability": records(capacity.scalability(steps)),
        "expectation": records(expected),
        "extrapolation": records(capacity.extrapolation(load)),
    }


def _emulated(_run: Run, measured: _Measured, trees: Future[_Trees]) -> dict[str, Any]:
    spans, tops = measured.spans, measured.roots
    marks = emulated.marks(spans)
    by_operation = emulated.emulated(spans, marks, tops)
    stages = by_stage(spans, trees.result().call_trees)
    return {
        "profile": measured.manifest.profile,
        "rows": records(by_operation),
        "stages": records(emulated.emulated(stages, marks, tops)),
        "wholes": records(emulated.wholes(spans, marks, trees.result().call_trees)),
    }


_QUESTIONS: Mapping[str, Callable[[Run, _Measured, Future[_Trees]], Any]] = {
    "shares": _shares,
    "load": _load,
    "faster": _faster,
    "law": _law,
    "capacity": _capacity,
    "ceiling": lambda _run, _measured, trees: records(trees.result().ceilings),
    "equivalence": lambda _run, m, _trees: records(
        equivalence.equivalence(m.manifest, m.requests, m.blocks)
    ),
    "detectability": lambda _run, m, _trees: records(
        detectability.detectability(
            m.manifest, m.requests[failures.succeeded(m.requests)], m.blocks
        )
    ),
    "worth_caching": lambda run, _measured, trees: records(
        _worth_caching(run, trees.result().ceilings)
    ),
    "failures": lambda _run, m, _trees: records(failures.failures(m.requests, m.blocks)),
    "emulated": _emulated,
}
"""Each part of the document and who answers it."""

_OF_TREES = ("emulated", "shares", "ceiling", "worth_caching")
"""What the trees are needed for: asked last, so that nobody waits while there is other work."""


def _about_cache(manifest: Manifest, spans: pd.DataFrame) -> pd.DataFrame:
    """The lookups of the cached operation and the queries that it is meant to save."""
    lookups = spans["name"] == manifest.cached_operation
    about = lookups | (spans["db_collection"] == manifest.cached_collection)
    return spans.loc[about, list(cache_law.NEEDED)]


def _misses(run: Run, blocks: pd.DataFrame) -> pd.DataFrame:
    """Why lookups missed; warm-up included, because it touched keys too."""
    spans = run.projected_spans
    lookups = spans[spans["name"] == run.manifest.cached_operation]
    return cache_law.misses(run.manifest, lookups, blocks, run.events)


def _ceilings(measured: _Measured, shared: pd.DataFrame, call_trees: CallTrees) -> pd.DataFrame:
    """Ceilings of the baseline: the time and queries that are there to be saved."""
    baseline, spans = measured.manifest.baseline, measured.spans
    own, tops = shared, measured.roots
    calls = is_database_call(spans).to_numpy(bool, copy=True)
    if baseline is not None:
        own, tops = own[own["arm"] == baseline], tops[tops["arm"] == baseline]
        calls &= (spans["arm"] == baseline).to_numpy(bool, na_value=False)
    verbs = [verb for verb in spans["db_operation"].unique() if isinstance(verb, str)]
    writes = [verb for verb in verbs if verb.upper() in ceiling.WRITES]
    reads = ~spans["db_operation"].isin(writes).to_numpy(bool)
    below = ceiling.queries_under(call_trees, calls, reads, len(tops))
    mean_ms = float(tops["duration_ns"].astype("float64").mean()) / 1e6
    return ceiling.ceiling(own, below, request_ms=mean_ms)


def _worth_caching(run: Run, ceilings: pd.DataFrame) -> pd.DataFrame:
    baseline = run.manifest.baseline
    spans = run.projected_spans
    needed = spans[list(worth_caching.NEEDED)]
    if baseline is not None:
        needed = needed[spans["arm"] == baseline]
    return worth_caching.worth_caching(
        ceilings, needed, cached_operation=run.manifest.cached_operation
    )
